"""CMR phenotypes measured from the geometry of a heart, in the units of UK Biobank."""

from __future__ import annotations

import numpy as np
import torch

from mmcl.phenotypes import PHENOTYPES
from mmcl.simulation.heart import Hearts


def measure(hearts: Hearts) -> dict[str, np.ndarray]:
    """All 82 phenotypes by name, each float64 (n,): ml, %, l/min, g and mm.

    Strains are signed percentages. The aorta is not modelled: its six measures are NaN.
    """
    measures: dict[str, torch.Tensor] = {}
    for prefix, largest, least in (("LV", hearts.lv_edv, hearts.lv_esv), ("RV", hearts.rv_edv, hearts.rv_esv)):
        measures |= {f"{prefix}EDV": largest, f"{prefix}ESV": least, **_ejected(prefix, largest, least)}
    for prefix, largest, least in (("LA", hearts.la_max, hearts.la_min), ("RA", hearts.ra_max, hearts.ra_min)):
        measures |= {f"{prefix}max": largest, f"{prefix}min": least, **_ejected(prefix, largest, least)}
    measures["LVCO"] = measures["LVSV"] * hearts.heart_rate / 1000
    measures["LVM"] = hearts.lv_mass
    regional = {"WT": hearts.wall_thickness, "Ecc": 100 * hearts.ecc, "Err": 100 * hearts.err, "Ell": 100 * hearts.ell}
    for prefix, values in regional.items():
        measures |= {f"{prefix}_{k + 1}": values[:, k] for k in range(values.shape[1])}
        measures[f"{prefix}_global"] = values.mean(1)
    unknown = np.full(len(hearts.people.subject), np.nan)
    return {p.name: measures[p.name].cpu().numpy() if p.name in measures else unknown.copy() for p in PHENOTYPES}


def _ejected(prefix: str, largest: torch.Tensor, least: torch.Tensor) -> dict[str, torch.Tensor]:
    """Stroke volume (ml) and ejection fraction (%) of a chamber."""
    return {f"{prefix}SV": largest - least, f"{prefix}EF": 100 * (1 - least / largest)}

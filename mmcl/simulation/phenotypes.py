"""CMR phenotypes measured from the geometry of a heart, in the units of UK Biobank, exactly or as an analysis reads it.

Errors of reading belong to what is read (volumes, mass, thickness, strains, areas); what is calculated from it (stroke
volume, ejection fraction, output, global means, distensibility) carries them on.
"""

from __future__ import annotations

import numpy as np
import torch

from mmcl.phenotypes import PHENOTYPES
from mmcl.simulation.aorta import distensibility
from mmcl.simulation.heart import Hearts
from mmcl.simulation.parameters import parameters
from mmcl.simulation.random import normal

P = parameters("phenotypes")

GROUPS = {
    "lv": ("lv_edv", "lv_esv", "lv_mass"),
    "rv": ("rv_edv", "rv_esv"),
    "la": ("la_max", "la_min"),
    "ra": ("ra_max", "ra_min"),
    "wall": ("wall_thickness",),
    "strain": ("ecc", "err"),
    "length": ("ell",),
    "aorta": ("aorta_max", "aorta_min"),
}
"""What is read from one set of contours, whose errors go together; names of fields of `Hearts`."""


PAIRS = (("lv_edv", "lv_esv"), *(GROUPS[group] for group in ("rv", "la", "ra", "aorta")))
"""What is largest and what is least of the same thing."""


def measure(hearts: Hearts, seed: int | None = None, error: float = 0.0) -> dict[str, np.ndarray]:
    """All 82 phenotypes by name, each float64 (n,): ml, %, l/min, g, mm, mm2 and 10-3/mmHg. Strains are signed.

    With `error` 0 they are those of the geometry. Otherwise `error` times the errors of a published analysis are added,
    drawn from `seed`. ValueError when `error` is negative, or positive without a seed.
    """
    if error < 0 or (error and seed is None):
        raise ValueError(
            f"error {error} and seed {seed}: expected an error of at least 0, and a seed where it is not 0"
        )
    read = {name: getattr(hearts, name) for group in GROUPS.values() for name in group}
    if error:
        read = _misread(seed, hearts, read, error)
    measures: dict[str, torch.Tensor] = {}
    for prefix, largest, least in (
        ("LV", "edv", "esv"),
        ("RV", "edv", "esv"),
        ("LA", "max", "min"),
        ("RA", "max", "min"),
    ):
        pair = read[f"{prefix.lower()}_{largest}"], read[f"{prefix.lower()}_{least}"]
        names = ("EDV", "ESV") if prefix in ("LV", "RV") else ("max", "min")
        measures |= {prefix + names[0]: pair[0], prefix + names[1]: pair[1], **_ejected(prefix, *pair)}
    measures["LVCO"] = measures["LVSV"] * hearts.heart_rate / 1000
    measures["LVM"] = read["lv_mass"]
    elastic = distensibility(read["aorta_max"], read["aorta_min"], hearts.people)
    for k, prefix in enumerate(("AAo", "DAo")):
        measures |= {f"{prefix}_max_area": read["aorta_max"][:, k], f"{prefix}_min_area": read["aorta_min"][:, k]}
        measures[f"{prefix}_distensibility"] = elastic[:, k]
    regional = {
        "WT": read["wall_thickness"],
        "Ecc": 100 * read["ecc"],
        "Err": 100 * read["err"],
        "Ell": 100 * read["ell"],
    }
    for prefix, values in regional.items():
        measures |= {f"{prefix}_{k + 1}": values[:, k] for k in range(values.shape[1])}
        measures[f"{prefix}_global"] = values.mean(1)
    return {phenotype.name: measures[phenotype.name].cpu().numpy() for phenotype in PHENOTYPES}


def _misread(seed: int, hearts: Hearts, read: dict[str, torch.Tensor], error: float) -> dict[str, torch.Tensor]:
    """`read` with errors, of which a share is common to all that one set of contours gives."""
    result = {}
    for group, names in GROUPS.items():
        common = normal(seed, hearts.people.subject, f"reading {group}").clamp(-3, 3)
        for name in names:
            value = read[name] if read[name].dim() == 2 else read[name][:, None]
            own = normal(seed, hearts.people.subject, f"reading {name}", value.shape[1]).clamp(-3, 3)
            # Strains of opposite sign err together: a wall tracked too little thickens and shortens too little.
            sign = -1 if name == "err" else 1
            off = error * (sign * P.shared**0.5 * common + (1 - P.shared) ** 0.5 * own)
            result[name] = (value + _deviation(name, value) * off).reshape(read[name].shape)
    for largest, least in PAIRS:
        result[least] = torch.minimum(result[least].clamp(min=1), 0.99 * result[largest])
    return result


def _deviation(name: str, value: torch.Tensor) -> torch.Tensor | float:
    """Standard deviation of reading the field `name`, in its unit."""
    if name.startswith("aorta"):
        return P.aorta * value
    return P.atrial_volume if name[:2] in ("la", "ra") else getattr(P, name)


def _ejected(prefix: str, largest: torch.Tensor, least: torch.Tensor) -> dict[str, torch.Tensor]:
    """Stroke volume (ml) and ejection fraction (%) of a chamber."""
    return {f"{prefix}SV": largest - least, f"{prefix}EF": 100 * (1 - least / largest)}

"""What is known of a simulated heart and of no other: when its waves come, where its scar lies and who supplies it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mmcl.interpretation.waves import Fiducials
from mmcl.simulation.anatomy import SEGMENT_ANGLE, SEGMENT_LEVEL
from mmcl.simulation.conductor import twelve_leads
from mmcl.simulation.pose import frame

LONG_AXIS = 3.0
"""Length of a left ventricle in radii of its wall's middle, about (90 mm and 30 mm)."""


@dataclass(frozen=True)
class Truth:
    """Of n subjects: `fiducials`; `activation` (n, nodes) ms after the first breakthrough; `supply` (n, 16) artery of
    each AHA segment, by number in `mmcl.simulation.truth.ARTERIES`; `transmurality` (n, 16) of scar, 0 to 1; `facing`
    (n, 12) cosine between each lead's direction and the scar's, NaN without a scar.
    """

    fiducials: Fiducials = field(repr=False)
    activation: np.ndarray
    supply: np.ndarray
    transmurality: np.ndarray
    facing: np.ndarray


def read_truth(raw: Path, subjects: pd.Series) -> Truth | None:
    """Truth of `subjects` in a folder of simulated raw files; None where it holds none.

    ValueError names a subject that the files do not have.
    """
    if not ((raw / "truth.npz").is_file() and (raw / "truth.tsv").is_file()):
        return None
    table = pd.read_csv(raw / "truth.tsv", sep="\t", dtype={"eid": str}, index_col="eid")
    with np.load(raw / "truth.npz", allow_pickle=False) as file:
        place = {eid: k for k, eid in enumerate(file["eid"].tolist())}
        if absent := [name for name in subjects if name not in place]:
            raise ValueError(f"{raw / 'truth.npz'}: no subject {absent[0]}; expected those of the store")
        rows = [place[name] for name in subjects]
        named = ("r_times", "ectopic", "activation", "supply", "transmurality", "centre", "axis", "roll", "electrodes")
        known = {name: file[name][rows] for name in named}
    intervals = (table.loc[list(subjects), name].to_numpy(dtype=np.float64) / 1000 for name in ("pr", "qrs", "qt"))
    fiducials = Fiducials(known["r_times"], *intervals, known["ectopic"])
    facing = _facing(*(known[name] for name in ("transmurality", "centre", "axis", "roll", "electrodes")))
    return Truth(fiducials, known["activation"], known["supply"], known["transmurality"], facing)


def _facing(
    transmurality: np.ndarray, centre: np.ndarray, axis: np.ndarray, roll: np.ndarray, electrodes: np.ndarray
) -> np.ndarray:
    """Cosine (n, 12) between where a lead looks from and where the scar lies, both seen from the heart's centre.

    A limb lead looks along its own axis, from minus to plus; a chest lead from its electrode.
    """
    looking = twelve_leads(torch.from_numpy(electrodes)).numpy()
    looking[:, 6:] = electrodes[:, 3:] - centre[:, None]
    angle, height = np.array(SEGMENT_ANGLE), LONG_AXIS * (np.array(SEGMENT_LEVEL) - 0.5)
    place = np.stack([np.cos(angle), np.sin(angle), height], axis=1)
    vectors = frame(torch.from_numpy(axis), torch.from_numpy(roll)).numpy()
    scar = np.einsum("ns,sk,nkx->nx", transmurality, place, vectors)
    size = np.linalg.norm(looking, axis=2) * np.linalg.norm(scar, axis=1)[:, None]
    cosine = np.einsum("nlx,nx->nl", looking, scar)
    return np.divide(cosine, size, out=np.full(cosine.shape, np.nan), where=size > 0)

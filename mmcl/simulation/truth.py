"""What no real cohort knows of its subjects: the state of the heart and the torso behind each recording."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from mmcl.config import DISEASES
from mmcl.simulation.anatomy import segment_of
from mmcl.simulation.electrocardiogram import Electrocardiogram
from mmcl.simulation.heart import Hearts
from mmcl.simulation.infarct import supplied_by
from mmcl.simulation.source import LEFT, grid_cells

ARTERIES = ("LAD", "RCA", "LCX")
"""Coronary arteries by their number in `supply` and in the column `culprit` (-1: none)."""


@dataclass(frozen=True)
class Truth:
    """Arrays with a row a subject; 16 stands for the AHA segments, torso coordinates are x left, y up, z anterior.

    | array | shape | holds |
    |---|---|---|
    | `activation` | (n, nodes) float32 | ms after the first breakthrough, at the nodes of `source.Mesh` |
    | `segment_activation` | (n, 16) float32 | its mean through the wall of each segment |
    | `transmurality` | (n, 16) float32 | depth of scar from the endocardium, 0 to 1 |
    | `border` | (n, 16) float32 | share of the segment that is border zone, 0 to 1 |
    | `viability` | (n, 16) float32 | share of the wall that works, 0 to 1: less by scar and by stunning |
    | `supply` | (n, 16) int8 | which of `ARTERIES` feeds the segment |
    | `centre`, `axis` | (n, 3) float32 | m, middle of the left ventricle's long axis; unit vector from base to apex |
    | `roll` | (n,) float32 | rad by which the heart is turned about that axis |
    | `electrodes` | (n, 9, 3) float32 | m, on the sphere that stands for the torso, by `conductor.ELECTRODES` |
    | `r_times` | (n, beats) float32 | s of each R peak in the recording, NaN where there is no further beat |
    | `ectopic` | (n, beats) int8 | in step with them: 0 usual, 1 atrial, 2 ventricular premature beat |
    | `beat` | (n, 12, samples) float32 | mV at 500 Hz, one usual beat without noise, from `electrocardiogram.BEFORE` |
    """

    activation: np.ndarray
    segment_activation: np.ndarray
    transmurality: np.ndarray
    border: np.ndarray
    viability: np.ndarray
    supply: np.ndarray
    centre: np.ndarray
    axis: np.ndarray
    roll: np.ndarray
    electrodes: np.ndarray
    r_times: np.ndarray
    ectopic: np.ndarray
    beat: np.ndarray


def truth_arrays(seed: int, hearts: Hearts, ecg: Electrocardiogram) -> Truth:
    """The truth of `hearts` of cohort `seed` and of their recordings, on the host."""
    arrays = {
        "activation": ecg.activation,
        "segment_activation": _segment_means(ecg.activation),
        "transmurality": hearts.transmurality,
        "border": hearts.border,
        "viability": hearts.viability,
        "supply": supplied_by(seed, hearts.people.subject),
        "centre": hearts.centre,
        "axis": hearts.axis,
        "roll": hearts.roll,
        "electrodes": ecg.electrodes,
        "r_times": ecg.r_times,
        "ectopic": ecg.ectopic,
        "beat": ecg.beat,
    }
    return Truth(**{name: _narrow(values) for name, values in arrays.items()})


def subject_table(eid: list[str], hearts: Hearts, ecg: Electrocardiogram) -> pd.DataFrame:
    """A row for each of `eid`: `sex`, every property of `People` (whose units hold), and of the recording.

    Diseases are true whether a hospital record shows them or not; `silent_cad`, `silent_af`, `silent_dm` say which it
    does not. `heart_rate` /min; `conduction` factor of velocity; `pr`, `qrs`, `qt` ms and `axis` degrees are measured
    without noise, `pr` NaN in atrial fibrillation; `scar` share of the wall.
    """
    people = hearts.people
    columns = {"sex": np.where(people.female.cpu().numpy(), "female", "male")}
    for field in dataclasses.fields(people):
        values = getattr(people, field.name)
        if values.ndim == 1 and field.name != "female":
            columns[field.name] = values.cpu().numpy()
    columns["bmi"] = people.bmi.cpu().numpy()
    silent = people.silent.cpu().numpy()
    columns |= {f"silent_{disease.lower()}": silent[:, k] for k, disease in enumerate(DISEASES)}
    measured = {"heart_rate": hearts.heart_rate, "conduction": hearts.conduction, "scar": hearts.transmurality.mean(1)}
    measured |= {name: getattr(ecg, name) for name in ("pr", "qrs", "qt", "axis")}
    columns |= {name: values.cpu().numpy() for name, values in measured.items()}
    return pd.DataFrame(columns, index=pd.Index(eid, name="eid"))


def _segment_means(values: torch.Tensor) -> torch.Tensor:
    """Means (n, 16) over the segments of `values` (n, nodes) at the nodes of the ventricular mesh."""
    level, turn, _ = grid_cells(LEFT, values.new_zeros((), dtype=torch.float64))
    segment = segment_of(level, 2 * math.pi * turn)
    left = values[:, : len(level)]
    return torch.stack([left[:, segment == k].mean(1) for k in range(16)], 1)


def _narrow(values: torch.Tensor) -> np.ndarray:
    return values.to(torch.float32 if values.is_floating_point() else torch.int8).cpu().numpy()

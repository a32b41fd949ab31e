"""Subjects to show, chosen by rule and not by eye, and simulated recordings to lie among real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from mmcl.config import CohortConfig
from mmcl.simulation.cohort import SimulatedCohort, simulate_batches
from mmcl.simulation.random import uniform
from mmcl.simulation.rhythm import sample_rhythm
from mmcl.simulation.table import population_table
from mmcl.simulation.truth import ARTERIES

SEARCHED = 1500
"""Subjects, from the first of a seed, among whom examples are sought."""

RULE = (
    f"among the first {SEARCHED:,} subjects of the seed: the healthy man and woman nearest the medians of LV mass and "
    "volume; the largest scar of each coronary territory, and of a silent disease; the largest LV mass and volume for "
    "the body; each bundle branch block nearest those medians; the largest left atrium in fibrillation; the first with "
    "a ventricular premature beat. Nobody is shown twice"
)


@dataclass(frozen=True)
class Exemplar:
    """Subject `index` of the seed: `name` of what is shown, `detail` of it, `ecg` (12, 5000) mV, `frames` and `labels`
    (3, rows, columns) at end-diastole, halfway and end-systole, `transmurality` (16,) 0-1 and `activation` (16,) ms.
    """

    index: int
    name: str
    detail: str
    ecg: np.ndarray
    frames: np.ndarray
    labels: np.ndarray
    transmurality: np.ndarray
    activation: np.ndarray


def find_exemplars(seed: int, cohort: CohortConfig) -> list[Exemplar]:
    """Twelve hearts by RULE, at natural prevalence; pixels and spacing as in `cohort`."""
    chosen = _choose(seed)
    images = {name: getattr(cohort, name) for name in ("slices", "frames", "matrix", "spacing")}
    parts = simulate_batches([index for _, index in chosen], seed, batch=1, **images)
    exemplars = []
    for (name, index), part in zip(chosen, parts, strict=True):
        arrays = (part.ecg, part.cmr, part.masks, part.truth.transmurality, part.truth.segment_activation)
        exemplars.append(Exemplar(index, name, _detail(part), *(values[0] for values in arrays)))
    return exemplars


def short_axis_volumes(seed: int, cohort: CohortConfig, count: int = 3) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Name, end-diastolic and end-systolic volume (slices, rows, columns) of the first subjects of the seed."""
    images = {"slices": 10, "frames": cohort.frames, "matrix": 96, "spacing": cohort.spacing}
    (part,) = simulate_batches(range(count), seed, stack=True, batch=count, **images)
    whole = zip(part.subjects.index, part.cmr, part.subjects["es_frame"], strict=True)
    return [(eid, cine[:, 0], cine[:, last]) for eid, cine, last in whole]


def mix(seed: int, real: Sequence[tuple[str, np.ndarray]]) -> list[tuple[str, bool, np.ndarray]]:
    """As many simulated recordings as `real` ones (name, (12, 5000) mV), and these, in an order drawn from `seed`.

    Each with its name and whether it is real. Simulated subjects are the first of the seed, their diseases as frequent
    as in a hospital (odds times 6), and told with what they have.
    """
    made = []
    for part in simulate_batches(range(len(real)), seed, odds=(6.0, 6.0, 6.0), images=False):
        people = zip(part.subjects.iterrows(), part.ecg, strict=True)
        made += [(f"{eid}: {_condition(row)}", False, ecg) for (eid, row), ecg in people]
    sheet = [(name, True, signal) for name, signal in real] + made
    order = uniform(seed, torch.zeros(1, dtype=torch.int64), "sheet", len(sheet))[0].argsort()
    return [sheet[k] for k in order.tolist()]


def _choose(seed: int) -> list[tuple[str, int]]:
    """Name and index of each exemplar. ValueError where nobody fits."""
    subjects = torch.arange(SEARCHED)
    table = population_table(seed, subjects, ecg=False)
    premature = _premature(seed, subjects, table)
    blocked, scarred, fibrillating = table["lbbb"] | table["rbbb"], table["scar"] > 0, table["in_af"]
    plain = ~(blocked | scarred | fibrillating | premature)
    size = ["LVM", "LVEDV"]
    medians = table[table["healthy"]].groupby("female")[size].median()
    typical = -np.log(table[size] / medians.reindex(table["female"]).to_numpy()).abs().sum(axis=1)
    infarct = table["scar"].where(scarred & ~blocked & ~fibrillating)
    scores = {
        "Healthy man": typical.where(table["healthy"] & plain & ~table["female"]),
        "Healthy woman": typical.where(table["healthy"] & plain & table["female"]),
        "Hypertrophy": table["lvm_index"].where(plain),
        "Dilated heart": (table["LVEDV"] / table["bsa"]).where(plain),
        **{f"{artery} infarct": infarct.where(table["culprit"] == k) for k, artery in enumerate(ARTERIES)},
        "Silent infarct": infarct.where(table["silent_cad"]),
        "Left bundle branch block": typical.where(table["lbbb"] & ~scarred & ~fibrillating),
        "Right bundle branch block": typical.where(table["rbbb"] & ~scarred & ~fibrillating),
        "Atrial fibrillation": table["LAmax"].where(fibrillating & ~scarred & ~blocked),
        "Premature beats": -table.index.to_series().where(premature & ~blocked & ~scarred & ~fibrillating),
    }
    chosen: dict[str, int] = {}
    for name, score in scores.items():
        score = score.drop(list(chosen.values())).dropna()
        if score.empty:
            raise ValueError(f"nobody among the first {SEARCHED} subjects of seed {seed} fits {name!r}")
        chosen[name] = int(score.idxmax())
    return list(chosen.items())


def _premature(seed: int, subjects: torch.Tensor, table: pd.DataFrame) -> pd.Series:
    """Who has a ventricular premature beat well within the recording."""
    rate = 1000 * table["LVCO"] / table["LVSV"]
    rate, age, fibrillating = (torch.tensor(values.to_numpy()) for values in (rate, table["age"], table["in_af"]))
    rhythm = sample_rhythm(seed, subjects, rate, age, fibrillating)
    within = (rhythm.onset > 1) & (rhythm.onset < 9)
    return pd.Series(((rhythm.ectopic == 2) & within).any(dim=1).numpy(), table.index)


def _detail(part: SimulatedCohort) -> str:
    person, size = part.subjects.iloc[0], part.phenotypes.iloc[0]
    return (
        f"{_person(person)}; LV mass {size['LVM']:.0f} g, LVEDV {size['LVEDV']:.0f} ml, LVEF {size['LVEF']:.0f} %, "
        f"QRS {person['qrs']:.0f} ms"
    )


def _condition(row: pd.Series) -> str:
    """Who it is and what is wrong."""
    flags = {"cad": "CAD", "in_af": "AF", "lbbb": "LBBB", "rbbb": "RBBB", "hypertension": "hypertension"}
    found = [name for flag, name in flags.items() if row[flag]]
    if row["scar"]:
        found[found.index("CAD")] = f"{ARTERIES[row['culprit']]} infarct"
    return f"{_person(row)}, {', '.join(found) or 'none of the modelled diseases'}"


def _person(row: pd.Series) -> str:
    return f"{'woman' if row['sex'] == 'female' else 'man'}, {row['age']:.0f} years"

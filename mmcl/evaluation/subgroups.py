"""Scores of parts of the test set: by sex, age and body size, and of simulated coronary disease by scar and artery.

The parts hold different subjects, so their differences are unpaired: the resamples of one are independent of those of
the other. The seeds of a training are the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.evaluation.intervals import Bootstrap
from mmcl.evaluation.metrics import DISEASE_METRICS
from mmcl.evaluation.predictions import Predictions
from mmcl.evaluation.references import demographic_features
from mmcl.evaluation.scores import Scores, score_predictor
from mmcl.evaluation.tables import result_rows, seed_text
from mmcl.phenotypes import GROUPS
from mmcl.simulation.table import SCAR
from mmcl.simulation.truth import ARTERIES

AGE_CUT = 65.0
"""Years."""
BMI_CUT = 25.0
"""kg/m2, from which the World Health Organization speaks of overweight."""

LARGE = 4
"""Scarred segments of 16 from which on a scar is large, as in `mmcl.simulation.table`."""

FEWEST = 5
"""Subjects (cases and controls, of a disease) below which a part is not scored."""


def subject_groups(subjects: pd.DataFrame) -> list[dict[str, np.ndarray]]:
    """Parts of a store's `subjects` by sex, by age and by body mass index: each a pair of masks (n,) by name.

    The second of a pair is what the first is compared with. Who lacks a value is in neither.
    """
    known = demographic_features(subjects)
    bmi = known["weight"] / _metres(known["height"]) ** 2
    return [
        {"women": (known["male"] == 0).to_numpy(), "men": (known["male"] == 1).to_numpy()},
        {
            f"age {AGE_CUT:g} or more": (known["age"] >= AGE_CUT).to_numpy(),
            f"age below {AGE_CUT:g}": (known["age"] < AGE_CUT).to_numpy(),
        },
        {
            f"BMI {BMI_CUT:g} or more": (bmi >= BMI_CUT).to_numpy(),
            f"BMI below {BMI_CUT:g}": (bmi < BMI_CUT).to_numpy(),
        },
    ]


def coronary_groups(truth: pd.DataFrame) -> dict[str, np.ndarray]:
    """Parts of simulated subjects by what coronary disease did to their heart: masks (n,) by name.

    truth: columns `scar_1` to `scar_16` (depth as a share of the wall) and `culprit` (number in ARTERIES, -1 for none)
    of `truth.tsv`. "no scar", "small scar" (1 to 3 segments), "large scar", and the culprit artery.
    """
    scarred = (truth[[f"scar_{k}" for k in range(1, 17)]].to_numpy() >= SCAR).sum(axis=1)
    sizes = {"no scar": scarred == 0, "small scar": (scarred > 0) & (scarred < LARGE), "large scar": scarred >= LARGE}
    return sizes | {artery: truth["culprit"].to_numpy() == k for k, artery in enumerate(ARTERIES)}


def read_coronary_truth(path: Path, subject: np.ndarray) -> pd.DataFrame | None:
    """Rows of the simulation's `truth.tsv` in the order of `subject`; None where the cohort has no such file.

    ValueError names a subject whom the file lacks.
    """
    if not path.is_file():
        return None
    truth = pd.read_csv(path, sep="\t", index_col="eid", dtype={"eid": str})
    lacking = [name for name in subject if name not in truth.index]
    if lacking:
        raise ValueError(f"{path}: subject '{lacking[0]}' is missing; expected all {len(subject)} test subjects")
    return truth.loc[subject]


def score_groups(
    predictions: Mapping[int, Predictions],
    pairs: Sequence[Mapping[str, np.ndarray]],
    metrics: Sequence[str],
    resamples: int,
    key: int,
    *,
    groups: Mapping[str, Sequence[str]] = GROUPS,
    **names: str,
) -> pd.DataFrame:
    """Result rows of each part of `pairs` (see `subject_groups`; masks in the order of the first predictions), and of
    the first of each pair less the second (`subgroup` and `reference`). `names` are task, arm, mode and labels.

    A part of a disease with fewer than FEWEST cases or controls, or of fewer than FEWEST subjects, is not scored: NaN.
    """
    of_diseases = metrics[0] in DISEASE_METRICS
    tables = []
    for pair in pairs:
        scored = {
            name: score_predictor(_part(predictions, mask, of_diseases), metrics, resamples, key + place, groups)
            for place, (name, mask) in enumerate(pair.items())
        }
        for name, scores in scored.items():
            tables.append(_table(scores.rows(), scores, subgroup=name, **names))
        (name, first), (other, second) = scored.items()
        rows = [row for metric in metrics for row in _unpaired(first, second, metric)]
        tables.append(_table(rows, first, subgroup=name, **(names | {"reference": other})))
    return pd.concat(tables, ignore_index=True)


def score_coronary(
    predictions: Mapping[int, Predictions],
    parts: Mapping[str, np.ndarray],
    resamples: int,
    key: int,
    disease: str = "CAD",
    **names: str,
) -> pd.DataFrame:
    """AUROC of the cases of `disease` in each of `parts` (see `coronary_groups`) against all controls.

    Controls are those without the diagnosis on record, the silent disease among them: what the label says.
    """
    only = {seed: each.select([disease]) for seed, each in predictions.items()}
    first = next(iter(only.values()))
    tables = []
    for part, mask in parts.items():
        chosen = _part(only, mask | (first.truth[:, 0] == 0), of_diseases=True)
        scores = score_predictor(chosen, ("AUROC",), resamples, key)
        tables.append(_table(scores.rows(), scores, subgroup=part, **names))
    return pd.concat(tables, ignore_index=True)


def _table(rows: list[dict], scores: Scores, **names: str) -> pd.DataFrame:
    return result_rows(rows, seed=seed_text(scores.seeds), **names)


def _part(predictions: Mapping[int, Predictions], mask: np.ndarray, of_diseases: bool) -> dict[int, Predictions]:
    """The subjects in `mask`, in the order of the first predictions; a target with too few of them has no labels."""
    subject = next(iter(predictions.values())).subject[mask]
    chosen = {}
    for seed, each in predictions.items():
        part = each.matched(subject)
        kinds = [part.truth == 1, part.truth == 0] if of_diseases else [np.isfinite(part.truth)]
        enough = np.min([kind.sum(axis=0) for kind in kinds], axis=0) >= FEWEST
        chosen[seed] = Predictions(subject, part.names, np.where(enough, part.truth, np.nan), part.score)
    return chosen


def _unpaired(first: Scores, second: Scores, metric: str) -> list[dict]:
    """Rows of the difference of two parts of the test set; `n` counts the subjects of both."""
    here, there = (each.pooled(metric, each.seeds) for each in (first, second))
    difference = Bootstrap(here.value - there.value, here.draws - there.draws, here.n + there.n)
    values = first.seed_values(metric) - second.seed_values(metric)
    return first.rows_of(metric, difference, values, p=difference.p())


def _metres(height: pd.Series) -> pd.Series:
    """Heights, given in metre or centimetre, in metre."""
    return height.where(height < 3, height / 100)

"""The comparison: every arm and reference on one task, with few and with all labels, and the table of its scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmcl.config import Preset
from mmcl.data.store import Store
from mmcl.evaluation.adjusted import adjusted_diseases, adjusted_phenotypes
from mmcl.evaluation.metrics import AUPRC, AUPRC_OF_BOTH, DISEASE_METRICS, PHENOTYPE_METRICS
from mmcl.evaluation.predictions import Predictions
from mmcl.evaluation.references import demographic_features, fill_missing
from mmcl.evaluation.tables import COLUMNS, compare_predictions, score_predictions
from mmcl.paths import Run
from mmcl.phenotypes import GROUPS
from mmcl.setting import Setting
from mmcl.training.cells import DONE, Cell, cells, outcome, run_cell, state
from mmcl.training.experiments import METHOD
from mmcl.training.probing import REFERENCES
from mmcl.training.tasks import Outcome, open_task, task_targets

MISSING_SEED = "missing"
"""In the column `seed` of a result table: the cell has no results, its numbers are NaN and `n` is 0."""


@dataclass(frozen=True)
class Entry:
    """One predictor: its outcomes by training seed, those that are done. `mode` is "probe", "knn", "finetune" or, for a
    reference, "".
    """

    arm: str
    mode: str
    labels: str
    outcomes: dict[int, Outcome]

    def load(self, split: str) -> dict[int, Predictions]:
        return {seed: outcome.load(split) for seed, outcome in self.outcomes.items()}


def compare(task: str, setting: Setting) -> list[Entry]:
    """All predictors of `task` in the grid, trained or fitted now unless they are done; see `read_entries`.

    What fails is recorded and printed, and the others go on.
    """
    failed: set[Cell] = set()
    for cell in cells(setting, [task]):
        if cell.task:
            run_cell(cell, setting, failed)
    return read_entries(task, setting)


def read_entries(task: str, setting: Setting) -> list[Entry]:
    """All predictors of `task` in the grid with what has been trained or fitted of them; nothing is trained."""
    found: dict[tuple[str, str, str], Entry] = {}
    for cell in cells(setting, [task]):
        if cell.task:
            name = cell.arm, cell.mode, cell.labels
            if cell.arm in REFERENCES:
                name = cell.arm if cell.mode == "linear" else f"{cell.arm}, {cell.mode}", "", cell.labels
            entry = found.setdefault(name, Entry(*name, {}))
            if state(cell, setting) == DONE:
                entry.outcomes[cell.seed] = outcome(cell, setting)
    return list(found.values())


def score(entries: list[Entry], task: str, setting: Setting) -> pd.DataFrame:
    """Result rows of all `entries` on the test subjects: plain, adjusted, and paired differences from METHOD.

    Adjusted rows are beyond age, sex and body size: metrics "partial R2" and "partial r" of a phenotype, "AUROC gain"
    of a disease. Rows with a `reference` hold METHOD less that arm in the same mode with the same labels; `scratch` is
    the exception, supervised training standing against the linear probe of METHOD too; nearest neighbours are compared
    among themselves alone. Plain and paired rows of the preset `paper` are the published scores (see
    `reported_metrics`, `published_missing`); adjusted ones always leave missing labels out.

    Nothing is trained: an entry without outcomes has rows of NaN, with `n` 0 and `seed` MISSING_SEED.
    """
    run = setting.run
    metrics = reported_metrics(task, setting.preset)

    def tested(entry: Entry) -> dict[int, Predictions]:
        loaded = entry.load("test")
        if task != "phenotypes" or setting.preset.mask_missing:
            return loaded
        return {seed: published_missing(predictions) for seed, predictions in loaded.items()}

    tables = []
    for number, entry in enumerate(entries):
        names = {"task": task, "arm": entry.arm, "mode": entry.mode, "labels": entry.labels}
        if not entry.outcomes:
            tables.append(_missing(metrics, setting, names))
            continue
        random = np.random.default_rng([run.seed, number])
        resamples = setting.profile.downstream.bootstrap
        tables.append(score_predictions(tested(entry), metrics, resamples, random, **names))
        tables.append(_adjusted(entry, task, run, resamples, random, names))
        if entry.arm == METHOD:
            for other in entries:
                if other.labels == entry.labels and other.arm != METHOD and _comparable(entry.mode, other):
                    tables.append(
                        compare_predictions(
                            tested(entry), tested(other), metrics[:2], resamples, random,
                            reference=other.arm, **names,
                        )
                    )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def reported_metrics(task: str, preset: Preset) -> tuple[str, ...]:
    """Metrics of a task's table, the two that are compared first; without `positive_auprc` that of both classes."""
    if task == "phenotypes":
        return PHENOTYPE_METRICS
    left_out = AUPRC_OF_BOTH if preset.positive_auprc else AUPRC
    return tuple(metric for metric in DISEASE_METRICS if metric != left_out)


def published_missing(predictions: Predictions) -> Predictions:
    """The published form of missing phenotypes: label and prediction are 0, and counted (method section 11)."""
    missing = np.isnan(predictions.truth)
    truth, score = (np.where(missing, 0.0, values) for values in (predictions.truth, predictions.score))
    return Predictions(predictions.subject, predictions.names, truth, score)


def _comparable(mode: str, other: Entry) -> bool:
    same = other.mode == mode or mode != "knn" and (other.mode == "" or other.arm == "scratch")
    return same and bool(other.outcomes)


def _missing(metrics: tuple[str, ...], setting: Setting, names: dict[str, str]) -> pd.DataFrame:
    """Rows of an entry without outcomes: every target and whole group, without a number."""
    targets = task_targets(Store.open(setting.run.store))[names["task"]]
    groups = [f"{group} mean" for group, members in GROUPS.items() if set(members) <= set(targets)]
    rows = [(target, metric) for metric in metrics for target in (*targets, *(groups if metric != "MAE" else ()))]
    table = pd.DataFrame(rows, columns=["target", "metric"])
    nothing = {name: "" if kind == "str" else np.nan for name, kind in COLUMNS.items() if name not in table}
    return table.assign(**nothing | names | {"n": 0, "seed": MISSING_SEED})[list(COLUMNS)]


def _adjusted(
    entry: Entry, task: str, run: Run, resamples: int, random: np.random.Generator, names: dict[str, str]
) -> pd.DataFrame:
    store = Store.open(run.store)
    labelled = open_task(task, store)
    demographics = demographic_features(store.subjects).to_numpy(dtype=np.float64)
    train, validation, test = fill_missing(
        *(demographics[rows] for rows in (labelled.train, labelled.validation, labelled.test))
    )
    truth = labelled.labels[labelled.train]
    pairs = {seed: (outcome.load("validation"), outcome.load("test")) for seed, outcome in entry.outcomes.items()}
    adjust = adjusted_diseases if labelled.is_risk else adjusted_phenotypes
    adjusted = {seed: adjust(train, truth, validation, held, test, final) for seed, (held, final) in pairs.items()}
    if labelled.is_risk:
        both, alone = ({seed: pair[k] for seed, pair in adjusted.items()} for k in (0, 1))
        gain = compare_predictions(both, alone, ("AUROC",), resamples, random, reference="demographics", **names)
        return gain.assign(metric="AUROC gain", reference="")
    table = score_predictions(adjusted, ("R2", "r"), resamples, random, **names)
    return table.assign(metric="partial " + table["metric"])

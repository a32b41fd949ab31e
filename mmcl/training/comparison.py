"""The comparison: every arm and reference on one task, with few and with all labels, and the table of its scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmcl.config import Preset
from mmcl.data.store import Store
from mmcl.evaluation.adjusted import adjusted_diseases, adjusted_phenotypes
from mmcl.evaluation.metrics import AUPRC, AUPRC_OF_BOTH, DISEASE_METRICS, PHENOTYPE_METRICS
from mmcl.evaluation.predictions import Predictions
from mmcl.evaluation.references import demographic_features, fill_missing
from mmcl.evaluation.scores import Scores, gained_with_few, score_predictor
from mmcl.evaluation.significance import holm_corrected
from mmcl.evaluation.tables import (
    COLUMNS,
    compare_predictions,
    difference_rows,
    result_rows,
    score_predictions,
    seed_text,
)
from mmcl.evaluation.verdict import ASKED
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
    among themselves alone. Where `labels` is "<few> less all", such a row holds the difference with few labels less
    that with all. Plain and paired rows of the preset `paper` are the published scores (see `reported_metrics`,
    `published_missing`); adjusted ones always leave missing labels out. All share their resamples of test subjects, so
    that no row depends on what else is in the table; only the corrected p depends on its family (`holm_corrected`).

    Nothing is trained: an entry without outcomes, and a difference to it, has rows of NaN, with `n` 0 and `seed`
    MISSING_SEED.
    """
    run, resamples = setting.run, setting.profile.downstream.bootstrap
    metrics = reported_metrics(task, setting.preset)
    adjust = _adjustment(task, Store.open(run.store))
    methods = {(e.mode, e.labels): e for e in entries if e.arm == METHOD}
    scored = {place: _scores(e, task, setting, metrics) for place, e in methods.items() if e.outcomes}
    tables = []
    for entry in entries:
        names = {"task": task, "arm": entry.arm, "mode": entry.mode, "labels": entry.labels}
        own = None
        if entry.outcomes:
            own = scored[entry.mode, entry.labels] if entry.arm == METHOD else _scores(entry, task, setting, metrics)
            tables.append(result_rows(own.rows(), seed=seed_text(own.seeds), **names))
            tables.append(adjust(entry, resamples, np.random.default_rng(run.seed), names))
        else:
            tables.append(_missing(metrics, setting, names))
        for mode, labels in methods:
            if entry.arm != METHOD and labels == entry.labels and _comparable(mode, entry):
                names |= {"arm": METHOD, "reference": entry.arm, "mode": mode}
                if own and (mode, labels) in scored:
                    tables.append(difference_rows(scored[mode, labels], own, metrics[:2], **names))
                else:
                    tables.append(_missing(metrics[:2], setting, names))
    return holm_corrected(pd.concat([*tables, *_gains_with_few(entries, task, setting)], ignore_index=True), ASKED)


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
    return other.mode == mode or mode != "knn" and (other.mode == "" or other.arm == "scratch")


def _missing(metrics: tuple[str, ...], setting: Setting, names: dict[str, str]) -> pd.DataFrame:
    """Rows of an entry without outcomes: every target and whole group, without a number."""
    targets = task_targets(Store.open(setting.run.store))[names["task"]]
    groups = [f"{group} mean" for group, members in GROUPS.items() if set(members) <= set(targets)]
    rows = [(target, metric) for metric in metrics for target in (*targets, *(groups if metric != "MAE" else ()))]
    table = pd.DataFrame(rows, columns=["target", "metric"])
    nothing = {name: "" if kind == "str" else np.nan for name, kind in COLUMNS.items() if name not in table}
    return table.assign(**nothing | names | {"n": 0, "seed": MISSING_SEED})[list(COLUMNS)]


def _scores(entry: Entry, task: str, setting: Setting, metrics: Sequence[str]) -> Scores:
    loaded = entry.load("test")
    if task == "phenotypes" and not setting.preset.mask_missing:
        loaded = {seed: published_missing(predictions) for seed, predictions in loaded.items()}
    return score_predictor(loaded, metrics, setting.profile.downstream.bootstrap, setting.run.seed)


def _gains_with_few(entries: list[Entry], task: str, setting: Setting) -> list[pd.DataFrame]:
    """What METHOD gains on supervised training and on its first stage alone with few labels, less that with all."""
    found = {(e.arm, e.mode, e.labels): e for e in entries if e.outcomes}
    few = str(setting.profile.downstream.few_labels[0])
    metric = "R2" if task == "phenotypes" else "AUROC"
    tables = []
    for mode in ("probe", "finetune"):
        for arm, its_mode in (("mdm", mode), ("scratch", "finetune")):
            places = [(METHOD, mode, few), (arm, its_mode, few), (METHOD, mode, "all"), (arm, its_mode, "all")]
            if any(place not in found for place in places):
                continue
            each = [_scores(found[place], task, setting, (metric,)) for place in places]
            rows = gained_with_few(tuple(each[:2]), tuple(each[2:]), metric)
            names = {"task": task, "arm": METHOD, "reference": arm, "mode": mode, "labels": f"{few} less all"}
            tables.append(result_rows(rows, seed=seed_text(each[0].seeds), **names))
    return tables


def _adjustment(task: str, store: Store) -> Callable[..., pd.DataFrame]:
    """A function that makes the adjusted rows of an entry."""
    labelled = open_task(task, store)
    demographics = demographic_features(store.subjects).to_numpy(dtype=np.float64)
    train, validation, test = fill_missing(
        *(demographics[rows] for rows in (labelled.train, labelled.validation, labelled.test))
    )
    truth = labelled.labels[labelled.train]
    adjust = adjusted_diseases if labelled.is_risk else adjusted_phenotypes

    def rows(entry: Entry, resamples: int, random: np.random.Generator, names: dict[str, str]) -> pd.DataFrame:
        held, final = entry.load("validation"), entry.load("test")
        adjusted = {seed: adjust(train, truth, validation, held[seed], test, final[seed]) for seed in held}
        if labelled.is_risk:
            both, alone = ({seed: pair[k] for seed, pair in adjusted.items()} for k in (0, 1))
            gain = compare_predictions(both, alone, ("AUROC",), resamples, random, reference="demographics", **names)
            return gain.assign(metric="AUROC gain", reference="")
        table = score_predictions(adjusted, ("R2", "r"), resamples, random, **names)
        return table.assign(metric="partial " + table["metric"])

    return rows

"""Tidy tables of results: one row a number, with its interval, what it is of and how many subjects stand behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.atomic import atomic_path
from mmcl.evaluation.intervals import Bootstrap, bootstrap, over_seeds
from mmcl.evaluation.predictions import Predictions
from mmcl.phenotypes import GROUPS

COLUMNS = {
    "task": "str",
    "target": "str",
    "arm": "str",
    "reference": "str",
    "mode": "str",
    "labels": "str",
    "metric": "str",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "n": "int64",
    "seed": "str",
    "seed_sd": "float64",
}
"""Columns of a result table.

`reference` is the arm that the row is a paired difference to, "" for a plain score. `mode` is "probe" or "finetune",
`labels` the number of labelled training subjects or "all". `low` to `high` is the 95 % bootstrap interval over subjects
(and seeds, where there are several). `seed` lists the training seeds; `seed_sd` is the standard deviation over them.
"""

MISSING_CELL = "–"


def score_predictions(
    predictions: Mapping[int, Predictions],
    metrics: Sequence[str],
    resamples: int,
    generator: np.random.Generator,
    *,
    task: str,
    arm: str,
    mode: str,
    labels: str,
    groups: Mapping[str, Sequence[str]] = GROUPS,
) -> pd.DataFrame:
    """Score one arm: `predictions` by training seed, all of the same subjects and targets.

    Besides each target there is a row "<group> mean" for every group whose members are all among the targets (not for
    MAE, whose units differ).
    """
    seeds = sorted(predictions)
    first = predictions[seeds[0]]
    aligned = [_like(first, predictions[seed]) for seed in seeds]
    start = int(generator.integers(2**63))
    rows = []
    for metric in metrics:
        each = [bootstrap(metric, p.truth, p.score, resamples, np.random.default_rng(start)) for p in aligned]
        rows += _rows(each, first.names, metric, generator, groups)
    return _frame(rows, task=task, arm=arm, reference="", mode=mode, labels=labels, seed=_seed_text(seeds))


def compare_predictions(
    predictions: Mapping[int, Predictions],
    reference_predictions: Mapping[int, Predictions],
    metrics: Sequence[str],
    resamples: int,
    generator: np.random.Generator,
    *,
    task: str,
    arm: str,
    reference: str,
    mode: str,
    labels: str,
    groups: Mapping[str, Sequence[str]] = GROUPS,
) -> pd.DataFrame:
    """Paired difference of two arms, `predictions` less `reference_predictions`, seed by seed on equal resamples.

    Where one of the two has a single seed (such as demographics, or a probe), it is compared with every seed of the
    other; otherwise both need the same seeds.
    """
    several = [sorted(each) for each in (predictions, reference_predictions) if len(each) > 1]
    if len(several) == 2 and several[0] != several[1]:
        raise ValueError(f"{arm} has seeds {several[0]} and {reference} {several[1]}; expected the same")
    seeds = several[0] if several else sorted(predictions)
    mine_only, other_only = (next(iter(each.values())) for each in (predictions, reference_predictions))
    first = mine_only
    start = int(generator.integers(2**63))
    rows = []
    for metric in metrics:
        each = []
        for seed in seeds:
            pair = predictions.get(seed, mine_only), reference_predictions.get(seed, other_only)
            pair = tuple(_like(first, each) for each in pair)
            mine, other = (bootstrap(metric, p.truth, p.score, resamples, np.random.default_rng(start)) for p in pair)
            each.append(mine.minus(other))
        rows += _rows(each, first.names, metric, generator, groups)
    return _frame(rows, task=task, arm=arm, reference=reference, mode=mode, labels=labels, seed=_seed_text(seeds))


def write_results(path: str | Path, results: pd.DataFrame) -> None:
    """Write a result table as JSON, a list of rows, NaN as null; whole or not at all."""
    results = _typed(results)
    records = json.loads(results.to_json(orient="records", double_precision=15))
    with atomic_path(path) as part:
        part.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_results(path: str | Path) -> pd.DataFrame:
    """Read what `write_results` wrote; ValueError names the file and the columns that it lacks."""
    records = json.loads(Path(path).read_text(encoding="utf-8"))
    try:
        return _typed(pd.DataFrame.from_records(records, columns=list(COLUMNS) if not records else None))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def pivot(
    results: pd.DataFrame,
    rows: Sequence[str],
    columns: Sequence[str],
    row: str = "arm",
    column: str = "target",
    digits: int = 2,
) -> pd.DataFrame:
    """A table for reading: "value (low to high)" of each `rows` x `columns`; a result that does not exist shows "–".

    ValueError where two results fall in one cell: select metric, mode, labels and reference first.
    """
    cells = pd.DataFrame(MISSING_CELL, index=list(rows), columns=list(columns))
    chosen = results[results[row].isin(rows) & results[column].isin(columns)]
    doubled = chosen.duplicated([row, column])
    if doubled.any():
        twice = chosen[doubled].iloc[0]
        raise ValueError(f"more than one result for {twice[row]}, {twice[column]}; expected one a cell")
    for result in chosen.to_dict("records"):
        cells.loc[result[row], result[column]] = _cell(result["value"], result["low"], result["high"], digits)
    return cells


def _cell(value: float, low: float, high: float, digits: int) -> str:
    if not np.isfinite(value):
        return MISSING_CELL
    if not np.isfinite(low):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _like(first: Predictions, other: Predictions) -> Predictions:
    """`other` with the subjects and targets of `first`, in that order; ValueError where their truths differ."""
    other = other.select(first.names).matched(first.subject)
    if not np.allclose(first.truth, other.truth, equal_nan=True):
        raise ValueError("two predictions of the same subjects hold different truths; expected one test set")
    return other


def _rows(
    each: Sequence[Bootstrap],
    names: Sequence[str],
    metric: str,
    generator: np.random.Generator,
    groups: Mapping[str, Sequence[str]],
) -> list[dict]:
    """Rows of all targets, then of all complete groups; `each` holds one bootstrap a seed."""
    rows = _pooled_rows(each, names, metric, generator)
    if metric != "MAE":
        for group, members in groups.items():
            if set(members) <= set(names):
                columns = [names.index(name) for name in members]
                rows += _pooled_rows([b.mean(columns) for b in each], [f"{group} mean"], metric, generator)
    return rows


def _pooled_rows(
    each: Sequence[Bootstrap], targets: Sequence[str], metric: str, generator: np.random.Generator
) -> list[dict]:
    interval = over_seeds(each, generator).interval()
    values = np.stack([b.value for b in each])
    spread = values.std(axis=0, ddof=1) if len(each) > 1 else np.full(len(targets), np.nan)
    return [
        {
            "target": target,
            "metric": metric,
            "value": interval.value[k],
            "low": interval.low[k],
            "high": interval.high[k],
            "n": interval.n[k],
            "seed_sd": spread[k],
        }
        for k, target in enumerate(targets)
    ]


def _frame(rows: list[dict], **same: str) -> pd.DataFrame:
    return _typed(pd.DataFrame(rows).assign(**same))


def _typed(results: pd.DataFrame) -> pd.DataFrame:
    lacking = [name for name in COLUMNS if name not in results]
    if lacking:
        raise ValueError(f"results lack {', '.join(lacking)}; expected columns {', '.join(COLUMNS)}")
    kinds = {name: object if kind == "str" else kind for name, kind in COLUMNS.items()}
    return results[list(COLUMNS)].astype(kinds).reset_index(drop=True)


def _seed_text(seeds: Sequence[int]) -> str:
    return " ".join(str(seed) for seed in seeds)

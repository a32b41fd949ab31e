"""Tidy tables of results: one row a number, with its interval, what it is of and how many subjects stand behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.atomic import atomic_path
from mmcl.evaluation.predictions import Predictions
from mmcl.evaluation.scores import Scores, score_predictor, shared_seeds
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
    "subgroup": "str",
    "p": "float64",
    "p_holm": "float64",
    "relative": "float64",
    "relative_low": "float64",
    "relative_high": "float64",
}
"""Columns of a result table.

`reference` is the arm that the row is a paired difference to, "" for a plain score. `mode` is "probe" or "finetune",
`labels` the number of labelled training subjects or "all". `low` to `high` is the 95 % bootstrap interval over subjects
(and seeds, where there are several). `seed` lists the training seeds; `seed_sd` is the standard deviation over them.
`subgroup` is "" for everybody; `reference` may then be another subgroup. Of differences, `p` is two-sided, `p_holm`
corrected for the number of comparisons (`mmcl.evaluation.significance.holm_corrected`), and `relative` the same in per
cent of the reference. What does not apply is NaN.
"""

OPTIONAL = ("subgroup", "seed_sd", "p", "p_holm", "relative", "relative_low", "relative_high")
"""Columns that a row of a file may leave out: "" or NaN."""

MISSING_CELL = "missing"


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
    scores = score_predictor(predictions, metrics, resamples, int(generator.integers(2**63)), groups)
    return result_rows(scores.rows(), task=task, arm=arm, mode=mode, labels=labels, seed=seed_text(scores.seeds))


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
    """Paired difference of two arms, `predictions` less `reference_predictions`; see `Scores.less`.

    Both are scored now: where one arm is compared with many, `score_predictor` each once and call `difference_rows`.
    """
    key = int(generator.integers(2**63))
    mine, other = (
        score_predictor(each, metrics, resamples, key, groups) for each in (predictions, reference_predictions)
    )
    return difference_rows(mine, other, task=task, arm=arm, reference=reference, mode=mode, labels=labels)


def difference_rows(mine: Scores, other: Scores, metrics: Sequence[str] | None = None, **names: str) -> pd.DataFrame:
    """`mine.less(other, metrics)` as a result table; `names` are its other columns, such as arm and reference."""
    return result_rows(mine.less(other, metrics), seed=seed_text(max(shared_seeds(mine, other), key=len)), **names)


def result_rows(rows: Sequence[Mapping[str, object]], **same: str) -> pd.DataFrame:
    """`rows` as a result table, with columns that are the `same` in all; what is left is "" or NaN."""
    table = pd.DataFrame(rows).assign(**same)
    empty = {name: "" if kind == "str" else np.nan for name, kind in COLUMNS.items() if name not in table}
    return _typed(table.assign(**empty))


def seed_text(seeds: Sequence[int]) -> str:
    """The column `seed`."""
    return " ".join(str(seed) for seed in seeds)


def write_results(path: str | Path, results: pd.DataFrame) -> None:
    """Write a result table as JSON, a list of rows, NaN as null, without what is OPTIONAL and empty; whole or not."""
    records = json.loads(_typed(results).to_json(orient="records", double_precision=15))
    for record in records:
        for name in OPTIONAL:
            if record[name] in ("", None):
                del record[name]
    with atomic_path(path) as part:
        part.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_results(path: str | Path) -> pd.DataFrame:
    """Read what `write_results` wrote; ValueError names the file and the columns that it lacks."""
    records = json.loads(Path(path).read_text(encoding="utf-8"))
    table = pd.DataFrame.from_records(records, columns=list(COLUMNS) if not records else None)
    table = table.assign(**{name: np.nan for name in OPTIONAL if name not in table})
    try:
        return _typed(table.fillna({"subgroup": ""}))
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
    """A table for reading: "value (low to high)" of each `rows` x `columns`, "missing" where there is no result.

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


def label_words(labels: str) -> str:
    """The column `labels` in words: all, a number of subjects, or a share below 1 of them."""
    if labels == "all":
        return "all labels"
    if labels.endswith(" less all"):
        return f"{label_words(labels.removesuffix(' less all'))} against all"
    return f"{100 * float(labels):g} % of labels" if float(labels) < 1 else f"{labels} labels"


def label_order(labels: str) -> tuple[bool, float]:
    """Sorting key of the column `labels`: shares and numbers by size, then all."""
    return labels == "all", 0.0 if labels == "all" else float(labels)


def _cell(value: float, low: float, high: float, digits: int) -> str:
    if not np.isfinite(value):
        return MISSING_CELL
    if not np.isfinite(low):
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _typed(results: pd.DataFrame) -> pd.DataFrame:
    lacking = [name for name in COLUMNS if name not in results]
    if lacking:
        raise ValueError(f"results lack {', '.join(lacking)}; expected columns {', '.join(COLUMNS)}")
    kinds = {name: object if kind == "str" else kind for name, kind in COLUMNS.items()}
    return results[list(COLUMNS)].astype(kinds).reset_index(drop=True)

"""What a comparison found, in sentences made from its numbers, whichever way it fell."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd


def verdicts(results: pd.DataFrame, targets: Sequence[str], metric: str) -> list[str]:
    """One sentence per paired difference of `metric` in `results`, for `targets`.

    "better" or "worse" where the 95 % interval of the difference leaves out zero, "no clear difference" elsewhere; no
    correction for multiple comparisons.
    """
    rows = results[(results["reference"] != "") & results["target"].isin(targets) & (results["metric"] == metric)]
    return [_sentence(row) for row in rows.to_dict("records")]


def tally(results: pd.DataFrame, targets: Sequence[str], metric: str) -> pd.DataFrame:
    """How many of `targets` fell which way: a row per mode, labels and reference; columns better, unclear, worse."""
    rows = results[(results["reference"] != "") & results["target"].isin(targets) & (results["metric"] == metric)]
    kinds = rows.assign(kind=[_kind(row) for row in rows.to_dict("records")])
    counts = kinds.groupby(["mode", "labels", "reference"], sort=False)["kind"].value_counts().unstack(fill_value=0)
    return counts.reindex(columns=["better", "unclear", "worse", "unknown"], fill_value=0)


def _kind(row: dict) -> str:
    if not row["low"] <= row["high"]:
        return "unknown"
    return "better" if row["low"] > 0 else "worse" if row["high"] < 0 else "unclear"


def _label_words(labels: str) -> str:
    """The column `labels` in words: all, a number of subjects, or a share below 1 of them."""
    if labels == "all":
        return "all labels"
    return f"{100 * float(labels):g} % of labels" if float(labels) < 1 else f"{labels} labels"


def _sentence(row: dict) -> str:
    words = {"better": "better than", "worse": "worse than", "unclear": "not clearly different from"}
    kind = _kind(row)
    setting = f"{row['target']}, {row['mode']}, {_label_words(row['labels'])}"
    if kind == "unknown":
        return f"{setting}: {row['arm']} against {row['reference']} could not be scored"
    interval = f"{row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
    return f"{setting}: {row['arm']} is {words[kind]} {row['reference']}: {row['metric']} {interval}"

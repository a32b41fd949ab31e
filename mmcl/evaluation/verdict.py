"""What the comparisons found of each claim, in sentences made from their numbers, whichever way they fell.

The claims are the paper's (`PAPER`), a reader's first questions (`REFERENCES`), and ideas beyond the paper (`BEYOND`).
Each stands against the paired differences of a result table, for every target, mode and number of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmcl.evaluation.significance import LEVEL
from mmcl.evaluation.tables import label_words

HOLDS, FAILS, OPEN, MISSING = "holds", "does not hold", "cannot be told", "missing"
"""Verdicts. A claim holds where the difference has the claimed sign, its 95 % interval leaves out 0 and its p after
Holm's correction is below LEVEL; it does not hold where the same is true of the other sign; it cannot be told
elsewhere; it is missing where no comparison was made.
"""

VERDICTS = (HOLDS, FAILS, OPEN, MISSING)

MODES = {"probe": "linear probe", "finetune": "fine-tuned"}


@dataclass(frozen=True)
class Claim:
    """`words` with `{labels}` to be filled in; `references` the arms that the method is compared with.

    `better` says which of the two the claim holds to be better, the method or the reference. With `few` the claim is of
    the rows that hold the gain from few labels less that from all. `modes` are those in which it can be asked.
    """

    words: str
    references: tuple[str, ...]
    better: str = "method"
    few: bool = False
    modes: tuple[str, ...] = tuple(MODES)


PAPER = (
    Claim("MDM + MMCL is better than supervised training from scratch", ("scratch",)),
    Claim("MDM + MMCL is better than MDM alone", ("mdm",)),
    Claim("MDM + MMCL is better than MMCL alone", ("mmcl",)),
    Claim("MDM + MMCL is better than SimCLR", ("simclr",)),
    Claim("MDM + MMCL is better than BYOL", ("byol",)),
    Claim("MDM + MMCL is better than Barlow Twins", ("barlow_twins",)),
    Claim("MDM + MMCL is better than CLOCS", ("clocs",)),
    Claim("MDM + MMCL gains more on training from scratch with few labels than with all", ("scratch",), few=True),
    Claim("MDM + MMCL gains more on MDM alone with few labels than with all", ("mdm",), few=True),
)
"""Claims of the paper."""

REFERENCES = (
    Claim("MDM + MMCL is better than an encoder of random weights", ("random",), modes=("probe",)),
    Claim("MDM + MMCL is better than age, sex and body size", ("demographics",)),
    Claim("MDM + MMCL is better than classical ECG features", ("ecg features", "ecg features, boosted")),
    Claim("MDM + MMCL is better than components of the median beat", ("median beat, components",)),
    Claim("The CMR encoder, which sees the image, is better than MDM + MMCL", ("cmr",), better="reference"),
    Claim(
        "The true geometry of the simulated heart, the ceiling, is better than MDM + MMCL",
        ("true geometry", "true geometry, boosted"),
        better="reference",
    ),
)
"""Claims that follow if the representation is worth its training, the upper reference, and the ceiling."""

BEYOND = (
    Claim("The sigmoid pairwise loss is better than the published one", ("sigmoid",), better="reference"),
    Claim("A local term of ECG phase and cine frame helps", ("local",), better="reference"),
    Claim("A term of single cells of the image helps", ("cells",), better="reference"),
    Claim("One joint stage is better than MDM and then MMCL", ("joint",), better="reference"),
)
"""Ideas beyond the paper."""

CLAIMS = PAPER + REFERENCES + BEYOND


ASKED = frozenset(reference for claim in PAPER + REFERENCES for reference in claim.references)
"""What the method is compared with by the paper, or has to be compared with."""


def claims_on(results: pd.DataFrame) -> tuple[Claim, ...]:
    """CLAIMS, and one more of each arm in `results` that the method is compared with, is in no claim, and no ablation.

    Whoever adds an arm to the grid so finds it among the ideas beyond the paper.
    """
    named = {reference for claim in CLAIMS for reference in claim.references}
    compared = dict.fromkeys(results["reference"][results["subgroup"] == ""])
    others = [name for name in compared if name and name not in named and "." not in name]
    return CLAIMS + tuple(Claim(f"The arm {name} is better than MDM + MMCL", (name,), "reference") for name in others)


def ideas_on(results: pd.DataFrame) -> list[str]:
    """Arms beyond the paper: those of BEYOND and, in `results`, of none of CLAIMS."""
    own = claims_on(results)[len(CLAIMS) :]
    return [claim.references[0] for claim in (*BEYOND, *own)]


COLUMNS = ("claim", "reference", "mode", "labels", "target", "metric", "value", "low", "high", "p_holm", "relative")


def judge(
    results: pd.DataFrame, targets: Sequence[str], metric: str, few: str, claims: Sequence[Claim] | None = None
) -> pd.DataFrame:
    """A row for each claim, reference, mode, labels ("all" and `few`) and target: COLUMNS and `verdict`.

    results: a result table with `p_holm`; `claims` are by default `claims_on` it. The sign of `value` is that of the
    method less the reference.
    """
    compared = results[(results["subgroup"] == "") & (results["metric"] == metric) & results["target"].isin(targets)]
    found = compared[compared["reference"] != ""].set_index(["reference", "mode", "labels", "target"])
    if found.index.has_duplicates:
        raise ValueError(f"more than one difference for {found.index[found.index.duplicated()][0]}; expected one")
    rows = []
    for claim in claims_on(results) if claims is None else claims:
        for reference in claim.references:
            for mode in claim.modes:
                for labels in (f"{few} less all",) if claim.few else (few, "all"):
                    for target in targets:
                        place = (reference, mode, labels, target)
                        row = dict(zip(found.index.names, place, strict=True)) | {
                            "claim": claim.words,
                            "metric": metric,
                        }
                        numbers = found.loc[place].to_dict() if place in found.index else {}
                        rows.append(row | numbers | {"verdict": _verdict(numbers, claim.better)})
    numbers = dict.fromkeys(("value", "low", "high", "p_holm", "relative"), float)
    return pd.DataFrame(rows).reindex(columns=[*COLUMNS, "verdict"]).astype(numbers)


def summary(judged: pd.DataFrame) -> pd.DataFrame:
    """How many targets fell which way: a row for each claim, reference, mode and labels, a column for each verdict."""
    keys = ["claim", "reference", "mode", "labels"]
    counts = judged.groupby(keys, sort=False)["verdict"].value_counts().unstack(fill_value=0)
    return counts.reindex(judged[keys].drop_duplicates().apply(tuple, axis=1)).reindex(columns=VERDICTS, fill_value=0)


def sentences(judged: pd.DataFrame) -> list[str]:
    """One sentence for each claim, reference, mode and labels, with the numbers of every target."""
    groups = judged.groupby(["claim", "reference", "mode", "labels"], sort=False)
    return [_sentence(*place, rows) for place, rows in groups]


def best_of(
    results: pd.DataFrame, arms: Sequence[str], targets: Sequence[str], metric: str, mode: str, labels: str
) -> str:
    """Which of `arms` has the highest mean of `metric` over `targets`, and which are missing, as a sentence."""
    chosen = results[(results["subgroup"] == "") & (results["reference"] == "") & (results["metric"] == metric)]
    chosen = chosen[(chosen["mode"] == mode) & (chosen["labels"] == labels) & chosen["target"].isin(targets)]
    means = chosen.groupby("arm")["value"].agg(lambda each: each.mean(skipna=False)).reindex(arms)
    absent = [arm for arm in arms if not np.isfinite(means[arm])]
    setting = f"{MODES[mode]}, {label_words(labels)}, mean {metric} of {', '.join(targets)}"
    without = f"; missing: {', '.join(absent)}" if absent else ""
    if len(absent) == len(arms):
        return f"{setting}{without}"
    order = means.dropna().sort_values(ascending=False, kind="stable")
    return f"{setting}: {', '.join(f'{arm} {value:.3f}' for arm, value in order.items())}{without}"


def tally(results: pd.DataFrame, targets: Sequence[str], metric: str) -> pd.DataFrame:
    """How many of `targets` fell which way: a row per mode, labels and reference; columns better, unclear, worse, and
    missing.
    """
    rows = results[(results["reference"] != "") & (results["subgroup"] == "") & (results["metric"] == metric)]
    rows = rows[rows["target"].isin(targets)]
    words = {HOLDS: "better", FAILS: "worse", OPEN: "unclear", MISSING: "missing"}
    kinds = rows.assign(kind=[words[_verdict(row, "method")] for row in rows.to_dict("records")])
    counts = kinds.groupby(["mode", "labels", "reference"], sort=False)["kind"].value_counts().unstack(fill_value=0)
    return counts.reindex(columns=["better", "unclear", "worse", "missing"], fill_value=0)


def _verdict(row: dict, better: str) -> str:
    if not (row and np.isfinite(row["value"]) and row["low"] <= row["high"]):
        return MISSING
    told = row["p_holm"] < LEVEL and (row["low"] > 0 or row["high"] < 0)
    if not told:
        return OPEN
    return HOLDS if (row["value"] > 0) == (better == "method") else FAILS


def _sentence(claim: str, reference: str, mode: str, labels: str, rows: pd.DataFrame) -> str:
    parts = []
    for verdict in VERDICTS:
        fell = rows[rows["verdict"] == verdict]
        if len(fell):
            word = verdict.capitalize() if parts else verdict
            parts.append(f"{word} for {'; '.join(_numbers(row) for row in fell.to_dict('records'))}")
    which = f", {reference}" if reference.endswith(", boosted") else ""
    return f"{claim} ({MODES[mode]}, {label_words(labels)}{which}): {'. '.join(parts)}."


def _numbers(row: dict) -> str:
    if row["verdict"] == MISSING:
        return row["target"]
    relative = f", {row['relative']:+.0f} %" if np.isfinite(row["relative"]) else ""
    p = f"p {row['p_holm']:.2g}" if not row["p_holm"] < 0.001 else "p < 0.001"
    if not np.isfinite(row["p_holm"]):
        p = "not tested, for too few cases"
    elif row["verdict"] == OPEN:
        p += ", interval includes 0" if row["low"] <= 0 <= row["high"] else ", not after Holm's correction"
    return (
        f"{row['target']} {row['metric']} {row['value']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}{relative}, {p})"
    )

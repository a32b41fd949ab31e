"""What the maps say and what they do not, in sentences made from the numbers, whichever way they fell."""

from __future__ import annotations

import numpy as np
import pandas as pd

LEAST = 10
"""Subjects below which nothing is told: a bootstrap interval of a few, of outcomes 0 or 1 above all, is too narrow."""

UNLIKE = 0.5
"""A map depends on the weights, or on the labels, if its correlation with that without them is surely below this, of
either sign: a map turned upside down is the same map."""

ALIKE = 0.5
"""Two trainings tell the same if the correlation of their maps is surely above this."""

UNMOVED = 1e-3
"""A map does not see a shift that the model undoes if it changes by less than this share of itself."""


def findings(table: pd.DataFrame) -> list[str]:
    """One sentence a row of `score_table`.

    Supported is what is above its baseline, above what is shuffled among subjects, and above random weights in the same
    subjects, each with a 95 % interval over at least LEAST of them; no correction for multiple comparisons.
    """
    return [_finding(row) for row in table.to_dict("records")]


def _finding(row: dict) -> str:
    names = [row["arm"], row.get("output"), row["map"], row["measure"], row["region"]]
    about = ", ".join(str(name) for name in names if isinstance(name, str))
    if row["n"] == 0:
        return f"{about}: could not be measured."
    told = f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}, n = {row['n']})"
    if row["n"] < LEAST:
        return f"{about}: {told}, too few subjects to tell."
    conditions = {  # name -> the value to beat, whether it surely is, in how many subjects
        "the baseline": (row["baseline"], row["low"] > row["baseline"], row["n"]),
        "shuffled subjects": (row["shuffled"], row["gain_low"] > 0, row["gain_n"]),
        "random weights": (row["random"], row["over_random_low"] > 0, row["over_random_n"]),
    }
    groups = {"above": [], "not above": [], "not compared with": []}
    for name, (value, above, n) in conditions.items():
        if n < LEAST:
            groups["not compared with"].append(name)
        else:
            groups["above" if above else "not above"].append(f"{name} ({value:.3f})")
    verdict = "not supported" if groups["not above"] else "open" if groups["not compared with"] else "supported"
    said = "; ".join(f"{relation} {', '.join(others)}" for relation, others in groups.items() if others)
    return f"{about}: {verdict}, {told} is {said}."


def sanity_verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Which checks each map of `sanity_table` passes: side, map, passed, failed, verdict; its sentence in `verdict`.

    Random weights: unlike the map of a model all of whose layers on that side are random. Other training: like that of
    the other training. Permuted labels: unlike those of a head without labels. Shifted input: unmoved. Of a check in
    fewer than LEAST subjects the sentence draws no conclusion.
    """
    rows = []
    for (side, name), checks in table.groupby(["side", "map"], sort=False):
        passed, failed, counts = [], [], []
        for check, found in checks.groupby("check", sort=False):
            # The last step of the cascade is the model without any trained layer.
            last = found[found["measure"].isin(["Spearman", "relative change"])].iloc[-1]
            (passed if _passes(check, last) else failed).append(check)
            counts.append(last["n"])
        told = f"passes {len(passed)} of {len(counts)} checks" + (f" ({', '.join(passed)})" if passed else "")
        if min(counts) < LEAST:
            told += f": too few subjects to tell (n = {min(counts)})"
        elif not passed:
            told += ": it means nothing"
        elif failed:
            told += f"; fails {', '.join(failed)}"
        verdict = f"{name} over the {'ECG' if side == 'ecg' else 'image'} {told}."
        rows.append({"side": side, "map": name, "passed": passed, "failed": failed, "verdict": verdict})
    return pd.DataFrame(rows)


def _passes(check: str, row: pd.Series) -> bool:
    if check == "other training":
        return bool(row["low"] > ALIKE)
    farthest = np.abs([row["low"], row["high"]]).max()
    return bool(farthest < (UNMOVED if check == "shifted input" else UNLIKE))

"""What the maps say and what they do not, in sentences made from the numbers, whichever way they fell."""

from __future__ import annotations

import pandas as pd

UNLIKE = 0.5
"""A map depends on the weights, or on the labels, if its correlation with that without them is surely below this."""

ALIKE = 0.5
"""Two trainings tell the same if the correlation of their maps is surely above this."""

UNMOVED = 1e-3
"""A map does not see a shift that the model undoes if it changes by less than this share of itself."""


def findings(table: pd.DataFrame) -> list[str]:
    """One sentence a row of `image_table` or `ecg_table`.

    Supported is what is above its baseline and above shuffled pairs, both with 95 % intervals; no correction for
    multiple comparisons.
    """
    return [_finding(row) for row in table.to_dict("records")]


def _finding(row: dict) -> str:
    names = [row["arm"], row.get("output"), row["map"], row["measure"], row["region"]]
    about = ", ".join(str(name) for name in names if isinstance(name, str))
    if not row["low"] <= row["high"]:
        return f"{about}: could not be measured (n = {row['n']})."
    told = f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f}, n = {row['n']})"
    chance = row["low"] > row["baseline"]
    if pd.isna(row["gain"]):
        said = "above the baseline" if chance else "not above the baseline"
        return f"{about}: {told} is {said} of {row['baseline']:.3f}; no shuffled pair to compare with."
    against = f"the baseline of {row['baseline']:.3f} and shuffled pairs at {row['shuffled']:.3f}"
    pair = row["gain_low"] > 0
    if chance and pair:
        return f"{about}: supported, {told} is above {against}."
    reason = "above shuffled pairs alone" if pair else "above neither"
    if chance:
        reason = "above the baseline alone, so that it says nothing of this pair"
    return f"{about}: not supported, {told} against {against} is {reason}."


def sanity_verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Which checks each map of `sanity_table` passes: side, map, passed, failed, verdict; its sentence in `verdict`.

    Random weights: unlike the map of a model all of whose layers on that side are random. Other training: like that of
    the other training. Permuted labels: unlike those of a head without labels. Shifted input: unmoved.
    """
    rows = []
    for (side, name), checks in table.groupby(["side", "map"], sort=False):
        passed, failed = [], []
        for check, found in checks.groupby("check", sort=False):
            # The last step of the cascade is the model without any trained layer.
            last = found[found["measure"].isin(["Spearman", "relative change"])].iloc[-1]
            (passed if _passes(check, last) else failed).append(check)
        count = f"passes {len(passed)} of {len(passed) + len(failed)} checks"
        told = f"{count} ({', '.join(passed)})" if passed else f"{count}: it means nothing"
        label = f"{name} over the {'ECG' if side == 'ecg' else 'image'}"
        verdict = f"{label} {told}{'; fails ' + ', '.join(failed) if passed and failed else ''}."
        rows.append({"side": side, "map": name, "passed": passed, "failed": failed, "verdict": verdict})
    return pd.DataFrame(rows)


def _passes(check: str, row: pd.Series) -> bool:
    if check == "other training":
        return bool(row["low"] > ALIKE)
    return bool(row["high"] < (UNMOVED if check == "shifted input" else UNLIKE))

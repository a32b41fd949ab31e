"""Whether two ways of training differ by more than seeds do."""

from __future__ import annotations

import pandas as pd

PATHS = ("fast", "reference")


def compare_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Loss of both paths by arm and epoch, their difference, and the spread between seeds.

    `curves` has columns `arm`, `path` ("fast" or "reference"), `seed`, `epoch`, `loss`, with at least two seeds. A row
    an arm and epoch: mean `fast` and `reference` over seeds, `difference` of the two, `spread` (standard deviation over
    seeds, pooled over both paths) and `within`, whether the difference is no larger. ValueError when a path or a second
    seed is missing.
    """
    grouped = curves.groupby(["arm", "epoch", "path"], sort=False)["loss"]
    mean, variance = grouped.mean().unstack("path"), grouped.var().unstack("path")
    if not set(PATHS) <= set(mean) or variance[list(PATHS)].isna().any(axis=None):
        raise ValueError(f"curves of paths {sorted(curves['path'].unique())}: expected {PATHS}, each with two seeds")
    table = mean[list(PATHS)].assign(
        difference=mean["fast"] - mean["reference"], spread=variance[list(PATHS)].mean(axis=1) ** 0.5
    )
    return table.assign(within=table["difference"].abs() <= table["spread"])


def agreement(table: pd.DataFrame) -> dict[str, str]:
    """A sentence for each arm of `compare_curves` on its last epoch."""
    sentences = {}
    for arm, rows in table.groupby(level="arm", sort=False):
        last = rows.iloc[-1]
        verdict = "no larger than" if last["within"] else "LARGER than"
        losses = " and ".join(f"{last[path]:.4f} on the {path} path" for path in PATHS)
        sentences[arm] = (
            f"{arm.upper()}: after {len(rows)} epochs the loss is {losses}; the difference, "
            f"{abs(last['difference']):.4f}, is {verdict} the spread between seeds, {last['spread']:.4f}. It is "
            f"no larger in {int(rows['within'].sum())} of {len(rows)} epochs."
        )
    return sentences

"""What one measure of a map tells over subjects, beside what a map that says nothing would reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mmcl.evaluation.intervals import resample_counts
from mmcl.setting import Setting

SUMMARY = ("value", "low", "high", "n", "baseline")
SUMMARY += ("shuffled", "gain", "gain_low", "gain_high", "gain_n")
SUMMARY += ("random", "over_random", "over_random_low", "over_random_high", "over_random_n")
"""What `summarise` tells."""


class Scores(NamedTuple):
    """One measure of one map in n subjects: of the `own` pair or map and of one `shuffled` among subjects, (n,), None
    where nothing can be; and the `baseline` (area or chance), (n,) or one for all."""

    own: np.ndarray
    shuffled: np.ndarray | None
    baseline: np.ndarray | float


def score_table(
    scores: Mapping[tuple[str, ...], Scores],
    names: Sequence[str],
    setting: Setting,
    arm: str,
    random: Mapping[tuple[str, ...], Scores],
) -> pd.DataFrame:
    """A row for each of `scores`: arm, the `names` of its place, and columns as `summarise`.

    `random` are the scores of random weights in the same subjects; a place that they lack is not compared.
    """
    resamples, seed = setting.profile.downstream.bootstrap, setting.run.seed
    rows = []
    for place, found in scores.items():
        untrained = random[place].own if place in random else None
        told = summarise(found.own, found.shuffled, found.baseline, resamples, seed, untrained)
        rows.append({"arm": arm, **dict(zip(names, place, strict=True)), **told})
    return pd.DataFrame(rows, columns=["arm", *names, *SUMMARY])


def summarise(
    own: np.ndarray,
    shuffled: np.ndarray | None,
    baseline: np.ndarray | float,
    resamples: int,
    seed: int,
    random: np.ndarray | None = None,
) -> dict[str, float]:
    """Mean of `own` (n,) with its 95 % bootstrap interval over subjects, beside its baselines.

    value, low, high, n; `baseline` (area or chance); `shuffled`, the mean for pairs that do not belong together, and
    `gain`, `gain_low`, `gain_high`, `gain_n`: own less shuffled in the same subjects, of whom both are known; `random`,
    the mean for random weights, and in the same way `over_random`. NaN where there is nothing to tell.
    """
    n = len(own)
    others = [np.full(n, np.nan) if other is None else other for other in (shuffled, random)]
    columns = np.stack([own, *others, *(own - other for other in others)], axis=1)
    given = np.isfinite(columns)
    counts = np.vstack([np.ones(n), resample_counts(n, resamples, np.random.default_rng(seed))])
    weight = counts @ given
    means = np.divide(counts @ np.nan_to_num(columns), weight, out=np.full(weight.shape, np.nan), where=weight > 0)
    low, high = pd.DataFrame(means[1:]).quantile([0.025, 0.975]).to_numpy()
    known = np.broadcast_to(baseline, own.shape)[given[:, 0]]
    expected = float(np.nanmean(known)) if np.isfinite(known).any() else np.nan
    told = [means[0, 0], low[0], high[0], int(given[:, 0].sum()), expected]
    for other, difference in ((1, 3), (2, 4)):
        told += [means[0, other], means[0, difference], low[difference], high[difference]]
        told.append(int(given[:, difference].sum()))
    return dict(zip(SUMMARY, told, strict=True))

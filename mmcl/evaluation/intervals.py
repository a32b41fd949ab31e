"""Percentile bootstrap over subjects: intervals of any metric, of means of columns, and of paired differences.

Two bootstraps made with generators in the same state on the same subjects use the same resamples: their difference is
paired. Resamples for the disease metrics are drawn within cases and within controls of each column, so that every
resample holds both; those for phenotypes are shared by all columns, so that columns can be averaged.

Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapters 13 and 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmcl.evaluation.metrics import DISEASE_METRICS, METRICS
from mmcl.evaluation.significance import wald
from mmcl.evaluation.weighted import WEIGHTED_METRICS


@dataclass(frozen=True)
class Interval:
    """Estimate `value` with interval `low` to `high`, and the number of subjects `n` behind it; each (k,)."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n: np.ndarray


@dataclass(frozen=True)
class Bootstrap:
    """A metric on the whole test set, `value` (k,), and on each resample, `draws` (resamples, k); `n` (k,) subjects."""

    value: np.ndarray
    draws: np.ndarray
    n: np.ndarray

    def interval(self, level: float = 0.95) -> Interval:
        """Percentile interval; NaN where more than half of the resamples could not be scored."""
        if not 0 < level < 1:
            raise ValueError(f"level {level}; expected a number between 0 and 1, such as 0.95")
        scored = np.isfinite(self.draws).mean(axis=0) > 0.5
        low, high = np.full(self.value.shape, np.nan), np.full(self.value.shape, np.nan)
        tails = [(1 - level) / 2, (1 + level) / 2]
        if scored.any():
            low[scored], high[scored] = np.nanquantile(self.draws[:, scored], tails, axis=0)
        return Interval(self.value, low, high, self.n)

    def p(self) -> np.ndarray:
        """Two-sided p (k,) that the value is 0, from the bootstrap's standard error under the normal distribution.

        A share of resamples beyond 0 cannot be smaller than one in their number, which Holm's correction for a hundred
        comparisons would turn into no result at all. NaN where more than half of the resamples could not be scored.
        """
        scored = np.isfinite(self.draws).mean(axis=0) > 0.5
        p = np.full(self.value.shape, np.nan)
        if scored.any():
            p[scored] = wald(self.value[scored], np.nanstd(self.draws[:, scored], axis=0, ddof=1))
        return p

    def mean(self, columns: Sequence[int] | None = None) -> Bootstrap:
        """Mean over `columns` (all by default) as one column; `n` is the largest among them.

        Columns without any label are left out. One that has labels and no value, such as r of a constant prediction,
        makes the mean NaN: leaving it out would flatter the predictor.
        """
        columns = np.arange(self.value.size) if columns is None else np.asarray(columns, dtype=int)
        columns = columns[self.n[columns] > 0]
        if not columns.size:
            nothing = np.full((self.draws.shape[0], 1), np.nan)
            return Bootstrap(np.array([np.nan]), nothing, np.zeros(1, dtype=int))
        return Bootstrap(
            self.value[columns].mean(keepdims=True),
            self.draws[:, columns].mean(axis=1, keepdims=True),
            self.n[columns].max(keepdims=True),
        )

    def minus(self, other: Bootstrap) -> Bootstrap:
        """Difference, resample by resample; both must come from the same subjects and generator state."""
        if self.draws.shape != other.draws.shape or not np.array_equal(self.n, other.n):
            raise ValueError(
                f"bootstraps of {self.draws.shape} draws, n {self.n} and of {other.draws.shape} draws, n {other.n} "
                "are not paired; expected the same subjects, labels and number of resamples"
            )
        return Bootstrap(self.value - other.value, self.draws - other.draws, self.n)


def resample_counts(
    subjects: int, resamples: int, generator: np.random.Generator, strata: np.ndarray | None = None
) -> np.ndarray:
    """How often each subject is drawn in each resample: (resamples, subjects) float64.

    Subjects are drawn with replacement, as many as there are; with `strata` (subjects,) as many from each stratum as it
    has. Missing (NaN) is a stratum of its own.
    """
    counts = np.zeros((resamples, subjects))
    strata = np.zeros(subjects) if strata is None else np.nan_to_num(np.asarray(strata, dtype=float), nan=-1.0)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn = generator.integers(members.size, size=(resamples, members.size))
        drawn += members.size * np.arange(resamples)[:, None]
        tally = np.bincount(drawn.ravel(), minlength=resamples * members.size)
        counts[:, members] = tally.reshape(resamples, members.size)
    return counts


def bootstrap(
    metric: str, truth: np.ndarray, score: np.ndarray, resamples: int, generator: np.random.Generator
) -> Bootstrap:
    """Score each column of `truth` and `score` (n, k) by `metric`, a name in METRICS, on `resamples` of subjects."""
    return bootstraps((metric,), truth, score, resamples, generator)[metric]


def bootstraps(
    metrics: Sequence[str], truth: np.ndarray, score: np.ndarray, resamples: int, generator: np.random.Generator
) -> dict[str, Bootstrap]:
    """`bootstrap` by several metrics on the same resamples: all of diseases, or all of phenotypes."""
    for metric in metrics:
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}; expected one of {', '.join(METRICS)}")
    of_diseases = {metric in DISEASE_METRICS for metric in metrics}
    if len(of_diseases) != 1:
        raise ValueError(f"metrics {', '.join(metrics)}; expected some of diseases or some of phenotypes, not both")
    truth, score = np.asarray(truth, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if truth.ndim != 2:
        raise ValueError(f"truth has shape {truth.shape}; expected (subjects, targets)")
    draws = {metric: np.empty((1 + resamples, truth.shape[1])) for metric in metrics}
    columns = [[k] for k in range(truth.shape[1])] if of_diseases == {True} else [slice(None)]
    for column in columns:
        strata = truth[:, column[0]] if of_diseases == {True} else None
        drawn = resample_counts(truth.shape[0], resamples, generator, strata)
        counts = np.concatenate([np.ones((1, truth.shape[0])), drawn])  # the whole sample first
        for metric in metrics:
            draws[metric][:, column] = WEIGHTED_METRICS[metric](truth[:, column], score[:, column], counts)
    n = np.isfinite(truth).sum(axis=0)
    return {metric: Bootstrap(each[0], each[1:], n) for metric, each in draws.items()}


def over_seeds(bootstraps: Sequence[Bootstrap], generator: np.random.Generator) -> Bootstrap:
    """Mean over training seeds, its interval covering subjects and seeds.

    A seed stands for a whole training, pre-training included where that was repeated. The bootstraps, one a seed, must
    share their resamples of subjects; every resample then also draws as many seeds as there are, with replacement. The
    interval errs on the side of caution: noise that is new for each seed and subject counts in both draws. For a paired
    comparison take the difference within each seed first.
    """
    if not bootstraps:
        raise ValueError("no bootstraps to pool; expected at least one seed")
    draws = np.stack([b.draws for b in bootstraps])
    if any(not np.array_equal(b.n, bootstraps[0].n) for b in bootstraps):
        raise ValueError("seeds were scored on different numbers of subjects; expected one test set")
    chosen = generator.integers(len(bootstraps), size=(len(bootstraps), draws.shape[1]))
    pooled = draws[chosen, np.arange(draws.shape[1])].mean(axis=0)
    return Bootstrap(np.mean([b.value for b in bootstraps], axis=0), pooled, bootstraps[0].n)

"""One predictor scored on resamples of the test subjects, and two of them compared.

All predictors scored with the same `key` share their resamples of subjects and of seeds, so that their differences are
paired and each predictor is scored once, however many others it is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmcl.evaluation.delong import delong_test
from mmcl.evaluation.intervals import Bootstrap, bootstraps, over_seeds
from mmcl.evaluation.predictions import Predictions
from mmcl.phenotypes import GROUPS

RELATIVE = ("AUROC", "r", "R2")
"""Metrics whose relative improvement is told: 100 (score - reference) / reference, in per cent, as the paper does."""

_SEEDS_DRAWN = (2025, 103451)
"""Key of the draws of seeds, apart from any key of subjects."""


@dataclass(frozen=True)
class Scores:
    """Bootstraps of one predictor by metric and training seed; `names` are its targets and then, where all members of
    a group are among them, "<group> mean" (not for MAE, whose units differ).
    """

    predictions: dict[int, Predictions]
    names: tuple[str, ...]
    bootstraps: dict[str, dict[int, Bootstrap]]
    key: int

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(sorted(self.predictions))

    def pooled(self, metric: str, seeds: Sequence[int]) -> Bootstrap:
        """Mean over `seeds`, its interval covering subjects and seeds; all predictors draw the same seeds."""
        return over_seeds([self.bootstraps[metric][seed] for seed in seeds], np.random.default_rng(_SEEDS_DRAWN))

    def rows(self) -> list[dict]:
        """Result rows of all metrics and names."""
        each = {metric: self.pooled(metric, self.seeds) for metric in self.bootstraps}
        return [row for metric, one in each.items() for row in self.rows_of(metric, one, self.seed_values(metric))]

    def less(self, other: Scores, metrics: Sequence[str] | None = None) -> list[dict]:
        """Result rows of the paired difference of this predictor and `other`, by `metrics` (all by default).

        Where both have several seeds, those that they share are compared; a single seed (demographics, a probe) stands
        against all of the other's. `p` is DeLong's for the AUROC, else from the bootstrap's standard error. `relative`
        is empty where the interval of `other` reaches 0: nothing can be told in per cent of what may be nothing.
        """
        mine, others = shared_seeds(self, other)
        rows = []
        for metric in metrics or self.bootstraps:
            here, there = self.pooled(metric, mine), other.pooled(metric, others)
            values = self.seed_values(metric, mine) - other.seed_values(metric, others)
            p = self._delong(other, mine, others) if metric == "AUROC" else here.minus(there).p()
            new = self.rows_of(metric, here.minus(there), values, p=p)
            if metric in RELATIVE:
                relative = relative_improvement(here, there).interval()
                for row, value, low, high in zip(new, relative.value, relative.low, relative.high, strict=True):
                    row |= {"relative": value, "relative_low": low, "relative_high": high}
            rows += new
        return rows

    def seed_values(self, metric: str, seeds: Sequence[int] | None = None) -> np.ndarray:
        """Values (seeds, names) without resampling."""
        return np.stack([self.bootstraps[metric][seed].value for seed in seeds or self.seeds])

    def _delong(self, other: Scores, mine: Sequence[int], others: Sequence[int]) -> np.ndarray:
        count, first = max(len(mine), len(others)), self.predictions[mine[0]]
        scores = [
            np.stack([each.predictions[seed].score for seed in seeds * (count // len(seeds))], axis=2)
            for each, seeds in ((self, mine), (other, others))
        ]
        tested = [
            delong_test(first.truth[:, k], *(score[:, k] for score in scores))[2] for k in range(len(first.names))
        ]
        means = self.pooled("AUROC", mine).minus(other.pooled("AUROC", others)).p()
        return np.r_[tested, means[len(tested) :]]

    def rows_of(self, metric: str, one: Bootstrap, values: np.ndarray, p: np.ndarray | None = None) -> list[dict]:
        interval = one.interval()
        spread = values.std(axis=0, ddof=1) if len(values) > 1 else np.full(one.value.size, np.nan)
        columns = {"value": interval.value, "low": interval.low, "high": interval.high, "n": interval.n}
        columns |= {"seed_sd": spread} | ({} if p is None else {"p": p})
        # MAE has no means over groups, so its columns are fewer than the names.
        return [
            {"target": name, "metric": metric} | {column: array[k] for column, array in columns.items()}
            for k, name in enumerate(self.names[: one.value.size])
        ]


def score_predictor(
    predictions: Mapping[int, Predictions],
    metrics: Sequence[str],
    resamples: int,
    key: int,
    groups: Mapping[str, Sequence[str]] = GROUPS,
) -> Scores:
    """Score `predictions`, by training seed, all of the same subjects and targets, in whatever order each has them."""
    seeds = sorted(predictions)
    names = predictions[seeds[0]].names
    order = np.sort(predictions[seeds[0]].subject)
    aligned = {seed: predictions[seed].select(names).matched(order) for seed in seeds}
    for seed in seeds:
        _same_truth(aligned[seeds[0]], aligned[seed])
    whole = {group: members for group, members in groups.items() if set(members) <= set(names)}
    found: dict[str, dict[int, Bootstrap]] = {metric: {} for metric in metrics}
    for seed, each in aligned.items():
        drawn = bootstraps(metrics, each.truth, each.score, resamples, np.random.default_rng(key))
        for metric, one in drawn.items():
            means = (
                [] if metric == "MAE" else [one.mean([names.index(k) for k in members]) for members in whole.values()]
            )
            found[metric][seed] = _side_by_side([one, *means])
    return Scores(aligned, (*names, *(f"{group} mean" for group in whole)), found, key)


def gained_with_few(few: tuple[Scores, Scores], every: tuple[Scores, Scores], metric: str) -> list[dict]:
    """Rows of a difference of differences: what a predictor gains on its reference from `few` labels, less what it
    gains from `every` label; each pair is (predictor, reference).
    """
    gains, values = [], []
    for mine, other in (few, every):
        seeds, others = shared_seeds(mine, other)
        gains.append(mine.pooled(metric, seeds).minus(other.pooled(metric, others)))
        values.append(mine.seed_values(metric, seeds).mean(0) - other.seed_values(metric, others).mean(0))
    difference = gains[0].minus(gains[1])
    return few[0].rows_of(metric, difference, (values[0] - values[1])[None], p=difference.p())


def relative_improvement(score: Bootstrap, reference: Bootstrap) -> Bootstrap:
    """100 (score - reference) / reference in per cent, NaN in a column where the reference's interval reaches 0."""
    defined = reference.interval().low > 0
    base, drawn = np.where(defined, reference.value, np.nan), np.where(reference.draws > 0, reference.draws, np.nan)
    draws = np.where(defined, 100 * (score.draws - reference.draws) / drawn, np.nan)
    return Bootstrap(100 * (score.value - reference.value) / base, draws, score.n)


def shared_seeds(mine: Scores, other: Scores) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Seeds of each that are compared; ValueError where the truths differ or several seeds have none in common."""
    first, second = mine.predictions[mine.seeds[0]], other.predictions[other.seeds[0]]
    if mine.key != other.key:
        raise ValueError(f"scored with keys {mine.key} and {other.key}; expected one, or nothing is paired")
    if mine.names != other.names:
        raise ValueError(
            f"scores of {', '.join(mine.names)} and of {', '.join(other.names)}; expected the same targets"
        )
    _same_truth(first, second)
    if min(len(mine.seeds), len(other.seeds)) == 1:
        return mine.seeds, other.seeds
    shared = tuple(sorted(set(mine.seeds) & set(other.seeds)))
    if not shared:
        raise ValueError(f"seeds {mine.seeds} and {other.seeds}; expected the same, or one of them alone")
    return shared, shared


def _same_truth(first: Predictions, other: Predictions) -> None:
    if not np.array_equal(first.subject, other.subject) or not np.allclose(first.truth, other.truth, equal_nan=True):
        raise ValueError("two predictions hold different subjects or different truths; expected one test set")


def _side_by_side(columns: Sequence[Bootstrap]) -> Bootstrap:
    parts = ([getattr(each, field) for each in columns] for field in ("value", "draws", "n"))
    return Bootstrap(*(np.concatenate(part, axis=-1) for part in parts))

"""k-nearest-neighbour probe of frozen features, for diseases and phenotypes, beside the linear one.

Source: Wu et al. (2018), Unsupervised feature learning via non-parametric instance discrimination, section 3.4: cosine
similarity, neighbours weighted by exp(similarity / 0.07). Here features are standardised first, as for the linear
probe, and the number of neighbours is chosen on validation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmcl.evaluation.metrics import auroc, r2

NEIGHBOURS = (5, 10, 20, 50, 100, 200)
"""Numbers of neighbours tried."""

TEMPERATURE = 0.07

_CHUNK = 1024
"""Subjects whose similarities to all training subjects are in memory at once."""


def neighbour_scores(
    task: str,
    features: np.ndarray,
    targets: np.ndarray,
    validation_features: np.ndarray,
    validation_targets: np.ndarray,
    test_features: np.ndarray,
    neighbours: Sequence[int] = NEIGHBOURS,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of validation and test subjects, (m, k) each, and the number of neighbours of each target, (k,).

    features (n, d), targets (n, k) with NaN for missing: the neighbours of a target are those among the subjects whose
    label is known, at most all of them. `task` "disease": the weighted share of cases, the number of neighbours by
    validation AUROC; "phenotype": the weighted mean, by validation R2. Where validation cannot score a target, the
    middle of `neighbours` stands; a target without any label scores NaN.
    """
    if task not in ("phenotype", "disease"):
        raise ValueError(f"task {task!r}; expected 'phenotype' or 'disease'")
    if not neighbours or min(neighbours) < 1:
        raise ValueError(f"neighbours {tuple(neighbours)}; expected numbers of at least 1")
    features, targets = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    mean, std = features.mean(axis=0), features.std(axis=0)
    std = np.where(std > 1e-12, std, 1.0)
    train, validation, test = (
        _unit((np.asarray(x, dtype=np.float64) - mean) / std) for x in (features, validation_features, test_features)
    )
    grid = np.array(sorted(set(neighbours)))
    tried, held = (_scores(train, targets, queries, grid) for queries in (validation, test))
    quality = auroc if task == "disease" else r2
    chosen = np.full(targets.shape[1], grid[grid.size // 2])
    for k in np.flatnonzero(np.isfinite(targets).any(axis=0)):
        truth = np.repeat(np.asarray(validation_targets, dtype=np.float64)[:, [k]], grid.size, axis=1)
        scores = quality(truth, tried[:, :, k].T)
        if np.isfinite(scores).any():
            chosen[k] = grid[np.nanargmax(scores)]
    place = np.searchsorted(grid, chosen), slice(None), np.arange(targets.shape[1])
    return tried[place].T, held[place].T, chosen


def _unit(x: np.ndarray) -> np.ndarray:
    return (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def _scores(train: np.ndarray, targets: np.ndarray, queries: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Weighted mean of the labels of each number of neighbours: (grid, queries, k)."""
    result = np.full((grid.size, len(queries), targets.shape[1]), np.nan)
    # Targets missing in the same subjects have the same neighbours.
    patterns, member = np.unique(np.isfinite(targets), axis=1, return_inverse=True)
    for start in range(0, len(queries), _CHUNK):
        rows = slice(start, start + _CHUNK)
        similarity = queries[rows] @ train.T
        for pattern in range(patterns.shape[1]):
            known, columns = np.flatnonzero(patterns[:, pattern]), np.flatnonzero(member == pattern)
            if not known.size:
                continue
            near, weight = _nearest(similarity[:, known], min(int(grid[-1]), known.size))
            last = np.minimum(grid, known.size) - 1
            total = weight.cumsum(axis=1)[:, last]
            for k in columns:
                summed = (weight * targets[known, k][near]).cumsum(axis=1)[:, last]
                result[:, rows, k] = (summed / total).T
    return result


def _nearest(similarity: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights of the `count` most similar columns of each row, the most similar first."""
    near = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(similarity, near, axis=1), axis=1, kind="stable")
    near = np.take_along_axis(near, order, axis=1)
    sorted_similarity = np.take_along_axis(similarity, near, axis=1).astype(np.float64)
    # Less the largest, so that no weight overflows and the nearest weighs one.
    return near, np.exp((sorted_similarity - sorted_similarity[:, :1]) / TEMPERATURE)

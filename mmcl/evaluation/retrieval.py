"""Retrieval across modalities: given a subject's ECG, where among all CMRs does the subject's own one rank?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def retrieval_ranks(query: np.ndarray, gallery: np.ndarray, block: int = 1024) -> np.ndarray:
    """Rank (n,), from 1, of row i of `gallery` by cosine similarity to row i of `query`; both (n, d) projections.

    Equal similarities share their mean rank, so a constant embedding ranks at chance. `block` queries at a time.
    """
    query, gallery = (_unit(np.asarray(x, dtype=np.float64)) for x in (query, gallery))
    if query.shape != gallery.shape:
        raise ValueError(f"query {query.shape} and gallery {gallery.shape}; expected pairs, row by row")
    ranks = np.empty(len(query))
    for start in range(0, len(query), block):
        # Rounding keeps equal similarities equal whatever the order of summation.
        similarity = np.round(query[start : start + block] @ gallery.T, 12)
        rows = np.arange(len(similarity))
        own = similarity[rows, start + rows][:, None]
        ranks[start : start + block] = 1 + (similarity > own).sum(axis=1) + ((similarity == own).sum(axis=1) - 1) / 2
    return ranks


def retrieval_scores(ranks: np.ndarray, at: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """ "recall@k" (share of ranks up to k, 0 to 1) for each k in `at`, and "median rank"."""
    scores = {f"recall@{k}": float((ranks <= k).mean()) for k in at}
    return scores | {"median rank": float(np.median(ranks))}


def chance_scores(n: int, at: Sequence[int] = (1, 5, 10)) -> dict[str, float]:
    """What `retrieval_scores` expects of unrelated embeddings of `n` subjects."""
    scores = {f"recall@{k}": min(k / n, 1.0) for k in at}
    return scores | {"median rank": (n + 1) / 2}


def retrieval_interval(
    ranks: np.ndarray,
    resamples: int,
    generator: np.random.Generator,
    at: Sequence[int] = (1, 5, 10),
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile interval of each of `retrieval_scores` over resampled queries, the gallery as it is."""
    drawn = ranks[generator.integers(len(ranks), size=(resamples, len(ranks)))]
    tails = [(1 - level) / 2, (1 + level) / 2]
    draws = {f"recall@{k}": (drawn <= k).mean(axis=1) for k in at} | {"median rank": np.median(drawn, axis=1)}
    return {name: tuple(np.quantile(values, tails).tolist()) for name, values in draws.items()}


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)

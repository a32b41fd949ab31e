"""Which subjects are shown: chosen by a rule that is told beside them, not because they look well."""

from __future__ import annotations

import numpy as np

RULE = "examples at the median, the lower quartile and the worst of all"
"""What `chosen_examples` does, for captions."""


def chosen_examples(score: np.ndarray, larger_is_better: bool = True) -> dict[str, int]:
    """Positions in `score` (n,) of the median, the lower quartile and the worst case; NaN is never chosen.

    Of an even number the worse of the two middle ones counts; equal scores go by position. ValueError without a score.
    """
    score = np.asarray(score, dtype=np.float64)
    quality = score if larger_is_better else -score
    order = np.argsort(quality, kind="stable")[: np.isfinite(score).sum()]
    if not order.size:
        raise ValueError(f"{score.size} scores, none of them a number: expected at least one to choose examples by")
    places = {"median": (order.size - 1) // 2, "lower quartile": (order.size - 1) // 4, "worst": 0}
    return {name: int(order[place]) for name, place in places.items()}

"""The metrics under many sets of subject weights at once: what a bootstrap needs, as matrix products.

A resample of subjects is a row of counts, how often each subject was drawn. All functions take `truth` and `score`
(n, k), NaN in `truth` for a missing label, and `weights` (resamples, n) >= 0, and return (resamples, k). With weights
of one they equal `mmcl.evaluation.metrics`; a resample that cannot be scored gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmcl.evaluation.calibration import cox, log_odds
from mmcl.evaluation.metrics import AUPRC, AUPRC_OF_BOTH, ECE_BINS, bins, paired_arrays, probabilities


def weighted_auroc(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC as the weighted share of ordered pairs: case weights x (cases, controls) comparisons x control weights."""

    def one(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
        case = labels == 1
        difference = scores[case][:, None] - scores[~case][None]
        # Zero, a half and one are exact in single precision, and so are sums of counts.
        above = (0.5 * (np.sign(difference) + 1)).astype(np.float32)
        cases, controls = counts[:, case], counts[:, ~case]
        ordered = ((cases.astype(np.float32) @ above) * controls).sum(axis=1, dtype=np.float64)
        return ordered / (cases.sum(axis=1) * controls.sum(axis=1))

    return _by_column(one, truth, score, weights)


def weighted_auprc(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average precision of the cases: the sum over thresholds of gained recall x precision, ties as one threshold."""

    def one(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
        # Recall is gained at scores of cases alone. Sums of counts are exact in single precision.
        case, counts = labels == 1, counts.astype(np.float32)
        thresholds = np.unique(scores[case])
        reached = (scores[:, None] >= thresholds).astype(np.float32)
        level = (scores[case, None] == thresholds).astype(np.float32)
        products = (counts @ reached, counts[:, case] @ reached[case], counts[:, case] @ level)
        flagged, hits, gained = (product.astype(np.float64) for product in products)
        precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
        return (gained * precision).sum(axis=1) / gained.sum(axis=1)

    return _by_column(one, truth, score, weights)


def weighted_auprc_of_both(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean of the average precision of the cases and, under the reversed score, of the controls."""
    return (weighted_auprc(truth, score, weights) + weighted_auprc(1 - truth, -score, weights)) / 2


def weighted_ece(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted differences of label and probability, summed by bin, in absolute value, over the sum of weights."""
    truth, score = probabilities(truth, score)
    columns = []
    for labels, scores in zip(truth.T, score.T, strict=True):
        given = np.isfinite(labels)
        inside = np.eye(ECE_BINS)[bins(scores[given])]
        summed = weights[:, given] @ (inside * (labels - scores)[given, None])
        with np.errstate(invalid="ignore"):
            columns.append(np.abs(summed).sum(axis=1) / weights[:, given].sum(axis=1))
    return np.stack(columns, axis=1)


def weighted_calibration_slope(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Slope of the weighted logistic regression of the label on the log odds."""
    return _by_column(lambda labels, p, w: cox(labels, log_odds(p), w)[1], *probabilities(truth, score), weights)


def weighted_calibration_intercept(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Intercept of the same with a slope of 1."""
    return _by_column(
        lambda labels, p, w: cox(labels, log_odds(p), w, slope=False)[0], *probabilities(truth, score), weights
    )


def weighted_brier(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean squared difference of probability and label."""
    return _weighted_mean(truth, (truth - score) ** 2, weights)


def weighted_mae(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean absolute error."""
    return _weighted_mean(truth, np.abs(truth - score), weights)


def weighted_r2(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """1 - SSE / SST, the mean in SST being that of the resample."""
    given, values, scores = _centred(truth, score)
    total = weights @ given
    error = weights @ (values - scores) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = weights @ values**2 - (weights @ values) ** 2 / total
        return np.where(spread > _floor(values, weights), 1 - error / spread, np.nan)


def weighted_pearson_r(truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Pearson's correlation from weighted first and second moments."""
    given, values, scores = _centred(truth, score)
    total = weights @ given
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_value, mean_score = (weights @ values) / total, (weights @ scores) / total
        spread_value = weights @ values**2 - total * mean_value**2
        spread_score = weights @ scores**2 - total * mean_score**2
        shared = weights @ (values * scores) - total * mean_value * mean_score
        varies = (spread_value > _floor(values, weights)) & (spread_score > _floor(scores, weights))
        return np.where(varies, shared / np.sqrt(spread_value * spread_score), np.nan)


WEIGHTED_METRICS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "AUROC": weighted_auroc,
    AUPRC: weighted_auprc,
    AUPRC_OF_BOTH: weighted_auprc_of_both,
    "Brier": weighted_brier,
    "ECE": weighted_ece,
    "calibration slope": weighted_calibration_slope,
    "calibration intercept": weighted_calibration_intercept,
    "r": weighted_pearson_r,
    "R2": weighted_r2,
    "MAE": weighted_mae,
}
"""By the names of `mmcl.evaluation.metrics.METRICS`."""


def _by_column(one: Callable, truth: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    truth, score = paired_arrays(truth, score)
    columns = np.full((weights.shape[0], truth.shape[1]), np.nan)
    for k in range(truth.shape[1]):
        given = np.isfinite(truth[:, k])
        labels = truth[given, k]
        if 0 < labels.sum() < labels.size:
            with np.errstate(invalid="ignore", divide="ignore"):
                columns[:, k] = one(labels, score[given, k], weights[:, given])
    return columns


def _weighted_mean(truth: np.ndarray, error: np.ndarray, weights: np.ndarray) -> np.ndarray:
    given = np.isfinite(truth)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights @ np.where(given, error, 0.0)) / (weights @ given.astype(np.float64))


def _centred(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask and both arrays with zeros at missing labels, less one constant a column.

    Moments about zero of values like 150 +- 30 lose digits; the constant (the mean of the labels) gives them back and
    changes neither R2 nor r.
    """
    truth, score = paired_arrays(truth, score)
    given = np.isfinite(truth)
    count = np.maximum(given.sum(axis=0), 1)
    shift = np.where(given, truth, 0.0).sum(axis=0) / count
    return given.astype(np.float64), np.where(given, truth - shift, 0.0), np.where(given, score - shift, 0.0)


def _floor(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Spread below which a resample counts as constant: rounding error of its second moment."""
    return 1e-12 * (weights @ values**2)

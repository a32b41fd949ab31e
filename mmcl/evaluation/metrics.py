"""Scores of predictions with missing labels: ranking and calibration of diseases; Pearson r, R2, MAE of phenotypes.

All take `truth` and `score` of shape (n,) or (n, k) and return a float64 array of shape () or (k,), one value a column.
A label is missing where `truth` is NaN: that subject is left out of that column. A column that cannot be scored (one
class only, fewer than two subjects, no variance) gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats
from sklearn import metrics as sklearn_metrics

from mmcl.evaluation.calibration import cox, log_odds

AUPRC, AUPRC_OF_BOTH = "AUPRC", "AUPRC of both classes"
"""Names of average precision: of the positive class, and in the published form."""

ECE_BINS = 15

MISSING = ("leave out", "zero")
"""What a missing phenotype counts as. "zero" is the published code: label *and* prediction are set to 0 and still
counted, which inflates R2 (method section 11)."""


def auroc(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: the chance that a case scores above a control, ties counting one half. 0 to 1."""

    def one(labels: np.ndarray, scores: np.ndarray) -> float:
        return sklearn_metrics.roc_auc_score(labels, scores) if _both_classes(labels) else np.nan

    return _by_column(one, *_classes(truth, score))


def auprc(truth: np.ndarray, score: np.ndarray, average: str = "positive") -> np.ndarray:
    """Average precision, 0 to 1; chance is the prevalence.

    `average="positive"` scores the cases. `average="both classes"` is the published code, which takes the mean with
    the average precision of the controls under 1 - score and so reads near 0.5 for a rare disease whatever the model.
    """
    if average not in ("positive", "both classes"):
        raise ValueError(f"average {average!r}; expected 'positive' or 'both classes'")

    def one(labels: np.ndarray, scores: np.ndarray) -> float:
        if not _both_classes(labels):
            return np.nan
        positive = sklearn_metrics.average_precision_score(labels, scores)
        if average == "positive":
            return positive
        return (positive + sklearn_metrics.average_precision_score(1 - labels, -scores)) / 2

    return _by_column(one, *_classes(truth, score))


def auprc_of_both(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The published form of `auprc`: the mean over both classes."""
    return auprc(truth, score, average="both classes")


def brier(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Mean squared difference of a probability and the label; 0 is best, prevalence (1 - prevalence) is uninformed."""
    truth, score = probabilities(truth, score)

    def one(labels: np.ndarray, scores: np.ndarray) -> float:
        return sklearn_metrics.brier_score_loss(labels, scores, pos_label=1) if labels.size else np.nan

    return _by_column(one, truth, score)


def ece(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Expected calibration error (Guo et al. 2017), 0 to 1: mean over subjects of |share of cases - mean probability|
    in their bin, of ECE_BINS of equal width.
    """

    def one(labels: np.ndarray, scores: np.ndarray) -> float:
        if not labels.size:
            return np.nan
        summed = np.bincount(bins(scores), labels - scores, minlength=ECE_BINS)
        return np.abs(summed).sum() / labels.size

    return _by_column(one, *probabilities(truth, score))


def bins(score: np.ndarray) -> np.ndarray:
    """Number of the bin, 0 to ECE_BINS - 1, of each probability."""
    return np.minimum((score * ECE_BINS).astype(int), ECE_BINS - 1)


def calibration_slope(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Slope of a logistic regression of the label on the log odds of its probability (Cox 1958).

    1 is best; below 1 the probabilities are too extreme. NaN where the score separates the classes.
    """

    def one(labels: np.ndarray, scores: np.ndarray) -> float:
        return cox(labels, log_odds(scores), np.ones((1, labels.size)))[1][0] if _both_classes(labels) else np.nan

    return _by_column(one, *probabilities(truth, score))


def calibration_intercept(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Calibration in the large: log odds to be added to every probability. 0 is best; below 0 they are too high."""

    def one(labels: np.ndarray, scores: np.ndarray) -> float:
        if not _both_classes(labels):
            return np.nan
        return cox(labels, log_odds(scores), np.ones((1, labels.size)), slope=False)[0][0]

    return _by_column(one, *probabilities(truth, score))


def pearson_r(truth: np.ndarray, score: np.ndarray, missing: str = "leave out") -> np.ndarray:
    """Pearson's correlation, -1 to 1; NaN for a constant."""

    def one(values: np.ndarray, scores: np.ndarray) -> float:
        if values.size < 2 or np.ptp(values) == 0 or np.ptp(scores) == 0:
            return np.nan
        return stats.pearsonr(values, scores).statistic

    return _by_column(one, *_phenotypes(truth, score, missing))


def r2(truth: np.ndarray, score: np.ndarray, missing: str = "leave out") -> np.ndarray:
    """Coefficient of determination, 1 - SSE / SST: 1 at best, 0 for the mean, below 0 for worse than the mean."""

    def one(values: np.ndarray, scores: np.ndarray) -> float:
        if values.size < 2 or np.ptp(values) == 0:
            return np.nan
        return sklearn_metrics.r2_score(values, scores)

    return _by_column(one, *_phenotypes(truth, score, missing))


def mae(truth: np.ndarray, score: np.ndarray, missing: str = "leave out") -> np.ndarray:
    """Mean absolute error, in the phenotype's unit."""

    def one(values: np.ndarray, scores: np.ndarray) -> float:
        return sklearn_metrics.mean_absolute_error(values, scores) if values.size else np.nan

    return _by_column(one, *_phenotypes(truth, score, missing))


METRICS: dict[str, Callable[..., np.ndarray]] = {
    "AUROC": auroc,
    AUPRC: auprc,
    AUPRC_OF_BOTH: auprc_of_both,
    "Brier": brier,
    "ECE": ece,
    "calibration slope": calibration_slope,
    "calibration intercept": calibration_intercept,
    "r": pearson_r,
    "R2": r2,
    "MAE": mae,
}
"""Every metric by the name that tables and figures use."""

DISEASE_METRICS = ("AUROC", AUPRC, AUPRC_OF_BOTH, "Brier", "ECE", "calibration slope", "calibration intercept")
PHENOTYPE_METRICS = ("r", "R2", "MAE")


def paired_arrays(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 of one shape (n,) or (n, k); ValueError unless a finite score stands at every given label."""
    truth, score = np.asarray(truth, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if truth.shape != score.shape or truth.ndim not in (1, 2):
        raise ValueError(f"truth {truth.shape} and score {score.shape}; expected one shape, (n,) or (n, k)")
    lacking = np.isfinite(truth) & ~np.isfinite(score)
    if lacking.any():
        raise ValueError(f"{lacking.sum()} labels have a score that is not finite, first at {np.argwhere(lacking)[0]}")
    return truth, score


def probabilities(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64; ValueError unless labels are 0, 1 or NaN and every score of a label is a probability."""
    truth, score = _classes(truth, score)
    given = score[np.isfinite(truth)]
    if given.size and (given.min() < 0 or given.max() > 1):
        raise ValueError(f"scores span {given.min():.3g} to {given.max():.3g}; calibration needs probabilities")
    return truth, score


def _classes(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, score = paired_arrays(truth, score)
    other = np.isfinite(truth) & (truth != 0) & (truth != 1)
    if other.any():
        raise ValueError(f"disease label {truth[other][0]:g}; expected 0, 1 or NaN for missing")
    return truth, score


def _phenotypes(truth: np.ndarray, score: np.ndarray, missing: str) -> tuple[np.ndarray, np.ndarray]:
    if missing not in MISSING:
        raise ValueError(f"missing {missing!r}; expected one of {', '.join(MISSING)}")
    truth, score = paired_arrays(truth, score)
    if missing == "zero":
        absent = np.isnan(truth)
        truth, score = np.where(absent, 0.0, truth), np.where(absent, 0.0, score)
    return truth, score


def _both_classes(labels: np.ndarray) -> bool:
    return labels.size > 0 and 0 < labels.sum() < labels.size


def _by_column(one: Callable[[np.ndarray, np.ndarray], float], truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    if truth.ndim == 1:
        given = np.isfinite(truth)
        return np.asarray(one(truth[given], score[given]), dtype=np.float64)
    return np.array([_by_column(one, truth[:, k], score[:, k]) for k in range(truth.shape[1])], dtype=np.float64)

"""Results beyond age, sex and body size: what a score adds to demographics.

Two models are fitted, neither on test data. The demographics model takes the training labels. How far to trust the
score on top of it takes validation subjects, whose scores, unlike those of training subjects, are not overfitted.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from mmcl.evaluation.predictions import Predictions


def adjusted_phenotypes(
    train_demographics: np.ndarray,
    train_truth: np.ndarray,
    validation_demographics: np.ndarray,
    validation: Predictions,
    test_demographics: np.ndarray,
    test: Predictions,
) -> Predictions:
    """The part of truth and score that demographics do not explain, for the test subjects.

    demographics: (n, d), finite, rows in the order of the truth or predictions beside them. `truth` of the result is
    the phenotype less its linear prediction from demographics (fitted on `train_truth` (n, k)); `score` is the score
    less its own linear prediction, times a slope, both fitted on validation subjects. R2 of the result is the partial
    R2 of the score given demographics, its r the partial correlation; `mmcl.evaluation.intervals.bootstrap` gives
    intervals.
    """
    train_truth = np.asarray(train_truth, dtype=np.float64)
    truth, score = np.empty_like(test.truth), np.empty_like(test.score)
    for k in range(len(test.names)):
        expected = _fit_linear(train_demographics, train_truth[:, k])
        residual = validation.truth[:, k] - _design(validation_demographics) @ expected
        score_expected = _fit_linear(validation_demographics, validation.score[:, k])
        surplus = validation.score[:, k] - _design(validation_demographics) @ score_expected
        offset, slope = _fit_linear(surplus[:, None], residual)
        truth[:, k] = test.truth[:, k] - _design(test_demographics) @ expected
        score[:, k] = offset + slope * (test.score[:, k] - _design(test_demographics) @ score_expected)
    return Predictions(test.subject, test.names, truth, score)


def adjusted_diseases(
    train_demographics: np.ndarray,
    train_truth: np.ndarray,
    validation_demographics: np.ndarray,
    validation: Predictions,
    test_demographics: np.ndarray,
    test: Predictions,
) -> tuple[Predictions, Predictions]:
    """Predictions from demographics with the score, and from demographics alone, for the test subjects.

    Arguments as for `adjusted_phenotypes`, scores being probabilities. Demographics alone is a logistic regression on
    the training labels; with the score, its log odds are an offset to which validation adds a weight times the log
    odds of the score. The gain is the paired difference of their AUROC. A disease that either set cannot fit (one
    class only) has its truth set missing in both, so that no metric reports it.
    """
    train_truth = np.asarray(train_truth, dtype=np.float64)
    truth = test.truth.copy()
    alone, both = np.full_like(test.score, 0.5), np.full_like(test.score, 0.5)
    centre, scale = train_demographics.mean(axis=0), train_demographics.std(axis=0)
    scale = np.where(scale > 1e-12, scale, 1.0)
    validation_x, test_x = ((x - centre) / scale for x in (validation_demographics, test_demographics))
    for k in range(len(test.names)):
        if not (_has_both(train_truth[:, k]) and _has_both(validation.truth[:, k])):
            truth[:, k] = np.nan
            continue
        rows, held = np.isfinite(train_truth[:, k]), np.isfinite(validation.truth[:, k])
        weights = _fit_logistic((train_demographics[rows] - centre) / scale, train_truth[rows, k], np.zeros(rows.sum()))
        score_odds = logit(np.clip(validation.score[held, k], 1e-6, 1 - 1e-6))
        mean, std = score_odds.mean(), max(score_odds.std(), 1e-12)
        offset = _design(validation_x[held]) @ weights
        added = _fit_logistic(((score_odds - mean) / std)[:, None], validation.truth[held, k], offset)
        test_odds = (logit(np.clip(test.score[:, k], 1e-6, 1 - 1e-6)) - mean) / std
        alone[:, k] = expit(_design(test_x) @ weights)
        both[:, k] = expit(_design(test_x) @ weights + _design(test_odds[:, None]) @ added)
    return Predictions(test.subject, test.names, truth, both), Predictions(test.subject, test.names, truth, alone)


def _design(x: np.ndarray) -> np.ndarray:
    """Features (n, d) with a leading column of ones."""
    return np.column_stack([np.ones(len(x)), x])


def _fit_linear(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Least squares of y (n,), NaN left out, on (1, x): (d + 1,), of least norm where columns are collinear."""
    given = np.isfinite(y)
    if not given.any():
        return np.zeros(x.shape[1] + 1)
    return np.linalg.lstsq(_design(x[given]), y[given], rcond=1e-10)[0]


def _fit_logistic(x: np.ndarray, y: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Logistic regression of 0/1 y (n,) on (1, x) with log odds `offset` (n,): (d + 1,).

    The prior on the coefficients of the standardised x is a unit normal, which keeps few cases from infinite weights.
    """
    design = _design(x)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        odds = offset + design @ weights
        penalised = np.r_[0.0, weights[1:]]
        value = np.logaddexp(0, odds).sum() - (y * odds).sum() + 0.5 * penalised @ penalised
        return value, design.T @ (expit(odds) - y) + penalised

    return minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x


def _has_both(labels: np.ndarray) -> bool:
    return bool((labels == 1).any() and (labels == 0).any())

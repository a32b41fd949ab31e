"""Calibration of probabilities: maps fitted on validation subjects, change of prevalence, and what a plot needs.

Sources: Platt (1999), Probabilistic outputs for support vector machines; Guo et al. (2017), On calibration of modern
neural networks; Zadrozny and Elkan (2002) for isotonic regression; Cox (1958), Biometrika 45:562, for slope and
intercept; Saerens et al. (2002), Neural Computation 14:21, for the change of prevalence.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit, logit

METHODS = ("none", "platt", "temperature", "isotonic")
"""Platt scaling fits slope and intercept of the log odds, temperature scaling a slope, isotonic regression any rising
step function (it makes ties, so AUROC may change; the other two leave every ranking as it is)."""

CLIP = 1e-6
"""Probabilities are kept this far from 0 and 1 where their log odds are taken."""


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Log odds of probabilities kept off 0 and 1 by CLIP."""
    return logit(np.clip(probability, CLIP, 1 - CLIP))


def calibrate(
    method: str, truth: np.ndarray, score: np.ndarray, *others: np.ndarray
) -> tuple[tuple[np.ndarray, ...], list[dict]]:
    """Probabilities `score` (n, k) and `others` (m, k) mapped by what makes `score` fit `truth` (n, k), column by
    column; and for each column what was fitted.

    `truth` and `score` are validation subjects': 0, 1 or NaN for missing. A column with one class only stays as it is.
    """
    if method not in METHODS:
        raise ValueError(f"unknown calibration {method!r}; expected one of {', '.join(METHODS)}")
    mapped = tuple(np.array(each, dtype=np.float64) for each in (score, *others))
    fits: list[dict] = []
    for k in range(truth.shape[1]):
        given = np.isfinite(truth[:, k])
        labels, known = truth[given, k], np.asarray(score, dtype=np.float64)[given, k]
        if method == "none" or not 0 < labels.sum() < labels.size:
            fits.append({"method": "none"})
            continue
        if method == "isotonic":
            fits.append({"method": method})
            change = _isotonic(labels, known)
        else:
            intercept, slope = _scaling(labels, log_odds(known), with_intercept=method == "platt")
            fits.append({"method": method, "intercept": intercept, "slope": slope})

            def change(p: np.ndarray, intercept: float = intercept, slope: float = slope) -> np.ndarray:
                return expit(intercept + slope * log_odds(p))

        for each in mapped:
            each[:, k] = change(each[:, k])
    return mapped, fits


def at_prevalence(probability: np.ndarray, learnt_at: np.ndarray, prevalence: np.ndarray) -> np.ndarray:
    """Probabilities (n, k) learnt where a share `learnt_at` (k,) were cases, moved to `prevalence` (k,).

    Odds are multiplied by the ratio of prior odds; a share of 0 or 1 leaves a column as it is.
    """
    usable = (learnt_at > 0) & (learnt_at < 1) & (prevalence > 0) & (prevalence < 1)
    before, after = np.where(usable, learnt_at, 0.5), np.where(usable, prevalence, 0.5)
    case, control = probability * (after / before), (1 - probability) * ((1 - after) / (1 - before))
    return case / (case + control)


def cox(
    labels: np.ndarray, odds: np.ndarray, weights: np.ndarray, slope: bool = True, steps: int = 30
) -> tuple[np.ndarray, np.ndarray]:
    """Intercept and slope, each (resamples,), of logistic regression of 0/1 `labels` (n,) on log odds `odds` (n,).

    `weights` (resamples, n) >= 0. Without `slope` the slope is 1, and the intercept is calibration in the large. By
    Newton's method; NaN where it does not converge, as when the classes are separated.
    """
    centre, spread = (odds.mean(), odds.std()) if slope else (0.0, 1.0)
    if spread < 1e-12:
        return (np.full(len(weights), np.nan),) * 2
    # Without slope the log odds are an offset; with it Newton starts at none, whence logistic regression converges.
    design = np.column_stack([np.ones_like(odds), (odds - centre) / spread])[:, : 2 if slope else 1]
    offset = np.zeros_like(odds) if slope else odds
    start = np.zeros(design.shape[1])
    if len(weights) > 1:  # resamples end near the whole sample
        whole = _newton(labels, offset, design, np.ones((1, labels.size)), start, steps)[0]
        start = np.where(np.isfinite(whole).all(), whole, start)
    parameters = _newton(labels, offset, design, weights, start, steps)
    if not slope:
        return parameters[:, 0], np.where(np.isfinite(parameters[:, 0]), 1.0, np.nan)
    return parameters[:, 0] - parameters[:, 1] * centre / spread, parameters[:, 1] / spread


def _newton(
    labels: np.ndarray, offset: np.ndarray, design: np.ndarray, weights: np.ndarray, start: np.ndarray, steps: int
) -> np.ndarray:
    """Parameters (resamples, d) of logistic regression of `labels` on `design` (n, d) by Newton's method from `start`;
    NaN where it does not converge.
    """
    parameters = np.tile(start, (len(weights), 1))
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    moving = np.arange(len(weights))
    for _ in range(steps):
        drawn = weights if moving.size == len(weights) else weights[moving]
        probability = expit(offset + parameters[moving] @ design.T)
        weighted = drawn * probability
        gradient = (drawn * labels - weighted) @ design
        weighted *= 1 - probability
        curvature = (weighted @ products).reshape(-1, design.shape[1], design.shape[1])
        # A ridge far below rounding keeps a degenerate resample from stopping the others.
        ridge = 1e-14 * np.trace(curvature, axis1=1, axis2=2) + 1e-300
        curvature = curvature + ridge[:, None, None] * np.eye(design.shape[1])
        step = np.clip(np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0], -2, 2)
        parameters[moving] += step
        moving = moving[(np.abs(step) >= 1e-5).any(axis=1)]  # what is left is its square
        if not moving.size:
            break
    parameters[moving] = np.nan
    return parameters


def reliability(truth: np.ndarray, score: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """What a reliability diagram shows of one disease: a row for each of `bins` groups of equal size by score.

    truth (n,) 0, 1 or NaN, score (n,) probabilities. Columns: `predicted` mean probability, `observed` share of cases
    with 95 % Wilson interval `low` to `high`, `n` subjects. Equal scores never fall apart, so groups may be fewer.
    """
    given = np.isfinite(truth)
    labels, scores = np.asarray(truth)[given], np.asarray(score)[given]
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, bins + 1)[1:-1]))
    group = np.searchsorted(edges, scores, side="left")
    rows = []
    for number in np.unique(group):
        inside = group == number
        cases, n = int(labels[inside].sum()), int(inside.sum())
        interval = stats.binomtest(cases, n).proportion_ci(method="wilson")
        rows.append((scores[inside].mean(), cases / n, interval.low, interval.high, n))
    return pd.DataFrame(rows, columns=["predicted", "observed", "low", "high", "n"])


def _scaling(labels: np.ndarray, odds: np.ndarray, with_intercept: bool) -> tuple[float, float]:
    """Intercept and slope > 0 of the log odds by maximum likelihood; Platt's targets keep few cases from extremes."""
    cases, controls = labels.sum(), labels.size - labels.sum()
    target = np.where(labels > 0, (cases + 1) / (cases + 2), 1 / (controls + 2))

    def loss(free: np.ndarray) -> tuple[float, np.ndarray]:
        slope = np.exp(free[0])
        line = slope * odds + (free[1] if with_intercept else 0.0)
        error = expit(line) - target
        gradient = [slope * (error @ odds), error.sum()]
        return float(np.logaddexp(0, line).sum() - target @ line), np.array(gradient[: free.size])

    bounds = [(-7, 7), (-30, 30)][: 1 + with_intercept]
    found = minimize(loss, np.zeros(1 + with_intercept), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(found[1]) if with_intercept else 0.0, float(np.exp(found[0]))


def _isotonic(labels: np.ndarray, scores: np.ndarray):
    from sklearn.isotonic import IsotonicRegression

    return IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, labels).predict

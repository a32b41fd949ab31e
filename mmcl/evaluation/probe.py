"""Linear probe on frozen features: ridge regression for phenotypes, logistic regression for diseases.

The penalty of every target is chosen on validation subjects. Missing labels (NaN) are left out target by target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import eigh
from scipy.special import expit

from mmcl.atomic import atomic_path
from mmcl.evaluation.metrics import auroc, r2

ALPHAS = tuple(10.0 ** np.arange(-1, 6))
"""Ridge penalties tried, on standardised features and targets, with a sum (not a mean) of squares."""

INVERSE_PENALTIES = tuple(10.0 ** np.arange(-5, 2))
"""Values of C tried in logistic regression on standardised features."""


@dataclass(frozen=True)
class LinearProbe:
    """A fitted probe of k targets on d features.

    kind: "ridge" or "logistic". mean, std: (d,) of the training features. coefficient: (k, d) for standardised
    features; intercept: (k,). penalty: (k,) the alpha or C that validation chose. A target without usable training
    labels has NaN for all of these.
    """

    kind: str
    names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    coefficient: np.ndarray
    intercept: np.ndarray
    penalty: np.ndarray

    def __post_init__(self) -> None:
        if self.kind not in ("ridge", "logistic"):
            raise ValueError(f"probe of kind {self.kind!r}; expected 'ridge' or 'logistic'")
        k, d = len(self.names), self.mean.size
        expected = {"std": (d,), "coefficient": (k, d), "intercept": (k,), "penalty": (k,)}
        for field, shape in expected.items():
            if getattr(self, field).shape != shape:
                raise ValueError(f"probe's {field} has shape {getattr(self, field).shape}; expected {shape}")

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Features (n, d) -> (n, k): phenotypes in their own units, or the probability of each disease."""
        features = np.asarray(features, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != self.mean.size:
            raise ValueError(f"features have shape {features.shape}; expected (subjects, {self.mean.size})")
        linear = (features - self.mean) / self.std @ self.coefficient.T + self.intercept
        return linear if self.kind == "ridge" else expit(linear)

    def save(self, path: str | Path) -> None:
        """Write an .npz without pickle, whole or not at all."""
        arrays = {field: getattr(self, field) for field in _ARRAYS}
        with atomic_path(path) as part, part.open("wb") as file:
            np.savez(file, kind=np.asarray(self.kind), names=np.asarray(self.names, dtype=str), **arrays)

    @staticmethod
    def load(path: str | Path) -> LinearProbe:
        """Read what `save` wrote; ValueError names the file and what is wrong in it."""
        with np.load(path, allow_pickle=False) as file:
            lacking = {"kind", "names", *_ARRAYS} - set(file.files)
            if lacking:
                raise ValueError(f"{path}: no {', '.join(sorted(lacking))}; expected a linear probe")
            try:
                names = tuple(file["names"].tolist())
                return LinearProbe(str(file["kind"]), names, **{field: file[field] for field in _ARRAYS})
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error


_ARRAYS = ("mean", "std", "coefficient", "intercept", "penalty")


def fit_ridge(
    features: np.ndarray,
    targets: np.ndarray,
    validation_features: np.ndarray,
    validation_targets: np.ndarray,
    names: Sequence[str],
    alphas: Sequence[float] = ALPHAS,
) -> LinearProbe:
    """Ridge regression of targets (n, k) on features (n, d), alpha of each target by validation R2.

    Targets are standardised by their training labels, so that one grid of alphas serves all units. Where validation
    cannot score a target, the middle alpha stands.
    """
    x, y, mean, std = _checked(features, targets, names)
    held_x = (np.asarray(validation_features, dtype=np.float64) - mean) / std
    held_y = np.asarray(validation_targets, dtype=np.float64)
    alphas = np.asarray(alphas, dtype=np.float64)
    given = np.isfinite(y)
    coefficient, intercept = np.full((y.shape[1], x.shape[1]), np.nan), np.full(y.shape[1], np.nan)
    penalty = np.full(y.shape[1], np.nan)
    # Targets missing in the same subjects share one eigendecomposition.
    patterns, member = np.unique(given, axis=1, return_inverse=True)
    for pattern in range(patterns.shape[1]):
        rows, columns = patterns[:, pattern], np.flatnonzero(member == pattern)
        if rows.sum() < 2:
            continue
        labels = y[np.ix_(rows, columns)]
        centre, scale = labels.mean(axis=0), _positive(labels.std(axis=0))
        x_centre = x[rows].mean(axis=0)
        solutions = _ridge_path(x[rows] - x_centre, (labels - centre) / scale, alphas) * scale
        for place, k in enumerate(columns):
            offsets = centre[place] - x_centre @ solutions[:, :, place].T
            predicted = held_x @ solutions[:, :, place].T + offsets
            scores = r2(np.repeat(held_y[:, [k]], alphas.size, axis=1), predicted)
            best = int(np.nanargmax(scores)) if np.isfinite(scores).any() else alphas.size // 2
            coefficient[k], intercept[k], penalty[k] = solutions[best, :, place], offsets[best], alphas[best]
    return LinearProbe("ridge", tuple(names), mean, std, coefficient, intercept, penalty)


def fit_logistic(
    features: np.ndarray,
    targets: np.ndarray,
    validation_features: np.ndarray,
    validation_targets: np.ndarray,
    names: Sequence[str],
    inverse_penalties: Sequence[float] = INVERSE_PENALTIES,
    prevalence: Sequence[float] | None = None,
) -> LinearProbe:
    """Logistic regression of 0/1 targets (n, k) on features (n, d), C of each target by validation AUROC.

    Both classes weigh the same in the fit. The intercept is then moved so that probabilities refer to `prevalence`
    (k,), the training labels' own by default: ranking is untouched, and the Brier score means something. Where
    validation cannot score a target, the middle C stands.
    """
    from sklearn.linear_model import LogisticRegression

    x, y, mean, std = _checked(features, targets, names)
    held_x = (np.asarray(validation_features, dtype=np.float64) - mean) / std
    held_y = np.asarray(validation_targets, dtype=np.float64)
    coefficient, intercept = np.full((y.shape[1], x.shape[1]), np.nan), np.full(y.shape[1], np.nan)
    penalty = np.full(y.shape[1], np.nan)
    for k in range(y.shape[1]):
        rows = np.isfinite(y[:, k])
        labels = y[rows, k]
        if not 0 < labels.sum() < labels.size:
            continue
        scores, fits = [], []
        model = LogisticRegression(class_weight="balanced", max_iter=2000, warm_start=True)
        for c in sorted(inverse_penalties):
            model.set_params(C=c).fit(x[rows], labels)
            fits.append((model.coef_[0].copy(), float(model.intercept_[0]), c))
            scores.append(float(auroc(held_y[:, k], held_x @ fits[-1][0])))
        best = int(np.nanargmax(scores)) if np.isfinite(scores).any() else len(fits) // 2
        coefficient[k], intercept[k], penalty[k] = fits[best]
        rate = labels.mean() if prevalence is None else prevalence[k]
        intercept[k] += np.log(rate / (1 - rate))
    return LinearProbe("logistic", tuple(names), mean, std, coefficient, intercept, penalty)


def _checked(features: np.ndarray, targets: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Standardised features, targets as float64, and the mean and standard deviation used."""
    x, y = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if x.ndim != 2 or y.shape != (x.shape[0], len(names)):
        raise ValueError(f"features {x.shape} and targets {y.shape}; expected (n, d) and (n, {len(names)} names)")
    if not np.isfinite(x).all():
        raise ValueError(f"{(~np.isfinite(x)).sum()} features are not finite; expected complete features")
    mean, std = x.mean(axis=0), _positive(x.std(axis=0))
    return (x - mean) / std, y, mean, std


def _positive(std: np.ndarray) -> np.ndarray:
    """A constant column keeps its scale."""
    return np.where(std > 1e-12, std, 1.0)


def _ridge_path(x: np.ndarray, y: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Solutions (alphas, d, k) for centred x (n, d), y (n, k): one eigendecomposition of the smaller Gram matrix."""
    n, d = x.shape
    if d <= n:
        values, vectors = eigh(x.T @ x)
        rotated = vectors.T @ (x.T @ y)
        back = vectors
    else:
        values, vectors = eigh(x @ x.T)
        rotated = vectors.T @ y
        back = x.T @ vectors
    values = np.maximum(values, 0.0)
    return np.stack([back @ (rotated / (values + alpha)[:, None]) for alpha in alphas])

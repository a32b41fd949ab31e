"""Reference predictors that need no representation learning: demographics, classical ECG features, the median beat.

A result of an encoder means little until it stands beside what age, sex and body size tell, what the measurements of a
cardiology report tell, and what a linear summary of the beat tells. They are fitted by the linear probe and by the
gradient boosting below, on the same labels and validation subjects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mmcl.data.ecg_beats import detect_qrs, median_beat, remove_wander
from mmcl.evaluation.metrics import auroc, r2
from mmcl.evaluation.probe import LinearProbe

DEMOGRAPHICS = ("age", "male", "height", "weight", "bsa")
"""Years, 0 or 1, metre (or cm), kg, m2: what is known of a person before any test."""

LEAF = 15
"""Least number of subjects in a leaf of a boosted tree, where there are labels enough."""

_SEX = {"male": 1.0, "m": 1.0, "female": 0.0, "f": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
"""Words for sex, and the UK Biobank's coding of field 31 (0 female, 1 male)."""


def demographic_features(subjects: pd.DataFrame, systolic: bool = False) -> pd.DataFrame:
    """Columns DEMOGRAPHICS from a store's `subjects` (age, sex, height, weight, bsa), and `systolic` (mmHg) if asked.

    Sex may be a word or 0 for female and 1 for male. Missing values stay NaN.
    """
    wanted = ["age", "sex", "height", "weight", "bsa"] + ["systolic"] * systolic
    lacking = [name for name in wanted if name not in subjects]
    if lacking:
        raise ValueError(f"subjects lack {', '.join(lacking)}; expected columns {', '.join(wanted)}")
    words = subjects["sex"].astype(str).str.strip().str.lower()
    unknown = sorted(set(words) - set(_SEX) - {"nan", "none", "<na>"})
    if unknown:
        raise ValueError(f"sex {unknown[0]!r}; expected one of {', '.join(_SEX)}")
    features = subjects[wanted].drop(columns="sex").astype(float)
    features.insert(1, "male", words.map(_SEX).astype(float))
    return features


def fill_missing(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """`train` (n, d) and `others`, each (m, d), NaN replaced by the training column's median (0 if it has none)."""
    train = np.asarray(train, dtype=np.float64)
    known = np.isfinite(train).any(axis=0)
    median = np.zeros(train.shape[1])
    median[known] = np.nanmedian(train[:, known], axis=0)
    return [np.where(np.isfinite(x), x, median) for x in (train, *(np.asarray(o, dtype=np.float64) for o in others))]


def median_beats(records: np.ndarray, rate: float) -> np.ndarray:
    """Median beat of each record (n, 12, time), aligned at its QRS: (n, 12 x samples) float64, lead after lead.

    In the records' unit. NaN in every sample of a record with fewer than two whole beats; a lead without signal is 0.
    """
    beats = []
    for record in records:
        signal = remove_wander(np.asarray(record, dtype=np.float64), rate)
        signal[np.ptp(record, axis=-1) == 0] = 0.0
        beat = median_beat(signal, detect_qrs(signal, rate), rate)
        beats.append(None if beat is None else np.nan_to_num(beat.leads).ravel())
    size = next((beat.size for beat in beats if beat is not None), 1)
    return np.stack([np.full(size, np.nan) if beat is None else beat for beat in beats])


def principal_components(values: np.ndarray, train: np.ndarray, count: int) -> np.ndarray:
    """First `count` principal components of `values` (n, d), or all that vary: (n, count), by falling variance.

    Fitted on the rows `train`, without those that hold NaN, which have NaN components. ValueError when fewer than two
    are left.
    """
    from sklearn.decomposition import PCA

    known = np.isfinite(values).all(axis=1)
    fitted = values[train][known[train]]
    if len(fitted) < 2:
        raise ValueError(f"{len(fitted)} of {len(train)} training rows without gaps: expected at least two")
    result = np.full((len(values), min(count, len(fitted) - 1, fitted.shape[1])), np.nan)
    result[known] = PCA(result.shape[1], svd_solver="full").fit(fitted).transform(values[known])
    return result


def choose_leading(
    probes: Sequence[LinearProbe], validation_features: np.ndarray, validation_targets: np.ndarray
) -> tuple[LinearProbe, list[int]]:
    """For each target the probe that validates best, by R2 or AUROC, and the number of features that it uses.

    `probes` were fitted on the leading columns of the same features (n, d), the last on all of them. They become one
    probe on all columns, with coefficient 0 where a target uses fewer. Where validation cannot score a target, the
    middle one stands.
    """
    widest = probes[-1]
    score = r2 if widest.kind == "ridge" else auroc
    held = np.asarray(validation_targets, dtype=np.float64)
    scores = [score(held, np.nan_to_num(probe.predict(validation_features[:, : probe.mean.size]))) for probe in probes]
    best = [
        int(np.nanargmax(column)) if np.isfinite(column).any() else len(probes) // 2 for column in np.transpose(scores)
    ]
    coefficient = np.zeros_like(widest.coefficient)
    for k, chosen in enumerate(best):
        coefficient[k, : probes[chosen].mean.size] = probes[chosen].coefficient[k]
    intercept, penalty = (
        np.array([getattr(probes[chosen], name)[k] for k, chosen in enumerate(best)])
        for name in ("intercept", "penalty")
    )
    merged = LinearProbe(widest.kind, widest.names, widest.mean, widest.std, coefficient, intercept, penalty)
    return merged, [probes[chosen].mean.size for chosen in best]


def boosted_scores(
    task: str,
    features: np.ndarray,
    targets: np.ndarray,
    validation_features: np.ndarray,
    validation_targets: np.ndarray,
    test_features: np.ndarray,
    seed: int = 0,
    trees: int = 150,
) -> np.ndarray:
    """Gradient boosting of shallow trees, which takes NaN features as they are: scores of the test subjects (m, k).

    The number of trees, up to `trees`, is the one that validates best, by R2 or AUROC. A target without usable training
    labels scores NaN.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    regress = _known(task) == "phenotype"
    model_class = HistGradientBoostingRegressor if regress else HistGradientBoostingClassifier
    targets = np.asarray(targets, dtype=np.float64)
    validation_targets = np.asarray(validation_targets, dtype=np.float64)
    scores = np.full((len(test_features), targets.shape[1]), np.nan)
    for k in range(targets.shape[1]):
        rows = np.isfinite(targets[:, k])
        if np.unique(targets[rows, k]).size < 2:
            continue
        model = model_class(
            max_iter=trees,
            learning_rate=0.07,
            max_leaf_nodes=6,
            min_samples_leaf=min(LEAF, max(1, int(rows.sum()) // 8)),  # of few labels a tree has leaves too
            l2_regularization=1.0,
            early_stopping=False,
            random_state=seed,
        ).fit(features[rows], targets[rows, k])
        best = _best_stage(_stages(model, validation_features, regress), validation_targets[:, k], regress)
        scores[:, k] = _stages(model, test_features, regress)[:, best]
    return scores


def _stages(model, features: np.ndarray, regress: bool) -> np.ndarray:
    """Scores after each tree: (n, trees)."""
    stages = model.staged_predict(features) if regress else (p[:, 1] for p in model.staged_predict_proba(features))
    return np.stack(list(stages), axis=1)


def _best_stage(stages: np.ndarray, truth: np.ndarray, regress: bool) -> int:
    """Number of trees less one that validates best, by squared error or AUROC; half of all where none can be scored."""
    known = np.isfinite(truth)
    if not known.any():
        return stages.shape[1] // 2
    if regress:
        return int(((stages[known] - truth[known, None]) ** 2).mean(axis=0).argmin())
    quality = auroc(np.repeat(truth[:, None], stages.shape[1], axis=1), stages)
    return int(np.nanargmax(quality)) if np.isfinite(quality).any() else stages.shape[1] // 2


def _known(task: str) -> str:
    if task not in ("phenotype", "disease"):
        raise ValueError(f"task {task!r}; expected 'phenotype' or 'disease'")
    return task

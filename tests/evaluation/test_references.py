"""Reference predictors: demographics, gaps, linear and boosted scores."""

import numpy as np
import pandas as pd
import pytest

from mmcl.evaluation.metrics import auroc, r2
from mmcl.evaluation.probe import fit_ridge
from mmcl.evaluation.references import (
    boosted_scores,
    choose_leading,
    demographic_features,
    fill_missing,
    median_beats,
    principal_components,
)


def subjects(**changes) -> pd.DataFrame:
    size = {"height": [1.6, 1.8], "weight": [60.0, np.nan], "bsa": [1.6, 2.0]}
    return pd.DataFrame({"age": [50, 60], "sex": ["Female", "male"], **size, **changes})


def test_demographics_read_words_and_codes():
    features = demographic_features(subjects())
    assert list(features.columns) == ["age", "male", "height", "weight", "bsa"]
    assert list(features.male) == [0, 1] and np.isnan(features.weight[1])
    assert list(demographic_features(subjects(sex=[1, 0])).male) == [1, 0]
    assert "systolic" in demographic_features(subjects(systolic=[120, 140]), systolic=True)
    with pytest.raises(ValueError, match="lack systolic"):
        demographic_features(subjects(), systolic=True)
    with pytest.raises(ValueError, match="sex 'x'"):
        demographic_features(subjects(sex=["x", "f"]))


def test_gaps_take_the_training_median():
    train, test = fill_missing(np.array([[1.0, np.nan], [3.0, np.nan], [9.0, np.nan]]), np.array([[np.nan, 4.0]]))
    np.testing.assert_array_equal(train[:, 1], 0)
    np.testing.assert_array_equal(test, [[3.0, 4.0]])


def example(n: int, seed: int):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, 5))
    signal = features[:, 0] + 2 * (features[:, 1] > 0)
    phenotype = (100 + 10 * signal + 5 * generator.normal(size=n))[:, None]
    disease = (generator.random(n) < 1 / (1 + np.exp(3 - 1.5 * signal))).astype(float)[:, None]
    features[generator.random(features.shape) < 0.05] = np.nan
    phenotype[generator.random(n) < 0.1] = np.nan
    return features, phenotype, disease


def test_boosting_predicts_unseen_subjects_and_takes_gaps_as_they_are():
    train, validation, test = (example(n, seed) for seed, n in enumerate((600, 200, 400)))
    boosted = boosted_scores("phenotype", train[0], train[1], validation[0], validation[1], test[0])
    filled = fill_missing(train[0], validation[0], test[0])
    linear = fit_ridge(filled[0], train[1], filled[1], validation[1], ("LVM",)).predict(filled[2])
    assert r2(test[1], boosted) > r2(test[1], linear) > 0.5  # a step, which trees follow and a line does not
    risk = (train[0], train[2], validation[0], validation[2], test[0])
    assert auroc(test[2], boosted_scores("disease", *risk)) > 0.75
    with pytest.raises(ValueError, match="task 'risk'"):
        boosted_scores("risk", *train[:2], *validation[:2], test[0])


def test_boosting_stops_where_validation_is_best():
    generator = np.random.default_rng(0)
    features, noise = generator.normal(size=(200, 8)), generator.normal(size=(200, 1))
    held = generator.normal(size=(200, 8)), generator.normal(size=(200, 1))
    scores = boosted_scores("phenotype", features, noise, *held, held[0])
    assert scores.std() < 0.5 * noise.std()


def test_median_beats_are_aligned_and_gaps_are_told():
    rate, beat = 125, np.zeros((12, 75))
    beat[:, 10:14], beat[:, 40:60] = 1.0, 0.2  # QRS and T
    scale = np.linspace(0.5, 2, 12)[:, None]
    record = scale * np.tile(beat, 16)
    silent = record.copy()
    silent[4] = 0.0
    beats = median_beats(np.stack([record, np.roll(record, 31, axis=1), silent, np.zeros_like(record)]), rate)
    one, other, without, none = beats.reshape(4, 12, -1)
    assert one.shape[1] == round(0.32 * rate) + round(0.62 * rate)
    np.testing.assert_allclose(other, one, atol=0.05 * np.abs(one).max())
    np.testing.assert_allclose(one / scale, np.tile(one[:1] / scale[0], (12, 1)), atol=1e-9)
    assert (without[4] == 0).all() and np.isfinite(without).all() and np.isnan(none).all()


def test_components_are_those_of_the_training_covariance():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(60, 8)) * np.array([9, 7, 5, 3, 1, 1, 1, 1]) @ generator.normal(size=(8, 8))
    values[[2, 50]] = np.nan
    train = np.arange(40)
    found = principal_components(values, train, 3)
    known = np.delete(values[train], 2, axis=0)
    variance, axes = np.linalg.eigh(np.cov(known.T))
    expected = (values - known.mean(axis=0)) @ axes[:, ::-1][:, :3]
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-8)
    np.testing.assert_allclose(np.nanvar(found[train], axis=0, ddof=1), variance[::-1][:3])
    assert np.isnan(found[[2, 50]]).all()
    assert principal_components(values, train[:4], 30).shape == (60, 2)
    with pytest.raises(ValueError, match="1 of 2 training rows without gaps"):
        principal_components(values, np.array([2, 3]), 3)


def test_as_many_leading_features_serve_as_validate_best():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(400, 60))
    labels = np.column_stack([features[:, 0], features[:, :20].sum(axis=1), np.full(400, np.nan)])
    labels += generator.normal(size=labels.shape)
    train, held = slice(0, 120), slice(120, 400)
    probes = [
        fit_ridge(features[train, :k], labels[train], features[held, :k], labels[held], ("short", "long", "none"))
        for k in (4, 20, 60)
    ]
    merged, used = choose_leading(probes, features[held], labels[held])
    assert used == [4, 20, 20]  # nothing can be said of the last, so that the middle stands
    expected = [probes[0].predict(features[:, :4])[:, 0], probes[1].predict(features[:, :20])[:, 1]]
    np.testing.assert_allclose(merged.predict(features)[:, :2].T, expected)
    assert np.isnan(merged.predict(features)[:, 2]).all()
    assert merged.penalty[0] == probes[0].penalty[0] and (merged.coefficient[0, 4:] == 0).all()

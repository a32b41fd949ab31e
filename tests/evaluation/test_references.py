"""Reference predictors: demographics, gaps, linear and boosted scores."""

import numpy as np
import pandas as pd
import pytest

from mmcl.evaluation.metrics import auroc, r2
from mmcl.evaluation.probe import fit_ridge
from mmcl.evaluation.references import boosted_scores, demographic_features, fill_missing


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

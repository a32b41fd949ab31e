"""Linear probe against scikit-learn, with missing labels, and its file."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge

from mmcl.evaluation.metrics import auroc, brier, r2
from mmcl.evaluation.probe import LinearProbe, fit_logistic, fit_ridge


def regression(n: int, d: int, seed: int, noise: float = 1.0):
    generator = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(size=(d, 3)) / np.sqrt(d)
    features = generator.normal(5, 3, size=(n, d))
    targets = 150 + 30 * ((features - 5) / 3 @ weights + noise * generator.normal(size=(n, 3)))
    return features, targets


@pytest.mark.parametrize(("n", "d"), [(200, 10), (40, 100)])
def test_ridge_equals_scikit_learn_on_the_given_labels(n, d):
    features, targets = regression(n, d, 0)
    held, held_targets = regression(50, d, 1)
    targets[np.random.default_rng(2).random(targets.shape) < 0.2] = np.nan
    probe = fit_ridge(features, targets, held, held_targets, ("a", "b", "c"), alphas=[30.0])
    for k in range(3):
        rows = np.isfinite(targets[:, k])
        x = (features - features.mean(axis=0)) / features.std(axis=0)
        model = Ridge(alpha=30.0).fit(x[rows], targets[rows, k])
        expected = model.predict((held - features.mean(axis=0)) / features.std(axis=0))
        np.testing.assert_allclose(probe.predict(held)[:, k], expected, rtol=1e-8)


def test_ridge_takes_the_alpha_that_validates_best():
    features, targets = regression(60, 50, 0, noise=2.0)
    held, held_targets = regression(400, 50, 1, noise=2.0)
    alphas = [1e-3, 10.0, 100.0, 1e5]
    probe = fit_ridge(features, targets, held, held_targets, ("a", "b", "c"), alphas)
    each = [fit_ridge(features, targets, held, held_targets, ("a", "b", "c"), [alpha]) for alpha in alphas]
    scores = np.array([r2(held_targets, one.predict(held)) for one in each])
    np.testing.assert_array_equal(probe.penalty, np.array(alphas)[scores.argmax(axis=0)])
    np.testing.assert_allclose(r2(held_targets, probe.predict(held)), scores.max(axis=0))


def disease(n: int, seed: int):
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, 6))
    labels = (generator.random(n) < 1 / (1 + np.exp(3 - 1.5 * features[:, 0]))).astype(float)
    return features, labels[:, None]


def test_logistic_equals_scikit_learn_and_predicts_the_prevalence():
    features, labels = disease(3000, 0)
    held, held_labels = disease(3000, 1)
    probe = fit_logistic(features, labels, held, held_labels, ("CAD",), inverse_penalties=[0.1])
    x = (features - features.mean(axis=0)) / features.std(axis=0)
    model = LogisticRegression(C=0.1, class_weight="balanced").fit(x, labels[:, 0])
    np.testing.assert_allclose(probe.coefficient, model.coef_, rtol=1e-3)
    probability = probe.predict(held)
    assert probability.mean() == pytest.approx(held_labels.mean(), abs=0.03)
    assert brier(held_labels, probability) < held_labels.mean() * (1 - held_labels.mean())
    balanced = fit_logistic(features, labels, held, held_labels, ("CAD",), [0.1], prevalence=[0.5]).predict(held)
    assert auroc(held_labels, balanced) == pytest.approx(auroc(held_labels, probability), abs=1e-12)
    assert balanced.mean() > 2 * probability.mean()


def test_targets_that_cannot_be_fitted_are_nan_and_unscored_ones_take_the_middle():
    features, labels = disease(100, 0)
    both = np.column_stack([labels, np.zeros(100)])
    probe = fit_logistic(features, both, features[:4], np.zeros((4, 2)), ("CAD", "AF"), [0.01, 0.1, 1.0])
    assert probe.penalty[0] == 0.1 and np.isnan(probe.predict(features)[:, 1]).all()
    targets = np.column_stack([features[:, 0], np.full(100, np.nan)])
    ridge = fit_ridge(features, targets, features[:4], np.full((4, 2), np.nan), ("LVM", "LVEF"), [1.0, 10.0, 100.0])
    assert ridge.penalty[0] == 10.0 and np.isnan(ridge.predict(features)[:, 1]).all()


def test_constant_features_do_no_harm():
    features, targets = regression(80, 5, 0)
    features[:, 2] = 7.0
    probe = fit_ridge(features, targets, features, targets, ("a", "b", "c"))
    assert np.isfinite(probe.predict(features)).all()


def test_file_round_trip_and_refusals(tmp_path):
    features, targets = regression(50, 4, 0)
    probe = fit_ridge(features, targets, features, targets, ("a", "b", "c"))
    probe.save(tmp_path / "probe.npz")
    back = LinearProbe.load(tmp_path / "probe.npz")
    assert back.names == probe.names and back.kind == "ridge"
    np.testing.assert_array_equal(back.predict(features), probe.predict(features))
    np.savez(tmp_path / "odd.npz", mean=probe.mean)
    with pytest.raises(ValueError, match="odd.npz: no coefficient"):
        LinearProbe.load(tmp_path / "odd.npz")
    with pytest.raises(ValueError, match=r"expected \(subjects, 4\)"):
        probe.predict(features[:, :3])
    features[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        fit_ridge(features, targets, features, targets, ("a", "b", "c"))

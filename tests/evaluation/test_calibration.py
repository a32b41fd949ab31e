"""Calibration: maps fitted on validation, change of prevalence, slope and intercept, reliability."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from mmcl.evaluation.calibration import at_prevalence, calibrate, cox, reliability
from mmcl.evaluation.metrics import auroc, brier, calibration_intercept, calibration_slope, ece


def overconfident(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n, 1), and probabilities whose log odds are three times too large and one too high."""
    random = np.random.default_rng(seed)
    odds = random.normal(-1.5, 1, (n, 1))
    return (random.random((n, 1)) < expit(odds)).astype(float), expit(3 * odds + 1)


@pytest.mark.parametrize("method", ["platt", "temperature", "isotonic"])
def test_calibration_on_validation_mends_test_probabilities(method):
    truth, score = overconfident(3000, 0)
    held, held_score = overconfident(3000, 1)
    (_, mended), fits = calibrate(method, truth, score, held_score)
    assert brier(held, mended) < brier(held, held_score) and ece(held, mended) < 0.7 * ece(held, held_score)
    assert abs(auroc(held, mended) - auroc(held, held_score)) < (0.01 if method == "isotonic" else 1e-12)
    if method == "platt":
        assert fits[0]["slope"] == pytest.approx(1 / 3, abs=0.04)
        assert fits[0]["intercept"] == pytest.approx(-1 / 3, abs=0.1)
        assert calibration_slope(held, mended) == pytest.approx(1, abs=0.12)
    if method == "temperature":
        assert fits[0]["intercept"] == 0


def test_a_disease_without_cases_in_validation_is_left_as_it_is():
    truth, score = overconfident(50, 0)
    both = np.column_stack([np.zeros(50), np.where(np.arange(50) < 3, np.nan, truth[:, 0])])
    (mapped,), fits = calibrate("platt", both, np.repeat(score, 2, axis=1))
    np.testing.assert_array_equal(mapped[:, 0], score[:, 0])
    assert fits[0] == {"method": "none"} and fits[1]["method"] == "platt" and (mapped[:, 1] != score[:, 0]).all()
    with pytest.raises(ValueError, match="unknown calibration 'beta'"):
        calibrate("beta", truth, score)


def test_a_change_of_prevalence_multiplies_the_odds():
    p = np.array([[0.0, 0.2], [0.5, 0.9], [1.0, 0.4]])
    moved = at_prevalence(p, np.array([0.5, 0.5]), np.array([0.1, 0.5]))
    np.testing.assert_allclose(moved[1, 0], 0.1)
    np.testing.assert_allclose(moved[[0, 2], 0], [0, 1])
    np.testing.assert_allclose(moved[:, 1], p[:, 1])
    odd = at_prevalence(p[:2, 1:], np.array([0.25]), np.array([0.1]))
    np.testing.assert_allclose(logit(odd), logit(p[:2, 1:]) + logit(0.1) - logit(0.25))


def test_probabilities_learnt_from_a_balanced_set_are_calibrated_at_the_prevalence():
    random = np.random.default_rng(0)
    odds = random.normal(-2.5, 1.2, 40000)
    truth = random.random(40000) < expit(odds)
    learnt = expit(odds + logit(0.5) - logit(truth.mean()))
    mended = at_prevalence(learnt[:, None], np.array([0.5]), truth.mean(keepdims=True))[:, 0]
    assert abs(calibration_intercept(truth.astype(float), mended)) < 0.05
    assert calibration_intercept(truth.astype(float), learnt) < -1


def test_slope_and_intercept_equal_logistic_regression():
    truth, score = overconfident(400, 3)
    labels, odds = truth[:, 0], logit(score[:, 0])
    counts = np.stack([np.ones(400), np.random.default_rng(0).integers(0, 4, 400)]).astype(float)
    intercept, slope = cox(labels, odds, counts)
    large, one = cox(labels, odds, counts, slope=False)
    for row, count in enumerate(counts):
        model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds[:, None], labels, sample_weight=count)
        assert slope[row] == pytest.approx(model.coef_[0, 0], rel=1e-4)
        assert intercept[row] == pytest.approx(model.intercept_[0], rel=1e-3)
        assert (count * expit(odds + large[row])).sum() == pytest.approx((count * labels).sum())
    assert (one == 1).all()
    separated = np.r_[np.zeros(5), np.ones(5)]
    assert np.isnan(cox(separated, np.linspace(-1, 1, 10), np.ones((1, 10)))[1]).all()
    assert np.isnan(calibration_slope(separated, np.full(10, 0.3)))


def test_expected_calibration_error_by_hand():
    truth, score = np.array([0, 1, 1, 0, np.nan]), np.array([0.01, 0.02, 0.99, 0.5, 0.3])
    assert ece(truth, score) == pytest.approx((abs(1 - 0.03) + 0.01 + 0.5) / 4)
    with pytest.raises(ValueError, match="probabilities"):
        ece(truth, 3 * score)


def test_reliability_holds_every_subject_once():
    truth, score = overconfident(1000, 5)
    truth[:7] = np.nan
    table = reliability(truth[:, 0], score[:, 0])
    assert len(table) == 10 and table.n.sum() == 993 and table.predicted.is_monotonic_increasing
    assert ((table.low <= table.observed) & (table.observed <= table.high)).all()
    assert (table.observed * table.n).sum() == pytest.approx(np.nansum(truth))
    assert len(reliability(np.array([0.0, 1.0, 0.0]), np.full(3, 0.2))) == 1

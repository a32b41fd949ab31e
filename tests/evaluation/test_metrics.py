"""Metrics against naive definitions, missing labels, and the published quirks."""

import numpy as np
import pytest

from mmcl.evaluation import metrics


@pytest.fixture
def diseases():
    generator = np.random.default_rng(1)
    truth = (generator.random((200, 3)) < 0.2).astype(float)
    score = np.round(np.clip(0.3 * truth + 0.7 * generator.random((200, 3)), 0, 1), 2)  # rounded, so that ties occur
    truth[generator.random((200, 3)) < 0.1] = np.nan
    return truth, score


@pytest.fixture
def phenotypes():
    generator = np.random.default_rng(2)
    truth = generator.normal(100, 20, size=(150, 4))
    score = truth + generator.normal(0, 15, size=(150, 4))
    truth[generator.random((150, 4)) < 0.2] = np.nan
    return truth, score


def test_auroc_is_the_share_of_ordered_pairs(diseases):
    truth, score = diseases
    for k, value in enumerate(metrics.auroc(truth, score)):
        cases, controls = score[truth[:, k] == 1, k], score[truth[:, k] == 0, k]
        difference = cases[:, None] - controls[None]
        assert value == pytest.approx(((difference > 0) + 0.5 * (difference == 0)).mean())


def test_auprc_of_the_positive_class_and_the_published_mean(diseases):
    truth, score = diseases[0][:, 0], diseases[1][:, 0]
    given = np.isfinite(truth)
    labels, scores = truth[given], score[given]
    naive = 0.0
    for threshold in np.unique(scores):
        at, above = scores == threshold, scores >= threshold
        naive += labels[at].sum() / labels.sum() * labels[above].mean()
    assert metrics.auprc(truth, score) == pytest.approx(naive)
    assert metrics.auprc(truth, score, average="both classes") > naive + 0.1
    uninformed = np.full(1000, 0.5)
    rare = np.arange(1000) < 30
    assert metrics.auprc(rare, uninformed) == pytest.approx(0.03)
    assert metrics.auprc(rare, uninformed, average="both classes") == pytest.approx(0.5)


def test_regression_metrics_leave_missing_labels_out(phenotypes):
    truth, score = phenotypes
    for k in range(truth.shape[1]):
        given = np.isfinite(truth[:, k])
        y, p = truth[given, k], score[given, k]
        assert metrics.r2(truth, score)[k] == pytest.approx(1 - ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum())
        assert metrics.pearson_r(truth, score)[k] == pytest.approx(np.corrcoef(y, p)[0, 1])
        assert metrics.mae(truth, score)[k] == pytest.approx(np.abs(y - p).mean())


def test_counting_missing_as_zero_inflates_r2(phenotypes):
    truth, score = phenotypes
    noise = np.random.default_rng(3).normal(100, 20, size=truth.shape)
    assert (metrics.r2(truth, noise) < 0).all()
    assert (metrics.r2(truth, noise, missing="zero") > 0.5).all()
    assert (metrics.mae(truth, score, missing="zero") < metrics.mae(truth, score)).all()


def test_brier(diseases):
    truth, score = diseases
    np.testing.assert_allclose(metrics.brier(truth, score), np.nanmean((truth - score) ** 2, axis=0))
    with pytest.raises(ValueError, match="probabilities"):
        metrics.brier(truth, score * 10)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_one_column_gives_a_scalar_equal_to_the_column(name, diseases, phenotypes):
    truth, score = diseases if name in metrics.DISEASE_METRICS else phenotypes
    both = metrics.METRICS[name](truth, score)
    single = metrics.METRICS[name](truth[:, 1], score[:, 1])
    assert both.shape == truth.shape[1:] and single.shape == () and single == both[1]


@pytest.mark.parametrize("name", metrics.METRICS)
def test_a_column_without_labels_is_nan(name):
    assert np.isnan(metrics.METRICS[name](np.full(8, np.nan), np.linspace(0, 1, 8)))


def test_one_class_or_a_constant_is_nan():
    scores = np.linspace(0, 1, 8)
    assert np.isnan(metrics.auroc(np.ones(8), scores)) and np.isnan(metrics.auprc(np.zeros(8), scores))
    assert np.isnan(metrics.pearson_r(scores, np.ones(8))) and np.isnan(metrics.r2(np.ones(8), scores))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="label 2"):
        metrics.auroc(np.array([0.0, 1.0, 2.0]), np.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        metrics.r2(np.zeros(3), np.array([0.0, np.nan, 1.0]))
    with pytest.raises(ValueError, match="one shape"):
        metrics.r2(np.zeros(3), np.zeros(4))

"""DeLong's test: against the double sum over pairs, and against what a bootstrap and many cohorts say."""

import numpy as np
import pytest

from mmcl.evaluation.delong import delong_test, placements
from mmcl.evaluation.intervals import bootstrap
from mmcl.evaluation.metrics import auroc


def example(n=120, seed=0, gain=0.0):
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.3).astype(float)
    shared = labels + generator.normal(size=n)
    first, second = (np.round(shared + generator.normal(size=n), 1) for _ in range(2))
    return labels, first + gain * labels, second


def naive(labels, first, second):
    """Every pair of case and control, as DeLong et al. write it."""
    case, m, n = labels == 1, int((labels == 1).sum()), int((labels == 0).sum())
    v10, v01 = np.zeros((2, m)), np.zeros((2, n))
    for k, scores in enumerate((first, second)):
        for i, x in enumerate(scores[case]):
            for j, y in enumerate(scores[~case]):
                psi = 1.0 if x > y else 0.5 if x == y else 0.0
                v10[k, i] += psi / n
                v01[k, j] += psi / m
    covariance = np.cov(v10) / m + np.cov(v01) / n
    difference = v10[0].mean() - v10[1].mean()
    return difference, np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])


@pytest.mark.parametrize("seed", range(3))
def test_midranks_equal_the_sum_over_pairs_with_ties(seed):
    labels, first, second = example(seed=seed)
    assert np.unique(first).size < first.size, "the example should hold ties"
    value, error, _ = delong_test(labels, first[:, None], second[:, None])
    np.testing.assert_allclose((value, error), naive(labels, first, second), rtol=1e-10)
    assert value == pytest.approx(float(auroc(labels, first) - auroc(labels, second)))


def test_placements_average_to_the_area():
    labels, first, second = example()
    for part in placements(labels, np.stack([first, second], axis=1)):
        np.testing.assert_allclose(part.mean(axis=0), [auroc(labels, first), auroc(labels, second)])


def test_the_standard_error_is_that_of_the_bootstrap():
    labels, first, second = example(n=600)
    _, error, p = delong_test(labels, first[:, None], second[:, None])
    draws = [
        bootstrap("AUROC", labels[:, None], score[:, None], 2000, np.random.default_rng(1)).draws
        for score in (first, second)
    ]
    assert error == pytest.approx((draws[0] - draws[1]).std(), rel=0.08)
    assert 0 < p < 1


def test_without_a_difference_p_is_uniform():
    p = [delong_test(labels, a[:, None], b[:, None])[2] for labels, a, b in (example(seed=k) for k in range(400))]
    assert 0.02 < np.mean(np.array(p) < 0.05) < 0.09 and 0.42 < np.mean(p) < 0.58
    labels, first, second = example(n=600, gain=1.0)
    assert delong_test(labels, first[:, None], second[:, None])[2] < 1e-6


def test_seeds_add_their_variance():
    labels, first, second = example(n=300)
    same = delong_test(labels, np.stack([first, first], 1), np.stack([second, second], 1))
    np.testing.assert_allclose(same, delong_test(labels, first[:, None], second[:, None]))
    apart = np.stack([first, first + 2 * labels], axis=1)
    value, error, _ = delong_test(labels, apart, np.stack([second, second], axis=1))
    areas = [float(auroc(labels, apart[:, k]) - auroc(labels, second)) for k in (0, 1)]
    assert value == pytest.approx(np.mean(areas))
    assert error**2 > np.var(areas, ddof=1) / 2


def test_missing_labels_count_nowhere_and_too_few_cannot_be_tested():
    labels, first, second = example()
    gone = np.r_[labels, np.nan, np.nan]
    more = [np.r_[score, 9.0, -9.0][:, None] for score in (first, second)]
    np.testing.assert_allclose(delong_test(gone, *more), delong_test(labels, first[:, None], second[:, None]))
    assert np.isnan(delong_test(np.r_[1.0, np.zeros(9)], first[:10, None], second[:10, None])).all()
    assert delong_test(labels, first[:, None], first[:, None])[2] == 1
    with pytest.raises(ValueError, match="expected one shape"):
        delong_test(labels, first[:, None], second)

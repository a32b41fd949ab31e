"""Scores shared between comparisons: differences, seeds, relative improvement, few labels against all."""

import numpy as np
import pytest

from mmcl.evaluation.delong import delong_test
from mmcl.evaluation.intervals import Bootstrap
from mmcl.evaluation.metrics import auroc, r2
from mmcl.evaluation.predictions import Predictions
from mmcl.evaluation.scores import gained_with_few, relative_improvement, score_predictor


def phenotypes(noise: float, seed=1, n=150) -> Predictions:
    truth = np.random.default_rng(0).normal(100, 20, size=(n, 2))
    score = truth + noise * np.random.default_rng(seed).normal(size=truth.shape)
    return Predictions(np.arange(n).astype(str), ("LVM", "LVEDV"), truth, score)


def disease(gain: float, seed=1, n=400) -> Predictions:
    truth = (np.random.default_rng(0).random((n, 1)) < 0.2).astype(float)
    score = 1 / (1 + np.exp(2 - gain * truth - np.random.default_rng(seed).normal(size=truth.shape)))
    return Predictions(np.arange(n).astype(str), ("CAD",), truth, score)


def scored(metric, *each, key=3):
    return score_predictor(dict(enumerate(each)), (metric,), 200, key, groups={"LV": ("LVM", "LVEDV")})


def test_differences_are_paired_whatever_the_order_of_subjects():
    good, poor = phenotypes(10), phenotypes(14)
    turned = poor.matched(poor.subject[::-1])
    rows = scored("R2", good).less(scored("R2", turned))
    assert [row["target"] for row in rows] == ["LVM", "LVEDV", "LV mean"]
    expected = r2(good.truth, good.score) - r2(poor.truth, poor.score)
    np.testing.assert_allclose([row["value"] for row in rows], np.r_[expected, expected.mean()])
    alone = [row["high"] - row["low"] for row in scored("R2", good).rows()]
    same = scored("R2", good).less(scored("R2", good.matched(good.subject[::-1])))
    assert all(row["low"] == row["high"] == 0 and row["p"] == 1 for row in same) and min(alone) > 0


def test_the_relative_improvement_is_in_per_cent_of_the_reference():
    good, poor = phenotypes(10), phenotypes(14)
    row = scored("R2", good).less(scored("R2", poor))[0]
    mine, other = r2(good.truth, good.score)[0], r2(poor.truth, poor.score)[0]
    assert row["relative"] == pytest.approx(100 * (mine - other) / other)
    assert row["relative_low"] < row["relative"] < row["relative_high"]


def test_nothing_is_told_in_per_cent_of_what_may_be_nothing():
    draws = np.array([[0.2, 0.2, -0.1]]).T * np.array([[1.0, 10.0]]) + np.array([[0.0, 2.0]])
    reference = Bootstrap(np.array([0.1, 3.0]), draws, np.array([9, 9]))
    better = Bootstrap(np.array([0.2, 6.0]), draws + 3, np.array([9, 9]))
    relative = relative_improvement(better, reference)
    assert np.isnan(relative.value[0]) and np.isnan(relative.draws[:, 0]).all()
    assert relative.value[1] == pytest.approx(100) and np.isfinite(relative.draws[:, 1]).all()


def test_p_of_the_auroc_is_delongs_and_a_single_seed_meets_all():
    first, second, reference = disease(1.5, 1), disease(1.4, 2), disease(1.0, 3)
    (row,) = scored("AUROC", first, second).less(scored("AUROC", reference))
    scores = np.concatenate([first.score, second.score], axis=1)
    expected = delong_test(first.truth[:, 0], scores, np.repeat(reference.score, 2, axis=1))
    assert row["value"] == pytest.approx(expected[0]) and row["p"] == pytest.approx(expected[2])
    areas = [float(auroc(p.truth, p.score)[0]) for p in (first, second)]
    assert row["seed_sd"] == pytest.approx(np.std(areas, ddof=1))


def test_several_seeds_are_compared_where_shared():
    both = {0: phenotypes(10, 1), 1: phenotypes(12, 2)}
    other = {1: phenotypes(14, 3), 2: phenotypes(14, 4)}
    mine, theirs = (score_predictor(each, ("R2",), 50, 0) for each in (both, other))
    expected = r2(both[1].truth, both[1].score) - r2(other[1].truth, other[1].score)
    np.testing.assert_allclose([row["value"] for row in mine.less(theirs)], expected)
    disjoint = score_predictor({5: other[1], 6: other[2]}, ("R2",), 50, 0)
    with pytest.raises(ValueError, match="expected the same, or one"):
        mine.less(disjoint)


def test_what_is_not_paired_is_refused():
    good = phenotypes(10)
    with pytest.raises(ValueError, match="nothing is paired"):
        scored("R2", good, key=1).less(scored("R2", good, key=2))
    with pytest.raises(ValueError, match="different truths"):
        scored("R2", good).less(scored("R2", Predictions(good.subject, good.names, good.truth + 1, good.score)))
    with pytest.raises(ValueError, match="same targets"):
        scored("R2", good).less(scored("R2", good.select(["LVM"])))


def test_gains_with_few_labels_are_differences_of_differences():
    noises = {"few": (12, 20), "all": (10, 11)}
    pairs = {name: tuple(scored("R2", phenotypes(noise)) for noise in each) for name, each in noises.items()}
    rows = gained_with_few(pairs["few"], pairs["all"], "R2")
    values = {name: [r2(p.truth, p.score) for p in map(phenotypes, each)] for name, each in noises.items()}
    gains = {name: mine - other for name, (mine, other) in values.items()}
    np.testing.assert_allclose([row["value"] for row in rows[:2]], gains["few"] - gains["all"])
    assert rows[0]["low"] > 0 and rows[0]["p"] < 0.01


def test_intervals_cover_seeds_and_subjects():
    seeds = {k: phenotypes(noise, k) for k, noise in enumerate((4, 10, 16, 22))}
    rows = score_predictor(seeds, ("R2",), 400, 0).rows()
    alone = score_predictor({0: seeds[1]}, ("R2",), 400, 0).rows()
    assert rows[0]["high"] - rows[0]["low"] > 2 * (alone[0]["high"] - alone[0]["low"])

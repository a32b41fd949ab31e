"""Bootstrap: weighted metrics against repeated subjects, coverage, pairing, speed."""

import time

import numpy as np
import pytest

from mmcl.evaluation.intervals import Bootstrap, bootstrap, over_seeds, resample_counts
from mmcl.evaluation.metrics import DISEASE_METRICS, METRICS
from mmcl.evaluation.weighted import WEIGHTED_METRICS


def example(metric: str, n: int = 120, k: int = 2, seed: int = 0):
    generator = np.random.default_rng(seed)
    if metric in DISEASE_METRICS:
        truth = (generator.random((n, k)) < 0.3).astype(float)
        score = np.round(np.clip(0.4 * truth + 0.6 * generator.random((n, k)), 0, 1), 1)
    else:
        truth = generator.normal(150, 30, size=(n, k))
        score = truth + generator.normal(5, 20, size=(n, k))
    truth[generator.random((n, k)) < 0.15] = np.nan
    return truth, score


@pytest.mark.parametrize("metric", METRICS)
def test_weights_equal_repeated_subjects(metric):
    truth, score = example(metric)
    counts = resample_counts(truth.shape[0], 5, np.random.default_rng(3))
    fast = WEIGHTED_METRICS[metric](truth, score, counts)
    for row, count in zip(fast, counts, strict=True):
        repeated = np.repeat(np.arange(truth.shape[0]), count.astype(int))
        np.testing.assert_allclose(row, METRICS[metric](truth[repeated], score[repeated]), rtol=1e-9)
    np.testing.assert_allclose(
        WEIGHTED_METRICS[metric](truth, score, np.ones((1, truth.shape[0])))[0], METRICS[metric](truth, score)
    )


def test_resamples_keep_every_stratum():
    strata = np.r_[np.ones(3), np.zeros(50), np.full(7, np.nan)]
    counts = resample_counts(60, 200, np.random.default_rng(0), strata)
    assert (counts[:, :3].sum(axis=1) == 3).all() and (counts[:, 3:53].sum(axis=1) == 50).all()
    assert (counts[:, 53:].sum(axis=1) == 7).all() and counts.std(axis=0).min() > 0.5


def test_two_cases_still_give_an_interval():
    truth = np.r_[np.ones(2), np.zeros(40)][:, None]
    score = np.random.default_rng(0).random((42, 1))
    assert np.isfinite(bootstrap("AUROC", truth, score, 200, np.random.default_rng(1)).draws).all()


def test_interval_of_r_covers_the_truth_at_its_level():
    generator = np.random.default_rng(7)
    truth = generator.normal(size=(200, 300))
    score = 0.6 * truth + 0.8 * generator.normal(size=truth.shape)  # true correlation 0.6
    interval = bootstrap("r", truth, score, 400, generator).interval(0.9)
    covered = ((interval.low < 0.6) & (interval.high > 0.6)).mean()
    assert 0.83 < covered < 0.95


def test_paired_interval_is_narrower_than_unpaired():
    generator = np.random.default_rng(5)
    truth = generator.normal(size=(300, 1))
    shared = truth + generator.normal(size=truth.shape)
    first, second = shared + 0.1 * generator.normal(size=truth.shape), shared + 0.4 * generator.normal(size=truth.shape)
    paired = bootstrap("r", truth, first, 500, np.random.default_rng(0)).minus(
        bootstrap("r", truth, second, 500, np.random.default_rng(0))
    )
    a = bootstrap("r", truth, first, 500, np.random.default_rng(1))
    b = bootstrap("r", truth, second, 500, np.random.default_rng(2))
    assert paired.value == pytest.approx(a.value - b.value)
    assert paired.draws.std() < 0.6 * (a.draws - b.draws).std()
    assert paired.interval().low > 0


def test_mean_of_columns_and_missing_columns():
    truth, score = example("R2", k=4)
    truth[:, 2] = np.nan
    boot = bootstrap("R2", truth, score, 100, np.random.default_rng(0))
    group = boot.mean([0, 2, 3])
    assert group.value == pytest.approx(boot.value[[0, 3]].mean())
    spread = group.interval().high - group.interval().low
    single = boot.interval()
    assert 0 < spread[0] < (single.high - single.low)[0]
    assert np.isnan(boot.interval().low[2]) and np.isnan(boot.mean([2]).interval().value[0])


def test_seeds_widen_the_interval():
    generator = np.random.default_rng(0)
    truth, score = example("R2", k=1)
    same = bootstrap("R2", truth, score, 400, np.random.default_rng(1))
    others = [Bootstrap(same.value + shift, same.draws + shift, same.n) for shift in (-0.2, 0.0, 0.2)]
    assert over_seeds([same], generator).draws.std() == pytest.approx(same.draws.std())
    pooled = over_seeds(others, generator)
    assert pooled.value == pytest.approx(same.value) and pooled.draws.std() > 1.3 * same.draws.std()


def test_bad_requests_are_refused():
    truth, score = example("R2")
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="unknown metric 'AUC'"):
        bootstrap("AUC", truth, score, 10, generator)
    with pytest.raises(ValueError, match="level 95"):
        bootstrap("R2", truth, score, 10, generator).interval(95)
    with pytest.raises(ValueError, match="not paired"):
        bootstrap("R2", truth, score, 10, generator).minus(bootstrap("R2", truth[1:], score[1:], 10, generator))


def test_a_thousand_resamples_of_61_phenotypes_are_quick():
    truth, score = example("R2", n=1500, k=61)
    start = time.perf_counter()
    bootstrap("R2", truth, score, 1000, np.random.default_rng(0)).interval()
    assert time.perf_counter() - start < 3

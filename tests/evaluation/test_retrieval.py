"""Retrieval ranks against a naive count, chance, and blocks."""

import numpy as np
import pytest

from mmcl.evaluation.retrieval import chance_scores, retrieval_interval, retrieval_ranks, retrieval_scores


def test_ranks_equal_a_naive_count_in_any_block():
    generator = np.random.default_rng(0)
    ecg = generator.normal(size=(50, 8))
    cmr = ecg + generator.normal(size=(50, 8))
    cosine = (ecg / np.linalg.norm(ecg, axis=1)[:, None]) @ (cmr / np.linalg.norm(cmr, axis=1)[:, None]).T
    naive = [1 + (cosine[k] > cosine[k, k]).sum() for k in range(50)]
    np.testing.assert_array_equal(retrieval_ranks(ecg, cmr), naive)
    np.testing.assert_array_equal(retrieval_ranks(ecg, 3 * cmr, block=7), naive)


def test_perfect_chance_and_constant_embeddings():
    generator = np.random.default_rng(0)
    ecg = generator.normal(size=(400, 16))
    assert set(retrieval_scores(retrieval_ranks(ecg, ecg)).values()) == {1.0}
    unrelated = retrieval_scores(retrieval_ranks(ecg, generator.normal(size=ecg.shape)))
    chance = chance_scores(400)
    assert unrelated["recall@10"] == pytest.approx(chance["recall@10"], abs=0.02)
    assert unrelated["median rank"] == pytest.approx(chance["median rank"], rel=0.15)
    assert retrieval_scores(retrieval_ranks(ecg, np.ones_like(ecg)))["median rank"] == chance["median rank"]


def test_interval_holds_the_value():
    ranks = np.random.default_rng(0).integers(1, 40, size=200).astype(float)
    low, high = retrieval_interval(ranks, 200, np.random.default_rng(1))["recall@10"]
    assert low < retrieval_scores(ranks)["recall@10"] < high < low + 0.25


def test_unpaired_embeddings_are_refused():
    with pytest.raises(ValueError, match="expected pairs"):
        retrieval_ranks(np.zeros((3, 4)), np.zeros((4, 4)))

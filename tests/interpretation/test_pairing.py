"""Retrieval, its references and its nearest neighbours on a small store."""

import dataclasses

import numpy as np
import pytest

from mmcl.data.store import Store
from mmcl.interpretation.pairing import (
    ORACLE,
    PREDICTED,
    Pairs,
    contrastive_model,
    neighbour_agreement,
    pair,
    phenotype_retrieval,
    retrieval_table,
)
from mmcl.phenotypes import PHENOTYPES
from mmcl.simulation.cohort import simulate_cohort


def test_nearest_are_the_most_similar_and_agree_with_the_rank():
    generator = np.random.default_rng(0)
    ecg = generator.normal(size=(30, 4))
    pairs = Pairs(np.arange(30), ecg, ecg + 0.5 * generator.normal(size=(30, 4)))
    for k in range(30):
        near = list(pairs.nearest(k, 30))
        assert near.index(k) + 1 == pairs.ranks[k]
    assert list(pairs.nearest(3, 2)) == list(pairs.nearest(3, 30)[:2])


def test_random_weights_are_those_of_the_seed_and_pair_whatever_the_batch(own_setting):
    store = Store.open(own_setting.run.store)
    whole, parts = pair("random", own_setting, store), pair("random", own_setting, store, batch=3)
    assert list(whole.rows) == list(store.indices("test"))
    np.testing.assert_allclose(whole.ecg, parts.ecg, atol=1e-5)
    np.testing.assert_allclose(whole.cmr, parts.cmr, atol=1e-5)
    assert not contrastive_model("random", own_setting).training
    table = retrieval_table(["random"], own_setting, store)
    assert table.loc[("random", "median rank"), "value"] == np.median(whole.ranks)


def test_agreement_is_that_of_other_subjects_hearts(own_setting):
    store = Store.open(own_setting.run.store)
    rows = store.indices("test")
    mass = np.array([50.0, 51, 80, 81, 110, 111, np.nan, 140])
    subjects = store.subjects.copy()
    subjects.loc[rows, "LVM"] = mass
    angle = np.nan_to_num(mass, nan=139.0) / 100
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    pairs = Pairs(rows, circle, circle)
    table = neighbour_agreement(pairs, own_setting, dataclasses.replace(store, subjects=subjects), count=1)
    # Partners swap their values; the last finds one without a value and is left out, as is that one itself.
    expected = np.corrcoef(mass[:6], mass[[1, 0, 3, 2, 5, 4]])[0, 1]
    assert table.loc["LVM", "value"] == pytest.approx(expected) and table.loc["LVM", "n"] == 6
    assert table.loc["LVM", "low"] <= expected <= table.loc["LVM", "high"]


def test_a_cohort_without_phenotypes_has_no_reference(own_setting):
    store = Store.open(own_setting.run.store)
    bare = dataclasses.replace(store, subjects=store.subjects[["subject", "visit", "split", "flags"]])
    assert phenotype_retrieval("random", own_setting, bare).empty


def test_phenotypes_predicted_are_a_reference_of_any_cohort(own_setting):
    table = phenotype_retrieval("random", own_setting, Store.open(own_setting.run.store))
    assert set(table.index.get_level_values("arm")) == {PREDICTED}
    assert table.loc[(PREDICTED, "recall@1"), "chance"] == pytest.approx(1 / 8)


def test_the_oracle_finds_hearts_by_phenotypes_read_again(simulated_setting):
    store = Store.open(simulated_setting.run.store)
    cohort = simulate_cohort(len(store), 0, odds=simulated_setting.profile.cohort.odds, images=False)
    subjects = store.subjects.copy()
    names = [phenotype.name for phenotype in PHENOTYPES]
    subjects[names] = cohort.phenotypes[names].mask(store.subjects[names].isna().to_numpy()).to_numpy()
    table = phenotype_retrieval("random", simulated_setting, dataclasses.replace(store, subjects=subjects))
    assert table.loc[(ORACLE, "recall@5"), "value"] >= 0.9
    stranger = phenotype_retrieval("random", simulated_setting, store)
    assert stranger.loc[(ORACLE, "median rank"), "value"] > table.loc[(ORACLE, "median rank"), "value"]

"""Means over subjects with their baselines, and tables of them."""

import numpy as np
import pytest

from mmcl.interpretation.scores import Scores, score_table, summarise


def test_means_have_intervals_baselines_and_paired_gains():
    random = np.random.default_rng(1)
    own = random.normal(1.0, 0.1, 200)
    other = own - 0.5
    other[:50] = np.nan
    row = summarise(own, other, 0.2, 400, seed=0)
    assert row["low"] < row["value"] < row["high"] and row["n"] == 200 and row["baseline"] == pytest.approx(0.2)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * 0.1 / 200**0.5, rel=0.25)
    assert [row[name] for name in ("gain", "gain_low", "gain_high")] == pytest.approx([0.5] * 3)
    nothing = summarise(np.full(3, np.nan), None, np.nan, 10, seed=0)
    assert nothing["n"] == 0 and np.isnan([nothing[k] for k in ("value", "low", "gain", "baseline")]).all()


def test_random_weights_are_compared_in_the_same_subjects():
    random = np.random.default_rng(2)
    level = random.normal(0, 5, 60)
    untrained = level - random.normal(1.0, 0.1, 60)
    untrained[:40] = np.nan
    row = summarise(level, None, 0.0, 400, seed=0, random=untrained)
    assert row["low"] < 0 < row["high"], "apart the subjects differ too much"
    assert row["over_random"] == pytest.approx(1.0, abs=0.1) and row["over_random_low"] > 0.9
    assert (row["n"], row["over_random_n"], row["gain_n"]) == (60, 20, 0)
    assert row["random"] == pytest.approx(np.nanmean(untrained))


def test_a_place_that_random_weights_lack_is_not_compared(own_setting):
    ones = np.ones(12)
    scores = {("localisation", "heart"): Scores(ones, 0 * ones, 0.2), ("head", "heart"): Scores(ones, None, 0.2)}
    random = {("localisation", "heart"): Scores(ones / 2, None, 0.2)}
    table = score_table(scores, ("map", "region"), own_setting, "mmcl", random).set_index("map")
    assert table.loc["localisation", "over_random_low"] == 0.5 and table.loc["head", "over_random_n"] == 0
    assert np.isnan(table.loc["head", "over_random"]) and set(table["region"]) == {"heart"}
    assert "over_random_high" in score_table({}, ("map",), own_setting, "mmcl", {}).columns

"""Result tables: rows, seeds, groups, paired differences, files, cells for reading."""

import numpy as np
import pandas as pd
import pytest

from mmcl.evaluation.metrics import r2
from mmcl.evaluation.predictions import Predictions
from mmcl.evaluation.tables import (
    COLUMNS,
    compare_predictions,
    label_order,
    label_words,
    pivot,
    read_results,
    score_predictions,
    write_results,
)
from mmcl.phenotypes import GROUPS

WHAT = {"task": "phenotype", "mode": "probe", "labels": "all"}


def predictions(seed: int, noise: float, names=GROUPS["RV"], n=100) -> Predictions:
    truth = np.random.default_rng(0).normal(150, 30, size=(n, len(names)))
    score = truth + noise * np.random.default_rng(seed + 1).normal(size=truth.shape)
    truth[:5, 0] = np.nan
    return Predictions(np.array([f"s{k:03d}" for k in range(n)]), names, truth, score)


@pytest.fixture
def results() -> pd.DataFrame:
    arm = {seed: predictions(seed, 20) for seed in (0, 101)}
    return score_predictions(arm, ["R2", "MAE"], 100, np.random.default_rng(0), arm="mdm", **WHAT)


def test_rows_hold_targets_and_group_means(results):
    assert list(results.columns) == list(COLUMNS)
    r2_rows = results[results.metric == "R2"].set_index("target")
    assert list(r2_rows.index) == [*GROUPS["RV"], "RV mean"]
    expected = np.mean([r2(p.truth, p.score) for p in (predictions(0, 20), predictions(101, 20))], axis=0)
    np.testing.assert_allclose(r2_rows.value[:4], expected)
    assert r2_rows.value["RV mean"] == pytest.approx(expected.mean())
    assert r2_rows.n["RVEDV"] == 95 and r2_rows.n["RV mean"] == 100
    assert (r2_rows.low < r2_rows.value).all() and (r2_rows.value < r2_rows.high).all()
    assert (r2_rows.seed == "0 101").all() and (r2_rows.seed_sd > 0).all()
    assert "RV mean" not in set(results.target[results.metric == "MAE"])


def test_an_incomplete_group_has_no_mean():
    arm = {0: predictions(0, 20, names=("LVEDV", "RVEDV"))}
    rows = score_predictions(arm, ["r"], 20, np.random.default_rng(0), arm="mdm", **WHAT)
    assert list(rows.target) == ["LVEDV", "RVEDV"] and rows.seed_sd.isna().all()


def test_paired_difference_finds_the_better_arm_in_any_order_of_subjects():
    good, poor = predictions(0, 20), predictions(0, 24)
    shuffled = poor.matched(poor.subject[::-1])
    generator = np.random.default_rng(0)
    what = {"arm": "mmcl", "reference": "mdm", **WHAT}
    rows = compare_predictions({0: good}, {0: shuffled}, ["R2"], 200, generator, **what)
    assert (rows.reference == "mdm").all() and (rows.low > 0).all()
    np.testing.assert_allclose(rows.value[:4], r2(good.truth, good.score) - r2(poor.truth, poor.score))
    with pytest.raises(ValueError, match="expected the same"):
        compare_predictions({0: good, 3: good}, {1: poor, 2: poor}, ["R2"], 5, generator, **what)
    each = compare_predictions({0: good}, {1: poor, 2: good}, ["R2"], 5, generator, **what)
    np.testing.assert_allclose(each.value[:4], (r2(good.truth, good.score) - r2(poor.truth, poor.score)) / 2)
    assert (each.seed == "1 2").all()
    other = Predictions(poor.subject, poor.names, poor.truth + 1, poor.score)
    with pytest.raises(ValueError, match="different truths"):
        compare_predictions({0: good}, {0: other}, ["R2"], 5, generator, **what)


def test_json_round_trip(results, tmp_path):
    results.loc[0, "low"] = np.nan
    write_results(tmp_path / "results.json", results)
    pd.testing.assert_frame_equal(read_results(tmp_path / "results.json"), results)
    (tmp_path / "odd.json").write_text('[{"arm": "mdm"}]')
    with pytest.raises(ValueError, match="odd.json: results lack task"):
        read_results(tmp_path / "odd.json")


def test_pivot_shows_a_missing_cell_as_missing(results):
    chosen = results[results.metric == "R2"].copy()
    chosen.loc[chosen.target == "RVESV", "value"] = np.nan
    cells = pivot(chosen, ["mdm", "mmcl"], ["RVEDV", "RVESV"])
    assert cells.loc["mdm", "RVEDV"].count(" to ") == 1
    assert cells.loc["mdm", "RVESV"] == cells.loc["mmcl", "RVEDV"] == "missing"
    with pytest.raises(ValueError, match="more than one result for mdm, RVEDV"):
        pivot(results, ["mdm"], ["RVEDV"])


def test_labels_in_words():
    assert [label_words(each) for each in ("all", "200", "0.01", "200 less all")] == [
        "all labels",
        "200 labels",
        "1 % of labels",
        "200 labels against all",
    ]
    assert sorted(["all", "200", "0.1", "1000"], key=label_order) == ["0.1", "200", "1000", "all"]

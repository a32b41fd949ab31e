"""The localisation study on a small trained model: shapes, baselines, and what is left out without a segmentation."""

import numpy as np
import pytest

from mmcl.data.store import Store
from mmcl.interpretation.pairing import retrieval_table
from mmcl.interpretation.study import localise, median_subjects, share_table
from mmcl.setting import open_setting


@pytest.fixture(scope="module")
def study(smoke_run):
    setting = open_setting("smoke", device="cpu")
    return localise("mmcl", setting, Store.open(smoke_run.store))


def test_maps_have_one_row_per_test_subject(study):
    assert study.maps.matched.shape == study.maps.shuffled.shape
    assert len(study.maps.matched) == len(study.segments) == len(study.images) == 8
    assert study.segments.shape == (8, 12, 12)
    beat = study.over_time(3)
    assert beat.shape == (12, *study.maps.matched.shape[1:]) and (np.abs(beat) <= 1).all()
    assert len(set(median_subjects(study))) == 3


def test_without_a_segmentation_there_are_no_shares(study):
    assert study.labels is None
    assert share_table(study, open_setting("smoke", device="cpu")).empty


def test_shares_stand_beside_their_baselines(study):
    import dataclasses

    labels = np.zeros(study.images.shape, np.uint8)
    labels[:, 20:50, 20:50] = 3
    labels[:4, 20:30, 20:30] = 4
    table = share_table(dataclasses.replace(study, labels=labels), open_setting("smoke", device="cpu"))
    assert table.loc[("heart", "area"), "value"] == pytest.approx(900 / 78**2)
    assert table.loc[("scar", "area"), "n"] == 4 and table.loc[("heart", "area"), "n"] == 8
    assert {"matched", "shuffled", "difference"} <= set(table.loc["heart"].index)


def test_retrieval_is_scored_against_chance(smoke_run):
    setting = open_setting("smoke", device="cpu")
    table = retrieval_table(["mmcl"], setting, Store.open(smoke_run.store))
    assert table.loc[("mmcl", "recall@1"), "chance"] == pytest.approx(1 / 8)
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()

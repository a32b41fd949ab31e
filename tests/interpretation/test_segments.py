"""Predicted segments: measures that the cohort has, scars where the truth is known, scores against a naive count."""

import numpy as np
import pytest

from mmcl.data.store import Store
from mmcl.interpretation.segments import Segments, predict_segments


def test_measures_have_a_row_a_test_subject_and_scars_are_of_the_simulated_cohort_alone(own_setting):
    store = Store.open(own_setting.run.store)
    measures = predict_segments("random", own_setting, store)
    assert [m.name for m in measures] == ["Wall thickness", "Circumferential strain", "Radial strain"]
    test = store.indices("test")
    np.testing.assert_array_equal(measures[0].true[:, 2], store.subjects["WT_3"].to_numpy()[test])
    assert measures[0].predicted.shape == (8, 16) and np.isfinite(measures[0].predicted).all()


def test_scars_come_from_the_truth(simulated_setting):
    scar = predict_segments("random", simulated_setting, Store.open(simulated_setting.run.store))[-1]
    assert scar.name == "Scar depth" and (scar.true[:, 6] > 0).all() and (np.delete(scar.true, 6, axis=1) == 0).all()
    assert np.isnan(np.delete(scar.r2, 6)).all() and np.isfinite(scar.r2[6])


def test_errors_leave_missing_segments_out():
    true = np.zeros((3, 16))
    true[0, :8], true[1] = np.nan, np.nan
    error = Segments("WT", "mm", true, np.full((3, 16), 2.0)).error
    assert error[[0, 2]] == pytest.approx([2, 2]) and np.isnan(error[1])

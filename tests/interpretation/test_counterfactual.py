"""Paths of simulated hearts: one thing changes, the probe is followed, and the numbers mean what they say."""

import dataclasses

import numpy as np
import pytest

from mmcl.data.store import Store
from mmcl.interpretation import counterfactual
from mmcl.interpretation.counterfactual import PROPERTIES, Path, follow, path_table, simulate_paths


def test_other_cohorts_have_no_paths(own_setting):
    assert simulate_paths(own_setting) is None


def test_one_property_moves_and_is_followed(simulated_setting, monkeypatch):
    monkeypatch.setattr(counterfactual, "PROPERTIES", PROPERTIES[:1])
    setting = simulated_setting
    recordings = simulate_paths(setting)
    (steps,), (mass,) = recordings.steps.values(), recordings.true.values()
    n = setting.profile.counterfactual_subjects
    assert steps.shape == (5, n, 12, setting.profile.ecg.record) and mass.shape == (n, 5)
    np.testing.assert_allclose(mass / mass[:, 2:3], np.tile([0.7, 0.85, 1, 1.25, 1.5], (n, 1)), rtol=0.02)
    np.testing.assert_array_equal(steps[2], recordings.as_it_is)
    assert all(np.abs(steps[k] - steps[2]).max() > 0.01 for k in (0, 1, 3, 4))
    (path,) = follow("random", recordings, setting, Store.open(setting.run.store))
    assert path.predicted.shape == (n, 5) and path.features.shape[:2] == (n, 5)
    assert set(path.nuisances) == {"electrodes", "noise"}
    table = path_table({"random": [path]}, setting)
    assert set(table.loc[("random", "LV mass")].index) >= {"spearman", "gain", "size over electrodes"}


def test_numbers_of_a_path_made_by_hand(own_setting):
    true = np.tile([1.0, 2.0, 3.0], (4, 1))
    features = np.zeros((4, 3, 2))
    features[:, :, 0] = 2 * true
    predicted = 5 + 0.5 * true
    predicted[3] = 7.0  # does not move at all
    nuisances = {"noise": np.tile([0.0, 3.0], (4, 1))}
    path = Path(PROPERTIES[0], true, predicted, features, nuisances, np.array([2.0, 3.0]))
    told = path_table({"mdm": [path]}, own_setting).loc[("mdm", "LV mass")]
    assert told["value"].to_dict() == pytest.approx({"spearman": 0.75, "gain": 0.5, "size over noise": 2.0})
    assert (told["low"] <= told["value"]).all() and (told["value"] <= told["high"]).all() and (told["n"] == 4).all()
    falling = dataclasses.replace(path, predicted=-predicted)
    assert path_table({"mdm": [falling]}, own_setting).loc[("mdm", "LV mass", "spearman"), "value"] == -0.75

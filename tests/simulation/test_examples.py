"""Subjects to show fit their rules; a sheet holds as many simulated as real recordings, in an order of the seed."""

import numpy as np
import pytest

from mmcl.config import CohortConfig
from mmcl.simulation.cohort import simulate_cohort
from mmcl.simulation.counterfactuals import counterfactual_beats
from mmcl.simulation.examples import find_exemplars, mix, short_axis_volumes

COHORT = CohortConfig(train=1, validation=0, test=0, slices=5, frames=6, matrix=64)


@pytest.fixture(scope="module")
def exemplars():
    return find_exemplars(0, COHORT)


def test_twelve_different_subjects_fit_what_is_said_of_them(exemplars):
    assert len({exemplar.index for exemplar in exemplars}) == 12
    people = {e.name: simulate_cohort(1, first=e.index, matrix=64, slices=5, frames=6) for e in exemplars}
    row = {name: part.subjects.iloc[0] for name, part in people.items()}
    assert row["Healthy man"]["sex"] == "male" and row["Healthy woman"]["sex"] == "female"
    for artery, name in enumerate(("LAD infarct", "RCA infarct", "LCX infarct")):
        assert row[name]["culprit"] == artery and row[name]["scar"] > 0.05
    assert row["Silent infarct"]["silent_cad"] and row["Silent infarct"]["scar"] > 0
    assert row["Left bundle branch block"]["lbbb"] and row["Right bundle branch block"]["rbbb"]
    assert row["Atrial fibrillation"]["in_af"]
    beats, times = people["Premature beats"].truth.ectopic[0], people["Premature beats"].truth.r_times[0]
    assert (beats[np.isfinite(times)] == 2).any()
    mass = {name: part.phenotypes["LVM"].iloc[0] for name, part in people.items()}
    assert mass["Hypertrophy"] > 1.3 * mass["Healthy man"] > 1.3 * mass["Healthy woman"]
    for exemplar in exemplars:
        assert np.array_equal(exemplar.ecg, people[exemplar.name].ecg[0])
        assert np.array_equal(exemplar.frames, people[exemplar.name].cmr[0])


def test_counterfactuals_do_what_they_say(exemplars):
    beats = counterfactual_beats(0, exemplars[0].index)
    size = {effect: {name: np.ptp(beat, axis=1) for name, beat in beats[effect].items()} for effect in beats}
    mass = [values.mean() for values in size["LV mass"].values()]
    # The heart as it is, then 0.7, 1.4 and 1.8 times its mass: voltage grows with muscle.
    assert mass[1] < mass[0] < mass[2] < mass[3]
    for effect, variants in beats.items():
        first, *others = variants.values()
        assert np.array_equal(first, beats["LV mass"]["as it is"])
        assert all(np.abs(other - first).max() > 0.05 for other in others), effect
    body = list(size["Body around the same heart"].values())
    assert body[1].mean() > body[2].mean()


def test_a_sheet_mixes_real_and_simulated():
    real = [(f"record {k}", np.full((12, 5000), k / 10)) for k in range(4)]
    sheet = mix(1, real)
    assert sum(is_real for _, is_real, _ in sheet) == 4 and len(sheet) == 8
    assert {name for name, is_real, _ in sheet if is_real} == {name for name, _ in real}
    assert all(name.startswith("sim") and "years" in name for name, is_real, _ in sheet if not is_real)
    assert [name for name, _, _ in sheet] == [name for name, _, _ in mix(1, real)] != [n for n, _, _ in mix(2, real)]
    assert mix(1, []) == []


def test_volumes_shrink_from_end_diastole_to_end_systole():
    ((name, relaxed, contracted),) = short_axis_volumes(0, COHORT, count=1)
    assert name == "sim0000000" and relaxed.shape == contracted.shape == (10, 96, 96)
    assert not np.array_equal(relaxed, contracted)

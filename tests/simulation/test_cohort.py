"""The cohort in memory: what it holds, the same bits however it is asked for, and pairs that differ in one thing."""

import subprocess
import sys
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

import mmcl
from mmcl.data.manifest import cohort_manifest
from mmcl.phenotypes import PHENOTYPES
from mmcl.setting import open_setting
from mmcl.simulation.cohort import BLOCK, SimulatedCohort, simulate_batches, simulate_cohort
from mmcl.simulation.parameters import version

ODDS = (8.0, 8.0, 8.0)
SMALL = {"odds": ODDS, "matrix": 72}


@pytest.fixture(scope="module")
def cohort():
    return simulate_cohort(40, seed=3, **SMALL)


def same(one, other):
    """Names of the arrays and columns in which two cohorts differ by as much as a bit."""
    assert list(one.subjects.index) == list(other.subjects.index)
    different = set()
    for part, twin in ((one, other), (one.truth, other.truth)):
        for field in fields(part):
            mine, theirs = getattr(part, field.name), getattr(twin, field.name)
            if isinstance(mine, np.ndarray) and mine.tobytes() != theirs.tobytes():
                different.add(field.name)
    for name in ("subjects", "phenotypes"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert list(mine.columns) == list(theirs.columns)
        different |= {column for column in mine if not mine[column].equals(theirs[column])}
    return different


def rows(whole: SimulatedCohort, index):
    """The subjects `index` of a cohort, arrays and tables."""
    part = {f.name: getattr(whole, f.name) for f in fields(whole)}
    cut = {name: value[index] for name, value in part.items() if isinstance(value, np.ndarray)}
    cut |= {name: value.iloc[index] for name, value in part.items() if isinstance(value, pd.DataFrame)}
    truth = type(whole.truth)(**{f.name: getattr(whole.truth, f.name)[index] for f in fields(whole.truth)})
    return SimulatedCohort(**{**part, **cut, "truth": truth})


def test_holds_signals_images_and_tables_of_the_same_subjects(cohort):
    assert len(cohort) == 40 and cohort.ecg.shape == (40, 12, 5000) and cohort.ecg.dtype == np.float32
    assert cohort.cmr.shape == cohort.masks.shape == (40, 3, 72, 72)
    assert cohort.cmr.dtype == cohort.masks.dtype == np.uint8 and set(np.unique(cohort.masks)) <= {0, 1, 2, 3, 4}
    assert list(cohort.phenotypes.columns) == [phenotype.name for phenotype in PHENOTYPES]
    assert cohort.subjects.index.equals(cohort.phenotypes.index) and cohort.subjects.index[7] == "sim0000007"
    assert (cohort.seed, cohort.version) == (3, version())
    for field in fields(cohort.truth):
        assert len(getattr(cohort.truth, field.name)) == 40, field.name
    # Einthoven's law, and millivolts of a heart.
    lead = dict(zip(("I", "II", "III"), cohort.ecg[:, :3].transpose(1, 0, 2), strict=True))
    assert np.abs(lead["I"] + lead["III"] - lead["II"]).max() < 1e-4
    assert 0.3 < np.ptp(cohort.ecg, axis=2).max(axis=1).mean() < 6


def test_frames_go_from_end_diastole_to_end_systole(cohort):
    cavity = (cohort.masks == 3).sum(axis=(2, 3))
    assert (cavity[:, 0] > cavity[:, 1]).all() and (cavity[:, 1] > cavity[:, 2]).mean() > 0.9
    # The cavity's area in the slice follows the volume that the phenotypes tell.
    assert np.corrcoef(cavity[:, 0] ** 1.5, cohort.phenotypes["LVEDV"])[0, 1] > 0.8


def test_the_truth_agrees_with_the_tables(cohort):
    ill = cohort.subjects["cad"].to_numpy()
    scarred = cohort.truth.transmurality.max(axis=1) > 0
    assert scarred.any()
    assert cohort.subjects["scar"].to_numpy() == pytest.approx(cohort.truth.transmurality.mean(axis=1), abs=1e-6)
    assert set(cohort.subjects["culprit"][ill]) <= {0, 1, 2} and (cohort.subjects["culprit"][~ill] == -1).all()
    beats = np.isfinite(cohort.truth.r_times).sum(axis=1)
    assert beats == pytest.approx(cohort.subjects["heart_rate"] / 6, abs=3.5)
    assert np.ptp(cohort.truth.segment_activation, axis=1).min() > 10
    assert (cohort.truth.ectopic[np.isnan(cohort.truth.r_times)] == 0).all()
    # V6 lies further to the left than V1, and the beat is what the recording repeats.
    assert (cohort.truth.electrodes[:, 8, 0] > cohort.truth.electrodes[:, 3, 0] + 0.05).all()
    assert np.ptp(cohort.truth.beat, axis=2).max(axis=1).min() > 0.2


@pytest.mark.parametrize("batch", [1, 5, 16, 64])
def test_a_subject_is_the_same_in_any_number_batch_and_order(cohort, batch):
    order = np.random.default_rng(batch).permutation(40)[:18]
    done = 0
    for part in simulate_batches(list(order), 3, batch=batch, **SMALL):
        assert len(part) <= batch
        assert same(part, rows(cohort, order[done : done + len(part)])) == set()
        done += len(part)
    assert done == len(order)
    assert same(simulate_cohort(9, 3, first=14, batch=batch, **SMALL), rows(cohort, np.arange(14, 23))) == set()


def test_a_heart_that_changes_leaves_the_body_alone(cohort):
    for change in ({"lv_mass": lambda mass: 1.5 * mass}, {"lv_edv": lambda volume: 1.3 * volume}, {"roll": 0.3}):
        other = simulate_cohort(40, seed=3, change=change, images=False, **SMALL)
        np.testing.assert_array_equal(other.truth.electrodes, cohort.truth.electrodes)


def test_no_draw_is_shared_between_subjects_or_seeds(cohort):
    quiet = simulate_cohort(40, seed=3, noise=False, images=False, **SMALL)
    other = simulate_cohort(16, seed=4, **SMALL)
    still = simulate_cohort(16, seed=4, noise=False, images=False, **SMALL)
    noise = np.concatenate([cohort.ecg - quiet.ecg, other.ecg - still.ecg])
    # Differences of a high order leave the fast part, where no hum of the mains makes two recordings alike.
    fast = np.diff(noise, n=8, axis=2).reshape(len(noise), -1)
    alike = np.corrcoef(fast) - np.eye(len(fast))
    assert np.abs(alike).max() < 0.05
    values = pd.concat([cohort.subjects, other.subjects])
    for name in ("age", "height", "weight", "systolic", "heart_rate", "conduction"):
        assert values[name].is_unique, name
    assert len({part.tobytes() for part in (*cohort.cmr, *other.cmr)}) == 56


def test_a_changed_parameter_changes_what_depends_on_it_alone(cohort):
    bare = simulate_cohort(40, seed=3, parameters={"conductor.gain_spread": 0.0}, **SMALL)
    measured = {"pr", "qrs", "qt", "axis"}
    assert {"ecg", "beat"} <= same(bare, cohort) <= {"ecg", "beat", *measured}
    # A QRS complex is bounded by one level in mV for all, so that a scale moves its ends; the axis has none.
    for name, few in {"pr": 8, "qrs": 12, "qt": 8, "axis": 0.01}.items():
        assert bare.subjects[name].to_numpy() == pytest.approx(cohort.subjects[name], abs=few, nan_ok=True), name
    # The gain of a torso multiplies the heart's part of the recording by one number for all leads and times.
    options = {"images": False, "noise": False, **SMALL}
    one, other = (
        simulate_cohort(8, seed=3, parameters=p, **options).ecg for p in (None, {"conductor.gain_spread": 0.0})
    )
    ratio = (one * other).sum(axis=(1, 2)) / (other**2).sum(axis=(1, 2))
    assert np.abs(one - ratio[:, None, None] * other).max() < 1e-4 and np.ptp(ratio) > 0.05


def test_measurement_error_is_in_the_phenotypes_alone(cohort):
    measured = simulate_cohort(40, seed=3, measurement_error=1.0, **SMALL)
    differing = same(measured, cohort)
    assert differing <= set(cohort.phenotypes) and {"LVEDV", "LVM", "Ecc_global"} <= differing
    error = measured.phenotypes["LVEDV"] - cohort.phenotypes["LVEDV"]
    assert 1 < error.std() < 15


def test_a_disease_turned_off_leaves_the_healthy_as_they_were(cohort):
    cured = simulate_cohort(40, seed=3, change={"cad": False}, **SMALL)
    ill = cohort.subjects["cad"].to_numpy()
    assert same(rows(cured, ~ill), rows(cohort, ~ill)) == set()
    assert not cured.subjects["cad"].any() and not cured.truth.transmurality.any()
    for name in ("sex", "age", "height", "weight", "systolic", "af", "in_af", "dm", "hypertension", "lbbb", "rbbb"):
        assert cured.subjects[name].equals(cohort.subjects[name]), name
    for name in ("centre", "axis", "roll", "supply"):
        assert np.array_equal(getattr(cured.truth, name), getattr(cohort.truth, name)), name
    scarred = cohort.truth.transmurality.max(axis=1) > 0.3
    assert (cured.phenotypes["LVEF"] > cohort.phenotypes["LVEF"])[scarred].all()


def test_a_turned_heart_has_another_ecg_and_the_same_size_and_noise(cohort):
    turn = {"roll": lambda value: value + 0.5}
    turned = simulate_cohort(40, seed=3, change=turn, **SMALL)
    assert turned.truth.roll == pytest.approx(cohort.truth.roll + 0.5, abs=1e-6)
    assert turned.phenotypes.equals(cohort.phenotypes)
    assert np.abs(turned.ecg - cohort.ecg).max(axis=(1, 2)).min() > 0.05
    options = {"images": False, "noise": False, **SMALL}
    noise = [whole.ecg - simulate_cohort(40, 3, change=c, **options).ecg for whole, c in ((turned, turn), (cohort, {}))]
    # Where an electrode has come off there is no heart to subtract.
    assert (np.abs(noise[0] - noise[1]).max(axis=2) < 1e-4).mean() > 0.95


def test_stack_and_middle_slice_are_of_the_same_cine():
    whole = simulate_cohort(2, stack=True, slices=5, frames=8, matrix=64)
    middle = simulate_cohort(2, slices=5, frames=8, matrix=64)
    assert whole.cmr.shape == whole.masks.shape == (2, 5, 8, 64, 64)
    for row, last in enumerate(whole.subjects["es_frame"]):
        frames = [0, last // 2, last]
        assert np.array_equal(whole.cmr[row, 2, frames], middle.cmr[row])
        assert np.array_equal(whole.masks[row, 2, frames], middle.masks[row])


def test_results_name_the_version():
    assert cohort_manifest("simulated").version == version()
    assert open_setting("smoke", device="cpu").footer.startswith(f"simulated cohort v{version()}, smoke profile")


def test_batches_come_one_at_a_time():
    batches = simulate_batches(range(10**9), batch=2, images=False)
    assert list(next(batches).subjects.index) == ["sim0000000", "sim0000001"]
    assert next(batches).cmr.size == 0


def test_the_package_imports_nothing_heavy_until_asked():
    code = "import sys, mmcl; assert not {'torch', 'numpy', 'pandas'} & set(sys.modules); print(mmcl.simulate_cohort)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "simulate_cohort" in done.stdout
    with pytest.raises(AttributeError, match="no attribute 'simulate'"):
        mmcl.simulate  # noqa: B018


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "at least one subject"),
        ({"n": 1, "first": -1}, "from index 0"),
        ({"n": 1, "batch": 0}, "batch = 0"),
        ({"n": 1, "device": "meta"}, "expected one of cpu, cuda"),
        ({"n": 1, "measurement_error": -1.0}, "measurement_error = -1.0"),
        ({"n": 1, "measurement_error": float("nan")}, "measurement_error = nan"),
        ({"n": 2.5}, "n = 2.5"),
        ({"n": 1, "seed": 1.5}, "seed = 1.5"),
        ({"n": 1, "odds": (1.0, 1.0)}, "three factors"),
        ({"n": 1, "odds": (float("nan"), 1.0, 1.0)}, "three factors"),
        ({"n": 1, "matrix": 0}, "matrix = 0"),
        ({"n": 1, "spacing": 0.0}, "spacing = 0.0"),
        ({"n": 1, "device": "tpu"}, "device 'tpu'"),
        ({"n": 1, "change": {"heart_rate": float("nan")}}, "'heart_rate': nan"),
        ({"n": 1, "change": {"height": 180.0}}, "'height': 180; expected 1.2 to 2.3"),
        ({"n": 1, "change": {"cad": "yes"}}, "'cad': 'yes'"),
        ({"n": 1, "parameters": {"conductor.gain_spread": float("nan")}}, "finite"),
        ({"n": 1, "odds": (-1, 1, 1)}, "at least 0"),
        ({"n": 1, "slices": 0}, "0 slices"),
        ({"n": 1, "change": {"mass": 1.0}}, "cannot change mass; expected some of"),
        ({"n": 1, "parameters": {"conductor.none": 1.0}}, "no parameter"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        simulate_cohort(**options)


@pytest.mark.gpu
def test_a_subject_is_the_same_in_any_batch_on_the_gpu(cohort):
    whole = simulate_cohort(40, seed=3, device="cuda", **SMALL)
    part = simulate_cohort(7, seed=3, first=20, device="cuda", batch=3, **SMALL)
    assert same(part, rows(whole, np.arange(20, 27))) == set()
    assert whole.ecg == pytest.approx(cohort.ecg, abs=1e-3)
    assert BLOCK["cuda"] > BLOCK["cpu"]

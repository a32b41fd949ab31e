"""Which samples are which wave, where the beats are known and where they are found."""

import numpy as np
import pytest

from mmcl.interpretation.waves import VENTRICULAR, Fiducials, delineate, label_waves
from mmcl.simulation.cohort import simulate_cohort

RATE = 125


def recording(r, qrs=0.1, seconds=10):
    """Leads of a flat line with a QRS complex, three slopes long, that begins 40 ms before each R."""
    time = np.arange(seconds * RATE) / RATE
    line = np.zeros(len(time))
    for beat in r:
        line += np.interp(time - beat, [-0.04, 0.0, 0.03, qrs - 0.04], [0, 1.5, -0.6, 0])
    return np.repeat(line[None, None], 12, axis=1)


def fiducials(r, pr=0.16, qrs=0.1, qt=0.4, ectopic=None):
    r = np.array([r], dtype=float)
    kinds = np.zeros(r.shape, int) if ectopic is None else np.array([ectopic])
    return Fiducials(r, *(np.array([value]) for value in (pr, qrs, qt)), kinds)


def test_waves_follow_each_other_from_p_to_t():
    labels, onset = label_waves(recording([1.0, 2.0]), RATE, fiducials([1.0, 2.0]))
    assert onset[0] == pytest.approx(-0.04, abs=0.01)
    time = np.arange(labels.shape[1]) / RATE
    for wave, (start, stop) in enumerate(((-0.2, -0.04), (-0.04, 0.06), (0.06, 0.14), (0.14, 0.36)), 1):
        inside = time[labels[0] == wave]
        first = inside[inside < 1.5] - 1.0
        assert first.min() == pytest.approx(start, abs=0.02) and first.max() == pytest.approx(stop, abs=0.02)
    assert (labels[0, time > 2.6] == 0).all()


def test_a_missing_p_wave_and_a_ventricular_beat_are_not_labelled():
    given = fiducials([1.0, 2.0], pr=np.nan, ectopic=[0, VENTRICULAR])
    labels, _ = label_waves(recording([1.0, 2.0]), RATE, given)
    time = np.arange(labels.shape[1]) / RATE
    assert 1 not in labels and set(labels[0, time < 1.5]) == {0, 2, 3, 4} and (labels[0, time > 1.5] == 0).all()


def test_without_a_qrs_duration_nothing_is_labelled():
    labels, onset = label_waves(recording([1.0]), RATE, fiducials([1.0], qrs=np.nan))
    assert (labels == 0).all() and np.isnan(onset[0])


def test_waves_that_are_found_are_those_that_are_known():
    cohort = simulate_cohort(16, seed=3, images=False)
    usual = np.isfinite(cohort.subjects["pr"].to_numpy()) & (cohort.truth.ectopic == 0).all(axis=1)
    signal = cohort.ecg[usual]
    intervals = (cohort.subjects.loc[usual, name].to_numpy() / 1000 for name in ("pr", "qrs", "qt"))
    truth = Fiducials(cohort.truth.r_times[usual], *intervals, cohort.truth.ectopic[usual])
    (known, onset), (found, _) = (label_waves(signal, 500, each) for each in (truth, delineate(signal, 500)))
    assert (onset < 0).all() and (onset > -0.1).all()
    assert np.median((known == found).mean(axis=1)) > 0.9

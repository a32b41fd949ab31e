"""Which samples are which wave, where the beats are known and where they are found."""

import numpy as np
import pandas as pd
import pytest

from mmcl.interpretation.waves import VENTRICULAR, Fiducials, delineate, label_waves

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


def test_beats_that_are_found_are_labelled_as_beats_that_are_known():
    r = [0.9 + 0.8 * k for k in range(11)]
    signal = recording(r)
    measured = pd.DataFrame({"ecg_pr": [160.0], "ecg_qrs_duration": [100.0], "ecg_qt": [400.0]})
    found, _ = label_waves(signal, RATE, delineate(signal, RATE, measured))
    known, _ = label_waves(signal, RATE, fiducials(r))
    assert (found == known).mean() > 0.95 and (known == 2).mean() == pytest.approx(0.125, abs=0.02)

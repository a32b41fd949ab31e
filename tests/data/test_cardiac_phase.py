"""Beats and phases on batches: against the true beats of simulated ECGs, and the careful detector."""

import math

import numpy as np
import pytest
import torch

import mmcl
from mmcl.data.cardiac_phase import SYSTOLE, SYSTOLE_PER_RATE, cardiac_phase, frame_closeness, r_peaks
from mmcl.data.ecg_beats import detect_qrs, remove_wander
from mmcl.data.ecg_preprocessing import preprocess_ecg, reduce_sampling_rate

RATE = 125


@pytest.fixture(scope="module")
def cohort():
    return mmcl.simulate_cohort(60, seed=3, odds=(2.0, 3.0, 2.0), images=False)


@pytest.fixture(scope="module")
def records(cohort) -> np.ndarray:
    """As a store has them."""
    return reduce_sampling_rate(preprocess_ecg(cohort.ecg), RATE).astype(np.float16)


def _found(beats: np.ndarray, among: np.ndarray, seconds: float = 0.07) -> np.ndarray:
    """Which of `beats` have one of `among` near."""
    return np.abs(beats[:, None] - among[None]).min(axis=1, initial=math.inf) <= seconds


def test_nearly_all_true_beats_are_found_and_hardly_any_others(cohort, records):
    missed = invented = total = 0
    for peaks, truth in zip(r_peaks(torch.from_numpy(records), RATE).numpy(), cohort.truth.r_times, strict=True):
        beats = np.flatnonzero(peaks) / RATE
        truth = truth[(truth > 0.1) & (truth < 9.9)]  # NaN compares as False
        beats = beats[(beats > 0.1) & (beats < 9.9)]
        missed += (~_found(truth, beats, 0.1)).sum()
        invented += (~_found(beats, truth, 0.1)).sum()
        total += len(truth)
    assert total > 500
    assert missed <= 0.01 * total and invented <= 0.01 * total


def test_agrees_with_the_detector_of_single_records(records):
    agreed = total = 0
    for peaks, record in zip(r_peaks(torch.from_numpy(records), RATE).numpy(), records, strict=True):
        expected = detect_qrs(remove_wander(record.astype(np.float64), RATE), RATE) / RATE
        beats = np.flatnonzero(peaks) / RATE
        agreed += _found(expected, beats).sum() + _found(beats, expected).sum()
        total += len(expected) + len(beats)
    assert agreed >= 0.99 * total


def test_scale_and_batch_do_not_matter(records):
    some = torch.from_numpy(records[:6])
    peaks = r_peaks(some, RATE)
    assert torch.equal(peaks, r_peaks(3 * some.float(), RATE))
    assert torch.equal(peaks[2:3], r_peaks(some[2:3], RATE))


def _peaks(*places: int, time: int = 40) -> torch.Tensor:
    peaks = torch.zeros(1, time, dtype=torch.bool)
    peaks[0, list(places)] = True
    return peaks


def test_phase_rises_from_beat_to_beat_and_goes_on_at_the_mean_interval():
    phase, period = cardiac_phase(_peaks(10, 18, 30))
    assert period.item() == 10
    place = torch.arange(40.0)
    expected = torch.cat([place[:10] / 10, torch.arange(8) / 8, torch.arange(12) / 12, torch.arange(10) / 10])
    torch.testing.assert_close(phase[0], expected)


@pytest.mark.parametrize("places", [(), (7,)])
def test_without_two_beats_there_is_no_phase(places):
    phase, period = cardiac_phase(_peaks(*places))
    assert phase.isnan().all() and period.isnan().all()
    assert frame_closeness(torch.zeros(2, 12, 1250), RATE).isnan().all()


def test_closeness_peaks_where_each_frame_lies(cohort, records):
    rows = np.flatnonzero(~cohort.subjects["in_af"].to_numpy())[:10]
    closeness = frame_closeness(torch.from_numpy(records[rows]), RATE)
    assert closeness.shape == (10, 3, 1250) and closeness.min() >= 0 and closeness.max() <= 1
    for row, (systole, halfway, diastole) in zip(rows, closeness.numpy(), strict=True):
        times = cohort.truth.r_times[row]
        beat = times[(times > 2) & (times < 8)][1]
        rate = 60 / np.nanmean(np.diff(times))
        end = SYSTOLE + SYSTOLE_PER_RATE * rate
        for found, wanted in ((diastole, 0.0), (halfway, end / 2), (systole, end)):
            window = slice(round((beat + wanted - 0.2) * RATE), round((beat + wanted + 0.2) * RATE))
            nearest = (window.start + found[window].argmax()) / RATE
            assert nearest == pytest.approx(beat + wanted, abs=0.06)

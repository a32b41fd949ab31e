"""ECG measurements on records whose waves are known, on records without some of them, and on real recordings."""

import time

import numpy as np
import pytest

from mmcl.config import LEADS
from mmcl.data.ecg_beats import detect_qrs, remove_wander
from mmcl.data.ecg_features import FEATURES, measure

RATE = 500
FRONTAL = np.radians([0, 60, 120, -150, -30, 90])  # I II III aVR aVL aVF


def record(rr=0.8, p=0.15, pr=0.16, qt=0.38, axis=40.0, noise=0.01, seed=0, irregular=0.0, rate=RATE):
    """(12, 10 s) mV of Gaussian waves: P begins 2.5 standard deviations before its peak, T ends 2 after (tangent)."""
    generator = np.random.default_rng(seed)
    clock = np.arange(10 * rate) / rate
    # Standard limb geometry: augmented leads are sqrt(3)/2 of the projection of the frontal vector.
    limb = np.cos(np.radians(axis) - FRONTAL) * np.array([1, 1, 1, *[np.sqrt(3) / 2] * 3])
    r_gain = np.r_[limb, 0.3, 0.5, 0.9, 1.2, 1.3, 1.0]
    s_gain = np.r_[np.zeros(6), 1.1, 1.3, 0.9, 0.5, 0.2, 0.1]
    t_gain = np.r_[0.3 * limb, -0.1, 0.3, 0.4, 0.4, 0.35, 0.25]
    p_gain = np.r_[p * limb, *[0.05] * 6] if p else np.zeros(12)

    def wave(centre, width):
        return np.exp(-0.5 * ((clock - centre) / width) ** 2)

    signal = np.zeros((12, clock.size))
    beat, beats = 0.5, []
    while beat < 9.8:
        onset = beat - 0.04
        signal += p_gain[:, None] * wave(onset - pr + 0.05, 0.02)
        signal += r_gain[:, None] * wave(beat, 0.012) - s_gain[:, None] * wave(beat + 0.03, 0.01)
        signal += t_gain[:, None] * wave(onset + qt - 0.09, 0.045)
        beats.append(beat)
        beat += rr * (1 + irregular * generator.uniform(-1, 1))
    drift = 0.3 * np.sin(2 * np.pi * 0.15 * clock)
    return signal + drift + noise * generator.normal(size=signal.shape), np.array(beats)


def test_known_waves_are_measured():
    rows = measure(np.stack([record(axis=axis, seed=k)[0] for k, axis in enumerate((-45, 40, 110))]))
    np.testing.assert_allclose(rows.heart_rate, 75, atol=0.3)
    np.testing.assert_allclose(rows.qrs_axis, [-45, 40, 110], atol=6)
    np.testing.assert_allclose(rows.pr, 160, atol=12)
    np.testing.assert_allclose(rows.qt, 380, atol=15)
    np.testing.assert_allclose(rows.qtc, rows.qt / np.cbrt(0.8))
    assert rows.qrs_duration.between(70, 100).all() and (rows.rr_sd < 5).all() and (rows.p_consistency > 0.7).all()
    np.testing.assert_allclose(rows.R_V5, 1.3, atol=0.1)
    np.testing.assert_allclose(rows.S_V2, 1.3, atol=0.15)
    np.testing.assert_allclose(rows.T_V4, 0.4, atol=0.06)
    np.testing.assert_allclose(rows.sokolow_lyon, rows.S_V1 + rows[["R_V5", "R_V6"]].max(axis=1))
    assert list(rows.columns) == list(FEATURES) and rows.notna().all(axis=None)


def test_axis_follows_limb_leads_of_either_length():
    np.testing.assert_allclose(measure(record(axis=-100)[0][None]).qrs_axis, -100, atol=8)


@pytest.mark.parametrize("rate", [125, 250, 1000])
def test_other_sampling_rates_agree(rate):
    one = measure(record(rate=rate)[0][None], rate).iloc[0]
    assert one.heart_rate == pytest.approx(75, abs=0.5) and one.qt == pytest.approx(380, abs=20)
    assert one.pr == pytest.approx(160, abs=20) and one.R_V5 == pytest.approx(1.3, abs=0.15)


def test_no_p_wave_and_irregular_rhythm():
    one = measure(record(p=0.0, noise=0.03, irregular=0.3)[0][None]).iloc[0]
    assert np.isnan(one.pr) and np.isnan(one.p_amplitude) and one.p_consistency < 0.4
    assert one.rr_sd > 60 and one.rmssd > 60 and np.isfinite(one.qrs_duration)


@pytest.mark.parametrize("rr", [0.45, 0.6, 1.0, 1.6])
def test_every_beat_is_found_once_even_beside_tall_t_waves_and_noise(rr):
    signal, beats = record(rr=rr, noise=0.05, qt=min(0.38, 0.28 + 0.1 * rr))
    found = detect_qrs(remove_wander(signal, RATE), RATE) / RATE
    assert found.size == beats.size and np.abs(found - beats - 0.01).max() < 0.05


def test_large_ectopic_beats_do_not_hide_the_others():
    signal, beats = record()
    clock = np.arange(signal.shape[1]) / RATE
    for centre in (1.7, 4.9, 8.1):
        signal += 4 * np.exp(-0.5 * ((clock - centre) / 0.035) ** 2)
    found = detect_qrs(remove_wander(signal, RATE), RATE) / RATE
    assert all(np.abs(found - beat).min() < 0.1 for beat in beats)


def test_a_lead_off_is_missing_and_leaves_the_rest():
    signal = record()[0]
    signal[LEADS.index("V4")] = 0.0
    signal[LEADS.index("V2"), 2000:] = np.nan
    one = measure(signal[None]).iloc[0]
    assert np.isnan(one[["Q_V4", "R_V4", "S_V4", "ST_V4", "T_V4"]].astype(float)).all()
    assert one.heart_rate == pytest.approx(75, abs=0.5) and one.R_V5 == pytest.approx(1.3, abs=0.1)


def test_no_signal_gives_nan_and_bad_shapes_are_refused():
    assert measure(np.zeros((1, 12, 5000))).isna().all(axis=None)
    assert measure(np.full((1, 12, 5000), np.nan)).isna().all(axis=None)
    with pytest.raises(ValueError, match="12, time"):
        measure(np.zeros((12, 5000)))
    with pytest.raises(ValueError, match="1.0 s"):
        measure(np.zeros((1, 12, 500)))


def test_real_recordings_fall_in_clinical_ranges(shared):
    wfdb = pytest.importorskip("wfdb")
    records = sorted((shared / "real" / "ecg").glob("*.hea"))
    rows = measure(np.stack([wfdb.rdrecord(str(path.with_suffix(""))).p_signal.T for path in records]))
    rows.index = [path.stem for path in records]
    assert rows.heart_rate.between(35, 150).all() and rows.qrs_duration.between(50, 160).all()
    assert rows.qt.dropna().between(220, 520).all() and rows.pr.dropna().between(90, 260).all()
    # Labelled sinus bradycardia, sinus tachycardia and sinus rhythm.
    assert rows.heart_rate["E07500"] < 60 and rows.heart_rate["HR06002"] < 60
    assert (rows.heart_rate[["E07503", "E07508", "JS20009"]] > 100).all()
    assert 60 < rows.heart_rate["HR06000"] < 100


def test_a_record_takes_milliseconds():
    signal = np.stack([record(seed=k)[0] for k in range(8)])
    measure(signal[:1])
    start = time.perf_counter()
    measure(signal)
    assert (time.perf_counter() - start) / len(signal) < 0.06  # about 0.007 on an idle core

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import spsolve

from mmcl.config import LEAD_GROUPS
from mmcl.data import ecg_preprocessing
from mmcl.data.ecg_preprocessing import baseline, clip_amplitude, preprocess_ecg, reduce_sampling_rate, standardise


def classic_baseline(lead, smoothness=1e7, asymmetry=0.3, reweightings=5):
    """One lead (samples,) with a general sparse solver: the oracle."""
    samples = len(lead)
    difference = scipy.sparse.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(samples - 2, samples))
    penalty = smoothness * (difference.T @ difference)
    weights = np.ones(samples)
    for _ in range(reweightings):
        solution = spsolve((scipy.sparse.diags_array(weights) + penalty).tocsc(), weights * lead)
        weights = np.where(lead > solution, asymmetry, 1 - asymmetry)
    return solution


def wander(batch, samples, seed=0):
    generator = np.random.default_rng(seed)
    time = np.arange(samples) / 500
    slow = 0.4 * np.sin(2 * np.pi * 0.2 * time + generator.uniform(0, 6, (batch, 12, 1)))
    beats = np.exp(-0.5 * (((time % 0.8) - 0.3) / 0.015) ** 2)
    return (
        slow + beats * generator.normal(0, 1, (batch, 12, 1)) + 0.02 * generator.standard_normal((batch, 12, samples))
    )


@pytest.mark.parametrize("record", ["HR06000", "JS20004"])
def test_published_numbers(shared, record):
    import wfdb

    expected = np.load(shared / "conformance" / "ecg_preprocessed.npz", allow_pickle=False)[record]
    signal = wfdb.rdrecord(str(shared / "real" / "ecg" / record)).p_signal.T
    result = preprocess_ecg(signal[None])[0]
    assert result.dtype == np.float32 and result.shape == (12, 5000)
    assert np.abs(result - expected).max() < 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=2e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(3, 400),
    st.floats(1.0, 1e7),
    st.floats(0.05, 0.95),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_baseline_is_that_of_the_sparse_solver(samples, smoothness, asymmetry, reweightings, seed):
    signal = wander(1, samples, seed)[:, :2]
    result = baseline(signal, smoothness, asymmetry, reweightings)
    for lead in range(2):
        expected = classic_baseline(signal[0, lead], smoothness, asymmetry, reweightings)
        np.testing.assert_allclose(result[0, lead], expected, rtol=1e-4, atol=1e-6)


def test_baseline_at_full_length():
    signal = wander(1, 5000)
    result = baseline(signal)
    np.testing.assert_allclose(result[0, 7], classic_baseline(signal[0, 7]), atol=1e-7)


def test_record_does_not_depend_on_its_batch_or_threads():
    signal = wander(5, 1200)
    together = preprocess_ecg(signal)
    np.testing.assert_array_equal(together, preprocess_ecg(signal, threads=3))
    for k in range(5):
        np.testing.assert_array_equal(together[k], preprocess_ecg(signal[k : k + 1])[0])


def test_baseline_takes_away_wander_and_leaves_beats():
    still = np.zeros((1, 12, 5000))
    still[:] = np.exp(-0.5 * (((np.arange(5000) / 500 % 0.8) - 0.3) / 0.015) ** 2)
    moved = still + 0.3 * np.sin(2 * np.pi * 0.15 * np.arange(5000) / 500)
    corrected = moved - baseline(moved)
    assert np.abs(corrected - still)[..., 250:-250].max() < 0.08


def test_scale_and_units_cancel():
    signal = wander(1, 5000)
    np.testing.assert_allclose(preprocess_ecg(signal), preprocess_ecg(signal * 0.1), atol=1e-4)


def test_groups_are_standardised_together():
    result = preprocess_ecg(wander(2, 3000))
    for group in LEAD_GROUPS:
        part = result[:, list(group)].reshape(2, -1)
        np.testing.assert_allclose(part.mean(1), 0, atol=1e-6)
        np.testing.assert_allclose(part.std(1), 1, atol=1e-6)
    assert result[0].std(axis=-1)[:3].std() > 0.01, "single leads keep their relative amplitude"


def test_clip_is_around_zero():
    signal = np.full((1, 12, 100), 1.0)
    signal[0, 0, 0] = 50.0
    limit = 4 * signal.std()
    clipped = clip_amplitude(signal)
    assert clipped.max() == pytest.approx(limit) and clipped[0, 5, 5] == min(1.0, limit)


def test_flat_and_missing_leads_do_not_explode():
    signal = wander(1, 2000)
    signal[0, 8] = 0.0
    signal[0, 3:6] = 0.7
    signal[0, 1, :300] = np.nan
    result = preprocess_ecg(signal)
    assert np.isfinite(result).all()
    assert np.abs(result[0, 3:6]).max() < 1e-2, "a flat group stays flat"
    assert np.abs(result[0, 8]).max() < 0.2 and np.abs(result).max() < 30
    assert not preprocess_ecg(np.zeros((1, 12, 500))).any()


def test_lower_rate():
    time = np.arange(5000) / 500
    ecg = np.broadcast_to(np.sin(2 * np.pi * 5 * time), (2, 12, 5000)).astype(np.float32)
    reduced = reduce_sampling_rate(ecg, 125)
    assert reduced.shape == (2, 12, 1250) and reduced.dtype == np.float32
    np.testing.assert_allclose(reduced[0, 0, 50:-50], np.sin(2 * np.pi * 5 * np.arange(1250) / 125)[50:-50], atol=5e-3)
    assert reduce_sampling_rate(ecg, 500) is ecg
    with pytest.raises(ValueError, match="1000 Hz"):
        reduce_sampling_rate(ecg, 1000)


def test_wrong_shapes():
    with pytest.raises(ValueError, match=r"\(8, 5000\), expected \(batch, 12, samples\)"):
        preprocess_ecg(np.zeros((8, 5000)))
    with pytest.raises(ValueError, match="infinite"):
        preprocess_ecg(np.full((1, 12, 50), np.inf))
    with pytest.raises(ValueError, match="at least 3 samples"):
        baseline(np.zeros((1, 12, 2)))
    assert standardise(np.ones((1, 12, 10))).shape == (1, 12, 10)


def test_without_numba_the_banded_solver_answers(monkeypatch, caplog):
    signal = wander(2, 5000)
    fast = baseline(signal), preprocess_ecg(signal)
    monkeypatch.setattr(ecg_preprocessing, "numba", None)
    ecg_preprocessing._say_slow.cache_clear()
    slow = baseline(signal), preprocess_ecg(signal, threads=2)
    assert [record.levelname for record in caplog.records] == ["WARNING"], "said once"
    assert not np.array_equal(fast[0], slow[0]), "another solver answered"
    assert np.abs(fast[0] - slow[0]).max() < 1e-8 * np.abs(fast[0]).max()
    np.testing.assert_allclose(slow[1], fast[1], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(slow[0][1, 7], classic_baseline(signal[1, 7]), atol=1e-7)


def test_without_numba_the_package_imports():
    program = """
import sys
sys.modules["numba"] = None  # as if it were not installed
import numpy as np
import mmcl.data.ecg_preprocessing
signal = np.random.default_rng(0).normal(size=(12, 1000)).cumsum(axis=1) * 0.01
result = mmcl.data.ecg_preprocessing.preprocess_ecg(signal[None])
print(result.shape, float(result.std()) > 0.5, sys.modules["numba"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 12, 1000) True None"
    assert done.stderr.count("numba is not installed") == 1

"""Baselines per second: general sparse solver, LAPACK's banded one, compiled recursion, interleaved (`make bench`)."""

import statistics
import time

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import spsolve

from mmcl.data import ecg_preprocessing
from mmcl.data.ecg_preprocessing import baseline, preprocess_ecg
from tests.benchmarks.timing import Comparison

ROUNDS = 5


def classic_baseline(signal):
    """Leads (leads, samples) one by one, as published."""
    samples = signal.shape[1]
    difference = scipy.sparse.diags_array([1.0, -2.0, 1.0], offsets=[0, 1, 2], shape=(samples - 2, samples))
    penalty = 1e7 * (difference.T @ difference)
    solutions = []
    for lead in signal:
        weights = np.ones(samples)
        for _ in range(5):
            solution = spsolve((scipy.sparse.diags_array(weights) + penalty).tocsc(), weights * lead)
            weights = np.where(lead > solution, 0.3, 0.7)
        solutions.append(solution)
    return np.stack(solutions)


def seconds(function, argument):
    start = time.perf_counter()
    function(argument)
    return time.perf_counter() - start


def test_baseline_speed(benchmark, monkeypatch, hardware, keep):
    signal = np.random.default_rng(0).standard_normal((16, 12, 5000)).cumsum(axis=-1) * 0.01
    baseline(signal[:2])  # compile
    classic, banded, compiled = [], [], []
    for _ in range(ROUNDS):
        classic.append(seconds(classic_baseline, signal[0]))
        with monkeypatch.context() as patch:
            patch.setattr(ecg_preprocessing, "numba", None)
            banded.append(seconds(baseline, signal[:4]) / 4)
        compiled.append(seconds(baseline, signal) / len(signal))
    ratio, to_banded = (
        statistics.median(one / other for one, other in zip(times, compiled, strict=True))
        for times in (classic, banded)
    )
    benchmark.extra_info |= {"ratio": ratio, "ratio_to_banded": to_banded}
    rates = [1 / statistics.median(times) for times in (classic, banded, compiled)]
    print(f"\nclassic {rates[0]:.1f} ECG/s, banded by LAPACK {rates[1]:.0f}, compiled {rates[2]:.0f}")
    print(f"{ratio:.0f} times the classic, {to_banded:.0f} times LAPACK's")
    moved = 2 * hardware.moving(signal[0])
    keep(Comparison("ECG preprocessing: baseline, one core", f"{len(signal)} ECGs", "ECGs", moved, compiled, classic))
    benchmark(baseline, signal)
    assert ratio > 60


def test_preprocessing_speed(benchmark):
    signal = np.random.default_rng(0).standard_normal((16, 12, 5000)).cumsum(axis=-1) * 0.01
    preprocess_ecg(signal[:2])
    benchmark(preprocess_ecg, signal)
    print(f"\nwhole preprocessing {16 / benchmark.stats.stats.median:.0f} ECG/s")

"""ECG preprocessing of the published method: clip, subtract the baseline, standardise (method section 3).

It runs at 500 Hz on arrays (batch, 12, samples) in millivolt; what is stored may then have a lower sampling rate.

The baseline is that of asymmetric least squares (Eilers & Boelens 2005): it minimises
sum_i w_i (y_i - z_i)^2 + lambda sum_i (second difference of z)_i^2, where points above the baseline weigh p and those
below 1 - p, so that it passes under the peaks. Each reweighting solves a symmetric positive definite system with five
diagonals. The usual general sparse solver manages 4-5 records a second; the LDL^T recursion below, with leads and
records innermost so that they fill the vector units, more than a thousand on one core. It is compiled by numba; where
that is not installed, LAPACK's solver of banded systems answers. It is some 20 times slower, and its baselines differ
by 2e-9 of the largest value, less than the 7e-9 by which the rounding of the system's own numbers moves both.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from scipy.linalg import solveh_banded
from scipy.signal import resample_poly

from mmcl.config import LEAD_GROUPS, LEADS, RAW_SAMPLING_RATE

try:
    import numba
except ImportError:
    numba = None

_log = logging.getLogger(__name__)

CLIP = 4.0
"""Amplitudes are limited to this many standard deviations of the whole record, around 0."""

SMOOTHNESS = 1e7
"""Lambda of the baseline: weight of its second differences at 500 Hz."""

ASYMMETRY = 0.3
"""p of the baseline: weight of points above it; points below, and points on it, weigh 1 - p."""

REWEIGHTINGS = 5
"""Solves per baseline, the first with all weights 1."""

EPSILON = 1e-12
"""Added to a group's variance, so that a flat group becomes 0 and not infinite."""

_TOGETHER = 2
"""Records that pass through all steps at once: 24 lanes fill the vector units, and the steps find them in the cache."""


def preprocess_ecg(signal: np.ndarray, threads: int = 1, leads: Sequence[int] = range(len(LEADS))) -> np.ndarray:
    """The whole of method section 3.

    `signal`: (batch, 12, samples), millivolt, 500 Hz, leads in the order of `mmcl.config.LEADS`; NaN counts as 0.
    Returns float32 (batch, 12, samples), each lead group of each record with mean 0 and variance 1, or all 0 where it
    was flat. `threads` share the records of the batch; the result does not depend on their number. With `leads`
    (ascending indices) only these are looked at, as if there were no others; the rest of the result is 0.
    """
    signal = np.asarray(signal)
    if signal.ndim != 3 or signal.shape[1] != len(LEADS):
        raise ValueError(f"ECG of shape {signal.shape}, expected (batch, {len(LEADS)}, samples)")
    leads = list(leads)
    result = np.zeros(signal.shape, dtype=np.float32)

    def preprocess(part: slice) -> None:
        records = np.asarray(signal[part], dtype=np.float64)
        records = np.where(np.isnan(records), 0.0, records)
        if not np.isfinite(records).all():
            raise ValueError("the ECG holds infinite values; expected millivolt, or NaN where nothing was recorded")
        clipped = clip_amplitude(records if len(leads) == len(LEADS) else records[:, leads])
        result[part, leads] = standardise(clipped - baseline(clipped), leads)

    parts = [slice(start, start + _TOGETHER) for start in range(0, len(signal), _TOGETHER)]
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(preprocess, parts))
    else:
        for part in parts:
            preprocess(part)
    return result


def clip_amplitude(signal: np.ndarray) -> np.ndarray:
    """Limit (batch, 12, samples) to +-4 standard deviations of each whole record, around 0 and not around its mean."""
    limit = CLIP * signal.std(axis=(1, 2), keepdims=True)
    return np.clip(signal, -limit, limit)


def standardise(signal: np.ndarray, leads: Sequence[int] = range(len(LEADS))) -> np.ndarray:
    """Z-score (batch, leads, samples) with one mean and one variance per record and lead group."""
    result = np.empty_like(signal)
    for group in LEAD_GROUPS:
        places = [place for place, lead in enumerate(leads) if lead in group]
        if not places:
            continue
        rows = slice(places[0], places[-1] + 1)
        part = signal[:, rows]
        mean = part.mean(axis=(1, 2), keepdims=True)
        variance = part.var(axis=(1, 2), keepdims=True)
        result[:, rows] = (part - mean) / np.sqrt(variance + EPSILON)
    return result


def baseline(
    signal: np.ndarray,
    smoothness: float = SMOOTHNESS,
    asymmetry: float = ASYMMETRY,
    reweightings: int = REWEIGHTINGS,
) -> np.ndarray:
    """Asymmetric-least-squares baseline of every lead, (batch, leads, samples) float64, in the unit of `signal`."""
    batch, leads, samples = signal.shape
    if samples < 3:
        raise ValueError(f"a baseline needs at least 3 samples, found {samples}")
    main, off = _difference_penalty(samples)
    if numba is None:
        _say_slow()
        lanes = signal.reshape(-1, samples)
        solved = [_banded_solves(lane, main, off, smoothness, asymmetry, reweightings) for lane in lanes]
        return np.array(solved, dtype=np.float64).reshape(signal.shape)
    result = np.empty(signal.shape)
    for start in range(0, batch, _TOGETHER):
        part = slice(start, start + _TOGETHER)
        lanes = signal[part].reshape(-1, samples)
        work = np.zeros((samples + 4, 4, len(lanes)))
        work[2:-2, 0] = lanes.T
        _reweighted_solves(work, main, off, smoothness, asymmetry, reweightings)
        result[part] = work[2:-2, 1].T.reshape(-1, leads, samples)
    return result


def reduce_sampling_rate(ecg: np.ndarray, sampling_rate: int) -> np.ndarray:
    """Preprocessed ECG (..., samples) from 500 Hz to `sampling_rate` Hz by polyphase filtering, same dtype."""
    if sampling_rate == RAW_SAMPLING_RATE:
        return ecg
    if not 0 < sampling_rate < RAW_SAMPLING_RATE:
        raise ValueError(f"sampling rate {sampling_rate} Hz: expected more than 0 and at most {RAW_SAMPLING_RATE}")
    divisor = math.gcd(sampling_rate, RAW_SAMPLING_RATE)
    return resample_poly(ecg, sampling_rate // divisor, RAW_SAMPLING_RATE // divisor, axis=-1)


def _difference_penalty(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Diagonals of D'D for the second differences D; the outermost diagonal is 1 throughout.

    Returns the main diagonal (samples,) and `off` (samples + 1,), where off[i + 1] couples points i and i + 1 and both
    ends are 0.
    """
    main = np.zeros(samples)
    main[:-2] += 1
    main[1:-1] += 4
    main[2:] += 1
    off = np.zeros(samples + 1)
    off[1:-2] -= 2
    off[2:-1] -= 2
    return main, off


@functools.cache
def _say_slow() -> None:
    """Once in a process."""
    _log.warning("numba is not installed: ECG baselines are solved by LAPACK, some 20 times more slowly")


def _banded_solves(
    lead: np.ndarray, main: np.ndarray, off: np.ndarray, smoothness: float, asymmetry: float, reweightings: int
) -> np.ndarray:
    """What `_reweighted_solves` does, for one lead (samples,), by LAPACK's Cholesky factorisation of banded systems."""
    bands = np.zeros((3, len(lead)))
    bands[0, 2:], bands[1, 1:] = 1.0, off[1:-1]
    solution = np.zeros(len(lead))
    for iteration in range(reweightings):
        above, below = (asymmetry, 1.0 - asymmetry) if iteration else (1.0, 1.0)
        weights = np.where(lead > solution, above, below) / smoothness
        bands[2] = main + weights
        solution = solveh_banded(bands, weights * lead, check_finite=False)
    return solution


def _compiled(function):
    return function if numba is None else numba.njit(cache=True, nogil=True, error_model="numpy")(function)


@_compiled
def _reweighted_solves(work, main, off, smoothness, asymmetry, reweightings):
    """Solve (W + lambda D'D) z = W y for each lane, `reweightings` times, in place.

    `work`: (samples + 4, 4, lanes). Channel 0 is y; 1 the right-hand side, then z; 2 the inverse pivots 1 / d; 3 the
    first subdiagonal of L. Two rows of zeros before and after stand for the points beyond the ends. The system is
    divided by lambda, which makes the outermost diagonal 1 and the second subdiagonal of L equal to the inverse pivots
    of two points before. Reweighting, factorisation and forward substitution share one pass; it overwrites the z that
    it has just compared y with. A single array holds everything, as the compiler must see that nothing overlaps before
    it uses vector instructions.
    """
    samples = main.size
    lanes = work.shape[2]
    for iteration in range(reweightings):
        above = (asymmetry if iteration else 1.0) / smoothness
        below = (1.0 - asymmetry if iteration else 1.0) / smoothness
        for i in range(2, samples + 2):
            diagonal, coupling, coupling_before = main[i - 2], off[i - 1], off[i - 2]
            for k in range(lanes):
                y = work[i, 0, k]
                weight = above if y > work[i, 1, k] else below
                sub = work[i - 1, 3, k]
                inverse_before = work[i - 2, 2, k]
                pivot = diagonal + weight - sub * (coupling_before - work[i - 2, 3, k]) - inverse_before
                work[i, 1, k] = weight * y - sub * work[i - 1, 1, k] - inverse_before * work[i - 2, 1, k]
                inverse = 1.0 / pivot
                work[i, 2, k] = inverse
                work[i, 3, k] = (coupling - sub) * inverse
        for i in range(samples + 1, 1, -1):
            for k in range(lanes):
                work[i, 1, k] = work[i, 2, k] * (work[i, 1, k] - work[i + 2, 1, k]) - work[i, 3, k] * work[i + 1, 1, k]

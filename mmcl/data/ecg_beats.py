"""QRS detection and the median beat of a 12-lead ECG."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, find_peaks, sosfiltfilt

BEFORE, AFTER = 0.32, 0.62
"""Seconds kept around the QRS: the P wave of a long PR before, the T wave of a slow heart after."""

_DETECTION_RATE = 125
"""Hz; enough for the 12 to 35 Hz in which QRS stands out from P, T and noise."""


@dataclass(frozen=True)
class MedianBeat:
    """The beat that stands for a record.

    leads: (12, time) sample by sample median over beats; NaN in a lead without signal. qrs: index in it at which the
    beats are aligned. beats: (beats, 12, time) the aligned beats. position: (beats,) samples of the QRS in the record.
    """

    leads: np.ndarray
    qrs: int
    beats: np.ndarray
    position: np.ndarray


def remove_wander(signal: np.ndarray, rate: float) -> np.ndarray:
    """High-pass (12, time) at 0.5 Hz without phase shift, so that ST segments keep their level relative to PR."""
    return sosfiltfilt(_filter("highpass", 0.5, rate), signal, axis=-1)


def detect_qrs(signal: np.ndarray, rate: float) -> np.ndarray:
    """Samples (beats,) of the QRS complexes of `signal` (12, time) at `rate` Hz, in order; empty where there are none.

    Every lead is scaled by its own large deflections and bounded, so that no noisy lead outvotes the others; the mean
    square over leads, smoothed over 90 ms, peaks once a QRS. A gap of more than 1.7 median intervals is searched again
    at half the threshold.
    """
    live = np.ptp(signal, axis=-1) > 0
    if not live.any():
        return np.zeros(0, dtype=int)
    step = max(1, round(rate / _DETECTION_RATE))
    length = signal.shape[-1] // step
    pooled = signal[live, : length * step].reshape(-1, length, step).mean(axis=-1)
    pooled_rate = rate / step
    filtered = np.abs(sosfiltfilt(_filter("bandpass", (12.0, min(35.0, 0.45 * pooled_rate)), pooled_rate), pooled))
    scaled = np.minimum(filtered / np.maximum(np.quantile(filtered, 0.95, axis=-1, keepdims=True), 1e-12), 1.5)
    energy = uniform_filter1d((scaled**2).mean(axis=0), max(1, round(0.09 * pooled_rate)))
    # Two seconds hold a beat at any rate above 30 a minute; the lower quartile of their maxima is the size of an
    # ordinary QRS even where most windows hold a larger ectopic one.
    windows = np.array_split(energy, max(1, round(length / pooled_rate / 2)))
    threshold = 0.4 * np.quantile([window.max() for window in windows], 0.25)
    candidates, shape = find_peaks(energy, height=0.5 * threshold, distance=max(1, round(0.25 * pooled_rate)))
    chosen = shape["peak_heights"] >= threshold
    peaks = candidates[chosen]
    if peaks.size > 2:
        gap = 1.7 * np.median(np.diff(peaks))
        for left, right in zip(peaks[:-1], peaks[1:], strict=True):
            if right - left > gap:
                margin = 0.3 * gap / 1.7
                chosen |= (candidates > left + margin) & (candidates < right - margin)
        peaks = candidates[chosen]
    return peaks * step + step // 2


def median_beat(signal: np.ndarray, position: np.ndarray, rate: float) -> MedianBeat | None:
    """Median beat of `signal` (12, time) free of wander; None with fewer than two whole beats.

    Beats are aligned within 40 ms on the projection of the leads in which the QRS is largest.
    """
    before, after, reach = round(BEFORE * rate), round(AFTER * rate), round(0.04 * rate)
    time = signal.shape[-1]
    position = position[(position >= before + reach) & (position + after + reach <= time)]
    if position.size < 2:
        return None
    live = np.ptp(signal, axis=-1) > 0
    half = round(0.06 * rate)
    qrs = signal[:, position[:, None] + np.arange(-half, half)]
    typical = np.median(qrs, axis=1)
    direction = np.linalg.svd(typical[live], full_matrices=False)[0][:, 0]
    line, template = direction @ signal[live], direction @ typical[live]
    template = template - template.mean()
    lags = np.arange(-reach, reach + 1)
    windows = np.lib.stride_tricks.sliding_window_view(line, 2 * half)[position[:, None] + lags - half]
    agreement = (windows - windows.mean(axis=-1, keepdims=True)) @ template
    position = position + lags[agreement.argmax(axis=1)]
    beats = signal[:, position[:, None] + np.arange(-before, after)].transpose(1, 0, 2)
    leads = np.median(beats, axis=0)
    leads[~live] = np.nan
    return MedianBeat(leads, before, beats, position)


@cache
def _filter(kind: str, edge: float | tuple[float, float], rate: float) -> np.ndarray:
    """Second-order Butterworth sections; designing one takes longer than applying it, so each is kept."""
    return butter(2, edge, kind, fs=rate, output="sos")

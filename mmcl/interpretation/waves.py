"""Which samples of a recording are P wave, QRS complex, ST segment and T wave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmcl.data.ecg_beats import detect_qrs
from mmcl.data.ecg_features import measure

WAVES = ("P", "QRS", "ST", "T")
"""From P onset to QRS onset; QRS onset to J; 80 ms from J; the rest of the QT interval."""

ST_LENGTH = 0.08
"""Seconds from J in which ST deviation is read (J + 60 to 80 ms)."""

VENTRICULAR = 2
"""Of `Fiducials.ectopic`: a beat whose waves are not those of the others."""


@dataclass(frozen=True)
class Fiducials:
    """Times of n recordings, s: `r` (n, beats) R peaks, NaN-padded; `pr`, `qrs`, `qt` (n,) intervals, NaN if absent.

    `ectopic` (n, beats): beats marked VENTRICULAR are left out.
    """

    r: np.ndarray
    pr: np.ndarray
    qrs: np.ndarray
    qt: np.ndarray
    ectopic: np.ndarray


def delineate(ecg: np.ndarray, rate: float) -> Fiducials:
    """Fiducials found in recordings `ecg` (n, 12, time): QRS complexes, and the intervals of the median beat."""
    found = [detect_qrs(np.asarray(record, dtype=np.float64), rate) / rate for record in ecg]
    r = np.full((len(ecg), max(len(beats) for beats in found)), np.nan)
    for row, beats in zip(r, found, strict=True):
        row[: len(beats)] = beats
    intervals = measure(ecg, rate)[["pr", "qrs_duration", "qt"]].to_numpy().T / 1000
    return Fiducials(r, *intervals, np.zeros(r.shape, dtype=int))


def label_waves(ecg: np.ndarray, rate: float, fiducials: Fiducials) -> tuple[np.ndarray, np.ndarray]:
    """Wave of each sample of `ecg` (n, 12, time) at `rate` Hz, uint8 (n, time), and QRS onset after each R (n,), s.

    1 to 4 in the order of WAVES, 0 for none. The QRS complex is as long as its interval says and lies where it holds
    most of the potentials' change. A wave whose interval is missing is not labelled; where QRS is missing nothing is.
    """
    labels = np.zeros((len(ecg), ecg.shape[2]), dtype=np.uint8)
    onsets = np.full(len(ecg), np.nan)
    time = np.arange(ecg.shape[2]) / rate
    for row in range(len(ecg)):
        usual = np.isfinite(fiducials.r[row]) & (fiducials.ectopic[row] != VENTRICULAR)
        r, qrs = fiducials.r[row, usual], fiducials.qrs[row]
        if not (len(r) and np.isfinite(qrs)):
            continue
        onsets[row] = _qrs_onset(np.asarray(ecg[row], dtype=np.float64), rate, r, qrs)
        for beat in r + onsets[row]:
            edges = (beat - fiducials.pr[row], beat, beat + qrs, beat + qrs + ST_LENGTH, beat + fiducials.qt[row])
            for wave, (start, stop) in enumerate(zip(edges[:-1], edges[1:], strict=True), 1):
                # Comparisons with NaN are False. A later beat's P wave ends an earlier one's T wave.
                labels[row, (time >= start) & (time < stop)] = wave
    return labels, onsets


def _qrs_onset(ecg: np.ndarray, rate: float, r: np.ndarray, qrs: float) -> float:
    """Seconds, 0 or less, from R to the onset at which a complex of length `qrs` holds most of the change of `ecg`."""
    speed = np.abs(np.diff(ecg, axis=1, prepend=ecg[:, :1])).sum(axis=0)
    covered = np.concatenate([[0.0], np.cumsum(speed)])
    starts = -np.arange(round(qrs * rate) + 1)
    first = np.round(r * rate).astype(int)[:, None] + starts
    last = np.clip(first + max(1, round(qrs * rate)), 0, len(speed))
    held = (covered[last] - covered[np.clip(first, 0, len(speed))]).sum(axis=0)
    return float(starts[held.argmax()] / rate)

"""Classical 12-lead measurements, as on a cardiology report: rate, intervals, axis, amplitudes, voltage indices.

Measured on the median beat, all leads together: QRS onset and end where the spatial velocity falls silent; P and T on
the projection of the leads in which that wave is largest, P at a tenth of its height, T end by the tangent of its
descent (Lepeschkin and Surawicz 1952).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter1d

from mmcl.config import LEADS
from mmcl.data.ecg_beats import MedianBeat, detect_qrs, median_beat, remove_wander

_INTERVALS = (
    "heart_rate",
    "rr_sd",
    "rmssd",
    "p_amplitude",
    "p_duration",
    "p_consistency",
    "pr",
    "qrs_duration",
    "qt",
    "qtc",
    "qrs_axis",
    "t_axis",
    "sokolow_lyon",
    "cornell",
)
FEATURES = _INTERVALS + tuple(f"{wave}_{lead}" for wave in ("Q", "R", "S", "ST", "T") for lead in LEADS)
"""Names and units of the measurements.

heart_rate /min; rr_sd, rmssd, p_duration, pr, qrs_duration, qt and qtc (Fridericia) ms; p_amplitude (largest over
leads) mV; p_consistency correlation of single P waves with the median one; axes degrees, (-180, 180]; sokolow_lyon (S
V1 + the larger R of V5, V6) and cornell (R aVL + S V3) mV. In each lead, mV against the PR level: R height, Q and S
depth (positive; a QS complex counts as both), ST at J + 60 ms, T at its extreme, signed.
"""

_LIMB = {lead: LEADS.index(lead) for lead in ("I", "aVF")}


def measure(ecg: np.ndarray, sampling_rate: float = 500) -> pd.DataFrame:
    """Measurements of records (n, 12, time) in mV: n rows, columns FEATURES, NaN where one cannot be measured.

    A preprocessed record serves too; its amplitudes then count in standard deviations of the lead group, and only
    their ratios within a group mean something. Values that are not finite count as no signal.
    """
    ecg = np.asarray(ecg)
    if ecg.ndim != 3 or ecg.shape[1] != len(LEADS):
        raise ValueError(f"ecg has shape {ecg.shape}; expected (records, 12, time)")
    if ecg.shape[2] < 2 * sampling_rate:
        raise ValueError(f"records hold {ecg.shape[2] / sampling_rate:.1f} s; expected at least 2 s")
    rows = [_measure_one(record, sampling_rate) for record in ecg]
    return pd.DataFrame(rows, columns=list(FEATURES), dtype=np.float64)


def _measure_one(record: np.ndarray, rate: float) -> dict[str, float]:
    record = np.nan_to_num(record.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    flat = np.ptp(record, axis=-1) == 0
    signal = remove_wander(record, rate)
    signal[flat] = 0.0
    position = detect_qrs(signal, rate)
    beat = median_beat(signal, position, rate)
    if beat is None:
        return {}
    interval = np.diff(position) / rate
    found = {
        "heart_rate": 60 / np.mean(interval),
        "rr_sd": 1000 * np.std(interval),
        "rmssd": 1000 * np.sqrt(np.mean(np.diff(interval) ** 2)) if interval.size > 1 else np.nan,
    }
    return found | _waves(beat, float(np.median(interval)), rate)


def _waves(beat: MedianBeat, interval: float, rate: float) -> dict[str, float]:
    """Intervals and amplitudes of the median beat; `interval` is the median RR in s."""
    onset, end = _qrs_limits(beat, rate)
    level = beat.leads[:, max(0, onset - round(0.016 * rate)) : onset + 1].mean(axis=1, keepdims=True)
    leads = beat.leads - level
    live = np.isfinite(leads[:, 0])
    found = {"qrs_duration": 1000 * (end - onset) / rate} | _amplitudes(leads, onset, end, rate)
    net = leads[:, onset : end + 1].sum(axis=1)
    found["qrs_axis"] = _axis(net)

    # The next beat's P wave bounds the T wave of a fast heart.
    last = min(leads.shape[1], beat.qrs + round((interval - 0.2) * rate))
    first = end + round(0.06 * rate)
    t_end = None
    if last - first > round(0.1 * rate):
        t_wave = leads[:, first:last]
        found |= {f"T_{lead}": value for lead, value in zip(LEADS, _extreme(t_wave), strict=True)}
        found["t_axis"] = _axis(t_wave.sum(axis=1))
        line, _ = _principal(t_wave[live])
        crossing = _tangent_end(line)
        if crossing is not None:
            t_end = first + crossing
            qt = (t_end - onset) / rate
            found["qt"], found["qtc"] = 1000 * qt, 1000 * qt / np.cbrt(interval)

    stop = onset - round(0.012 * rate)
    previous_t = int(onset - 0.24 * rate if t_end is None else t_end - interval * rate + 0.02 * rate)
    return found | _p_wave(beat, leads, live, max(0, previous_t), stop, onset, rate)


def _qrs_limits(beat: MedianBeat, rate: float) -> tuple[int, int]:
    """Samples of QRS onset and end: the spatial velocity below 5 % of its peak, noise added, for 12 ms on end."""
    leads = beat.leads[np.isfinite(beat.leads[:, 0])]
    smooth = uniform_filter1d(leads, max(1, round(0.008 * rate)), axis=1)
    speed = np.sqrt((np.gradient(smooth, axis=1) ** 2).sum(axis=0))
    reach = round(0.06 * rate)
    start = beat.qrs - reach + int(speed[beat.qrs - reach : beat.qrs + reach].argmax())
    noise = np.quantile(speed, 0.2)
    silent = speed < noise + 0.05 * (speed[start] - noise)
    hold = max(2, round(0.012 * rate))
    run = np.convolve(silent, np.ones(hold), "valid") == hold
    earliest, latest = max(0, start - round(0.12 * rate)), min(run.size, start + round(0.16 * rate))
    left = np.flatnonzero(run[earliest : max(earliest, start - hold)])
    right = np.flatnonzero(run[start:latest])
    onset = earliest + left[-1] + hold - 1 if left.size else earliest + int(speed[earliest:start].argmin())
    end = start + right[0] if right.size else start + int(speed[start:latest].argmin())
    return int(onset), int(end)


def _amplitudes(leads: np.ndarray, onset: int, end: int, rate: float) -> dict[str, float]:
    """Q, R, S and ST of each lead, and the voltage indices."""
    qrs = leads[:, onset : end + 1]
    with np.errstate(invalid="ignore"):
        peak = np.nan_to_num(qrs).argmax(axis=1)
        r = np.maximum(qrs.max(axis=1), 0)
        depth = np.maximum(-qrs.min(axis=1), 0)
        before = np.arange(qrs.shape[1]) <= peak[:, None]
        q = np.maximum(-np.where(before, qrs, 0).min(axis=1), 0) + 0 * r
        s = np.maximum(-np.where(before, 0, qrs).min(axis=1), 0) + 0 * r
        whole = r < 0.05 * depth
    q, s = np.where(whole, depth, q), np.where(whole, depth, s)
    st = leads[:, min(end + round(0.06 * rate), leads.shape[1] - 1)]
    found = {}
    for name, values in (("Q", q), ("R", r), ("S", s), ("ST", st)):
        found |= {f"{name}_{lead}": value for lead, value in zip(LEADS, values, strict=True)}
    found["sokolow_lyon"] = found["S_V1"] + max(found["R_V5"], found["R_V6"])
    found["cornell"] = found["R_aVL"] + found["S_V3"]
    return found


def _p_wave(
    beat: MedianBeat, leads: np.ndarray, live: np.ndarray, start: int, stop: int, onset: int, rate: float
) -> dict[str, float]:
    """P amplitude, duration, consistency and PR; no wave is reported unless single beats repeat it."""
    if stop - start < round(0.08 * rate):
        return {}
    segment = leads[live, start:stop]
    line, direction = _principal(segment)
    single = np.einsum("l,blt->bt", direction, beat.beats[:, live, start:stop])
    single = single - single.mean(axis=1, keepdims=True)
    centred = line - line.mean()
    size = np.linalg.norm(single, axis=1) * np.linalg.norm(centred)
    consistency = float(np.mean(single @ centred / np.maximum(size, 1e-12)))
    found = {"p_consistency": consistency}
    peak = int(np.abs(line).argmax())
    if consistency < 0.5 or peak < round(0.02 * rate) or peak > line.size - round(0.01 * rate):
        return found
    # A tangent would cut the slow rise of a P wave short by some 20 ms, so a tenth of its height bounds it.
    # Each side has its own foot: the level before P is not always that of the PR segment.
    smooth = uniform_filter1d(line, max(1, round(0.01 * rate)))
    rise, fall = smooth[: peak + 1], smooth[peak:]
    begin = int(np.flatnonzero(rise <= rise.min() + 0.1 * (smooth[peak] - rise.min()))[-1])
    finish = peak + int(np.flatnonzero(fall <= fall.min() + 0.1 * (smooth[peak] - fall.min()))[0])
    if not 0.04 <= (finish - begin) / rate <= 0.2:
        return found
    return found | {
        "p_amplitude": float(np.abs(segment[:, peak]).max()),
        "p_duration": 1000 * (finish - begin) / rate,
        "pr": 1000 * (onset - start - begin) / rate,
    }


def _principal(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leads (leads, time) projected on the direction of largest power, its extreme upwards: (time,); the direction."""
    direction = np.linalg.svd(wave, full_matrices=False)[0][:, 0]
    line = direction @ wave
    sign = np.sign(line[np.abs(line).argmax()]) or 1.0
    return sign * line, sign * direction


def _tangent_end(line: np.ndarray) -> float | None:
    """Where the tangent at the steepest descent after the peak of `line` meets zero, in samples; None if outside it."""
    peak = int(line.argmax())
    slope = np.gradient(uniform_filter1d(line, 5))
    if line.size - peak < 4:
        return None
    steepest = peak + int(slope[peak:].argmin())
    if slope[steepest] >= 0:
        return None
    crossing = steepest - line[steepest] / slope[steepest]
    return float(crossing) if peak < crossing <= line.size + 2 else None


def _extreme(wave: np.ndarray) -> np.ndarray:
    """Signed value of largest size of each lead; NaN for a lead without signal."""
    place = np.abs(np.nan_to_num(wave)).argmax(axis=1)
    return wave[np.arange(wave.shape[0]), place]


def _axis(net: np.ndarray) -> float:
    """Frontal axis in degrees from net areas (12,) in I and aVF; aVF is scaled to the length of I's lead vector."""
    return float(np.degrees(np.arctan2(net[_LIMB["aVF"]] * 2 / np.sqrt(3), net[_LIMB["I"]])))

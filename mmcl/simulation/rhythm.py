"""Rhythm: when the ventricles beat during the recording, in sinus rhythm and in atrial fibrillation."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mmcl.config import RECORD_SECONDS
from mmcl.simulation.parameters import parameters
from mmcl.simulation.random import normal, uniform

P = parameters("rhythm")

HISTORY = 2.5
"""Seconds before the recording at which the series begins, so that waves of earlier beats reach into it."""


@dataclass(frozen=True)
class Rhythm:
    """Beats of each recording.

    `onset` (n, beats) s, when each ventricular activation begins, from `HISTORY` before the recording until after its
    end; `interval` (n, beats) s, the RR interval before each beat; `breathing` (n, 2): rate in Hz and phase in rad.
    """

    onset: torch.Tensor
    interval: torch.Tensor
    breathing: torch.Tensor


def sample_rhythm(
    seed: int, subject: torch.Tensor, heart_rate: torch.Tensor, age: torch.Tensor, in_af: torch.Tensor
) -> Rhythm:
    """Draw the beats for mean `heart_rate` (n,) per minute and `age` (n,) years; fibrillating where `in_af` (n,).

    Sinus rhythm swings with respiration and at 0.1 Hz; in fibrillation intervals are independent and log-normal.
    """
    breathing = torch.stack(
        [
            P.breathing_rate + P.breathing_spread * normal(seed, subject, "rhythm.breathing")[:, 0],
            2 * torch.pi * uniform(seed, subject, "rhythm.phase")[:, 0],
        ],
        dim=1,
    )
    breathing[:, 0].clamp_(*P.breathing_range)
    mean = 60 / heart_rate
    vagal = torch.exp(P.age_slope * (age - 60) + P.vagal_spread * normal(seed, subject, "rhythm.vagal")[:, 0])
    slow_phase = 2 * torch.pi * uniform(seed, subject, "rhythm.slow")[:, 0]
    # Enough for the shortest intervals throughout.
    beats = int((RECORD_SECONDS + HISTORY) / P.shortest_interval) + 3
    jitter = normal(seed, subject, "rhythm.jitter", beats)
    between = P.fibrillation_spread_sd * normal(seed, subject, "rhythm.fibrillation")[:, 0]
    spread = P.fibrillation_spread * torch.exp(between)
    irregular = mean[:, None] * torch.exp(spread[:, None] * jitter - spread[:, None] ** 2 / 2)
    time = mean * uniform(seed, subject, "rhythm.start")[:, 0] - HISTORY - mean
    onset, interval = [], []
    for beat in range(beats):
        swing = P.respiratory_spread * torch.sin(2 * torch.pi * breathing[:, 0] * time + breathing[:, 1])
        swing = swing + P.low_frequency_spread * torch.sin(2 * torch.pi * P.low_frequency * time + slow_phase)
        regular = mean + vagal * mean * (1.414 * swing + P.irregular_spread * jitter[:, beat])
        step = torch.where(in_af, irregular[:, beat], regular).clamp(min=P.shortest_interval)
        time = time + step
        onset.append(time)
        interval.append(step)
    return Rhythm(torch.stack(onset, dim=1), torch.stack(interval, dim=1), breathing)

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
    end; `interval` (n, beats) s, the RR interval before each beat; `ectopic` (n, beats) int64: 0 a beat of the usual
    rhythm, 1 an atrial, 2 a ventricular premature beat; `breathing` (n, 2): rate in Hz and phase in rad.
    """

    onset: torch.Tensor
    interval: torch.Tensor
    ectopic: torch.Tensor
    breathing: torch.Tensor


def sample_rhythm(
    seed: int, subject: torch.Tensor, heart_rate: torch.Tensor, age: torch.Tensor, in_af: torch.Tensor
) -> Rhythm:
    """Draw the beats for mean `heart_rate` (n,) per minute and `age` (n,) years; fibrillating where `in_af` (n,).

    Sinus rhythm swings with respiration and at 0.1 Hz; in fibrillation intervals are independent and log-normal. An
    atrial premature beat sets the sinus node back to its beginning; a ventricular one does not reach it, so that the
    pause makes up for its prematurity.
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
    ectopic = _ectopic_beats(seed, subject, age, in_af, mean, beats)
    low, high = P.ectopic_coupling
    early = 1 - (low + (high - low) * uniform(seed, subject, "rhythm.coupling", beats))
    lost = torch.zeros_like(mean)
    onset, interval = [], []
    for beat in range(beats):
        swing = P.respiratory_spread * torch.sin(2 * torch.pi * breathing[:, 0] * time + breathing[:, 1])
        swing = swing + P.low_frequency_spread * torch.sin(2 * torch.pi * P.low_frequency * time + slow_phase)
        regular = mean + vagal * mean * (1.414 * swing + P.irregular_spread * jitter[:, beat])
        step = torch.where(in_af, irregular[:, beat], regular)
        saved = torch.where(ectopic[:, beat] > 0, early[:, beat] * step, 0.0)
        step = (step - saved + lost).clamp(min=P.shortest_interval)
        lost = torch.where((ectopic[:, beat] == 2) & ~in_af, saved, 0.0)
        time = time + step
        onset.append(time)
        interval.append(step)
    return Rhythm(torch.stack(onset, dim=1), torch.stack(interval, dim=1), ectopic, breathing)


def _ectopic_beats(
    seed: int, subject: torch.Tensor, age: torch.Tensor, in_af: torch.Tensor, mean: torch.Tensor, beats: int
) -> torch.Tensor:
    """Kind of each beat (n, beats), see `Rhythm`: one or, in those prone to it, several premature beats a recording."""
    draws = uniform(seed, subject, "rhythm.ectopic", 4)
    each = uniform(seed, subject, "rhythm.ectopic-beats", 2 * beats).reshape(-1, 2, beats)
    number = torch.arange(beats, device=subject.device)
    kinds = []
    for kind, (share, per_decade) in enumerate((P.atrial_premature, P.ventricular_premature)):
        any_ = draws[:, kind] < torch.sigmoid(share + per_decade * (age - 60) / 10)
        # The first lies within the recording, whatever the rate.
        place = ((HISTORY + 1 + (RECORD_SECONDS - 2) * draws[:, 2 + kind]) / mean).long()
        further = (each[:, kind] < P.ectopic_further) & (number > place[:, None] + 1)
        kinds.append(any_[:, None] & ((number == place[:, None]) | further))
    atrial, ventricular = kinds
    premature = torch.where(ventricular, 2, (atrial & ~in_af[:, None]).long())
    # No two in a row: a couplet would need a focus of its own.
    follows = torch.nn.functional.pad(premature[:, :-1], (1, 0)) > 0
    return torch.where(follows, 0, premature)

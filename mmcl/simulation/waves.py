"""Amplitudes and durations of the P, Q, R, S and T waves of a noise-free beat, as an ECG computer measures them.

Every amplitude is taken from the level at the onset of the QRS complex. A Q wave is what is negative before the first
positive wave, R the highest positive wave, S what is negative after the first positive wave began; a QS complex counts
as Q and as S. A positive wave begins at 0.025 mV (Minnesota Code: Prineas et al. 2010, ISBN 978-1-84882-777-6).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mmcl.config import LEADS
from mmcl.simulation.electrocardiogram import BEFORE, QRS_LEVEL, STEP, Electrocardiogram

FIRST_POSITIVE = 0.025
"""mV that a positive wave must exceed to end a Q wave."""
NEGATIVE = 0.01
"""mV below the baseline from which the duration of a Q wave counts."""
EDGE = 0.04
"""Share of the greatest size of all leads at which a P wave begins and ends."""
CONTIGUOUS = {
    "anterior": ("V1", "V2", "V3", "V4", "V5", "V6"),
    "lateral": ("I", "aVL"),
    "inferior": ("II", "III", "aVF"),
}
"""Groups of neighbouring leads of the fourth universal definition of myocardial infarction."""


@dataclass(frozen=True)
class Waves:
    """Waves of n beats; amplitudes (n, 12) in mV in the order of LEADS.

    `q`, `r`, `s` at least 0; `t`, `st` (60 ms after the QRS complex) and `late` (mean of the last 50 ms of the complex)
    signed; `q_duration` (n, 12) ms; `qs` (n, 12) whether no positive wave is there; `p` the positive part of the P wave
    and `p_duration` (n,) ms, NaN without P wave.
    """

    q: torch.Tensor
    r: torch.Tensor
    s: torch.Tensor
    t: torch.Tensor
    st: torch.Tensor
    late: torch.Tensor
    q_duration: torch.Tensor
    qs: torch.Tensor
    p: torch.Tensor
    p_duration: torch.Tensor


def measure_waves(ecg: Electrocardiogram) -> Waves:
    """Waves of `ecg.beat`, whose QRS complex lasts `ecg.qrs` ms."""
    beat = ecg.beat
    time = torch.arange(beat.shape[-1], device=beat.device) * STEP - BEFORE
    onset = qrs_onset(beat)
    end = onset + ecg.qrs.to(onset)
    level = beat.gather(2, _index(onset)[:, None, None].expand(-1, beat.shape[1], 1))
    beat = beat - level
    q, r, s, q_duration, qs = _complex(beat, (time >= onset[:, None]) & (time <= end[:, None]))
    later = torch.where((time > end[:, None] + 40)[:, None], beat, 0.0)
    t = later.gather(2, later.abs().argmax(dim=2, keepdim=True))[..., 0]
    st = beat.gather(2, _index(end + 60)[:, None, None].expand(-1, beat.shape[1], 1))[..., 0]
    last = ((time > end[:, None] - 50) & (time <= end[:, None])).to(beat)
    late = (beat * last[:, None]).sum(dim=2) / last.sum(dim=1, keepdim=True)
    p, p_duration = _atrial(beat + level, time < onset[:, None] - STEP, ecg.pr)
    return Waves(q, r, s, t, st, late, q_duration, qs, p, p_duration)


def qrs_onset(beat: torch.Tensor) -> torch.Tensor:
    """Onset (n,) of the QRS complex in ms after the first breakthrough, of beats (n, 12, samples) from -`BEFORE`.

    Found backwards from the peak, so that a P wave that runs into the complex does not move it further than 50 ms.
    """
    first, last = _sample(-50.0), _sample(200.0)
    size = beat[..., first:last].square().mean(dim=1).sqrt()
    peak = size.argmax(dim=1, keepdim=True)
    index = torch.arange(size.shape[1], device=size.device)
    quiet = (size <= QRS_LEVEL) & (index < peak)
    onset = torch.where(quiet, index, 0).amax(dim=1)
    return ((first + onset) * STEP - BEFORE).to(beat)


def pathological_q(waves: Waves) -> dict[str, torch.Tensor]:
    """Q waves of an old infarct by group of leads, bool (n,) each, and `any`.

    Fourth universal definition (Thygesen et al. 2018, Circulation 138:e618): Q of 20 ms or QS in V2 or V3; or Q of
    30 ms and 0.1 mV, or QS, in two neighbouring leads of a group.
    """
    wide = ((waves.q_duration >= 30) & (waves.q >= 0.1)) | (waves.qs & (waves.q >= 0.1))
    early = ((waves.q_duration >= 20) & (waves.q >= NEGATIVE)) | waves.qs
    found = {}
    for group, leads in CONTIGUOUS.items():
        chosen = [wide[:, LEADS.index(lead)] for lead in leads]
        pairs = zip(chosen[:-1], chosen[1:], strict=True)
        found[group] = torch.stack([a & b for a, b in pairs]).any(dim=0)
    found["inferior"] |= wide[:, LEADS.index("II")] & wide[:, LEADS.index("aVF")]
    found["anterior"] |= early[:, LEADS.index("V2")] | early[:, LEADS.index("V3")]
    found["any"] = torch.stack(list(found.values())).any(dim=0)
    return found


def _complex(beat: torch.Tensor, inside: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Amplitudes of Q, R and S, duration of Q and whether the complex is QS, each (n, 12)."""
    beat = torch.where(inside[:, None], beat, 0.0)
    index = torch.arange(beat.shape[-1], device=beat.device)
    first = torch.where(beat > FIRST_POSITIVE, index, beat.shape[-1]).amin(dim=2, keepdim=True)
    depth = (-beat).clamp(min=0)
    q = torch.where(index < first, depth, 0.0).amax(dim=2)
    qs = first[..., 0] == beat.shape[-1]
    s = torch.where(qs, q, torch.where(index >= first, depth, 0.0).amax(dim=2))
    r = torch.where(qs, 0.0, beat.amax(dim=2))
    return q, r, s, ((depth > NEGATIVE) & (index < first)).sum(dim=2) * STEP, qs


def _atrial(beat: torch.Tensor, before: torch.Tensor, pr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Positive amplitude (n, 12) and duration (n,) of the P wave, `before` the QRS complex; NaN where `pr` is.

    The wave ends where lead II, nearly parallel to it, comes back: what follows is the atria's repolarisation.
    """
    wave = torch.where(before[:, None], beat, 0.0)
    size, two = wave.square().mean(dim=1).sqrt(), wave[:, LEADS.index("II")]
    index = torch.arange(size.shape[1], device=size.device)
    begun = size > EDGE * size.amax(dim=1, keepdim=True)
    lasting = two > EDGE * two.amax(dim=1, keepdim=True)
    first = torch.where(begun, index, size.shape[1]).amin(dim=1)
    last = torch.where(lasting, index, -1).amax(dim=1)
    absent = torch.isnan(pr).to(beat.device)
    return (
        torch.where(absent[:, None], torch.nan, wave.amax(dim=2)),
        torch.where(absent, torch.nan, ((last - first + 1) * STEP).to(beat)),
    )


def _sample(time: float) -> int:
    """Sample of a beat at `time` ms after the first breakthrough."""
    return round((time + BEFORE) / STEP)


def _index(time: torch.Tensor) -> torch.Tensor:
    """Samples (n,) of a beat at `time` ms after the first breakthrough."""
    return ((time + BEFORE) / STEP).round().long()

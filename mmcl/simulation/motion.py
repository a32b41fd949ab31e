"""Motion through a beat: when each part of the ventricles contracts, how the wall turns, and when the cavity is least.

Contraction is a phase from 0 (end-diastole, the first frame) to 1. A segment that activates late contracts and relaxes
late, so that dyssynchrony follows activation. Images, masks and phenotypes share this motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mmcl.simulation.anatomy import Shape, across_planes, cavity_volumes, level_of
from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People

P = parameters("motion")

MOMENTS = 13  # between which the least cavity of a beat is sought
LATEST = 0.25  # share of the beat after end-systole of timely muscle in which the least cavity lies


@dataclass(frozen=True)
class Beating:
    """What moves: `people`, `shape`, `heart_rate` (n,) /min, and `segment_delay` (n, 16) ms of late activation."""

    people: People
    shape: Shape
    heart_rate: torch.Tensor
    segment_delay: torch.Tensor


def beat_phase(hearts: Beating, frames: int) -> torch.Tensor:
    """Contraction (n, frames), 0 at end-diastole (frame 0) to 1 at end-systole, at equal steps over the RR interval.

    That of muscle activated on time, of the long axis and of the right ventricle.
    """
    return _phase(hearts, _frame_times(hearts, frames)[..., None], hearts.heart_rate.new_zeros(1, 1))[..., 0]


def segment_phase(hearts: Beating, frames: int) -> torch.Tensor:
    """Contraction (n, frames, 16) of each segment, late by its activation; 0 in frame 0."""
    return _phase(hearts, _frame_times(hearts, frames)[..., None], hearts.segment_delay)


def local_phase(
    shape: Shape, height: torch.Tensor, phase: torch.Tensor, segments: torch.Tensor, angle: torch.Tensor
) -> torch.Tensor:
    """Contraction (n, planes, angles) where planes cut the wall: the `local` of `anatomy.contours`.

    `height` (n, planes) m, `phase` (n, planes) of the whole heart, `segments` (n, planes, 16) of each segment at the
    moment of each plane, `angle` (angles,).
    """
    return across_planes(segments, level_of(shape, height, phase).clamp(0, 1), angle)


def end_systole(hearts: Beating, frames: int) -> torch.Tensor:
    """Frame (n,) int64 of the least left ventricular cavity among `frames` of a beat."""
    beat = 60 / hearts.heart_rate
    first = (_systole(hearts) / beat * frames).long()
    # The least cavity comes soon after the timely muscle's end-systole, when the latest segments reach theirs.
    chosen = first[:, None] + torch.arange(2 + int(LATEST * frames), device=first.device)
    chosen = chosen.clamp(max=frames - 1)
    time = (chosen / frames * beat[:, None])[..., None]
    phase = _phase(hearts, time, beat.new_zeros(1, 1))[..., 0]
    least = _volumes(hearts.shape, phase, _phase(hearts, time, hearts.segment_delay)).argmin(1, keepdim=True)
    return chosen.gather(1, least)[:, 0]


def least_cavity(hearts: Beating) -> tuple[torch.Tensor, torch.Tensor]:
    """Phase (n,) of the whole heart and (n, 16) of each segment when the left ventricular cavity is least."""
    share = torch.linspace(0, 1, MOMENTS, dtype=hearts.heart_rate.dtype, device=hearts.heart_rate.device)
    wait = hearts.segment_delay.amax(1).clamp(min=0) / 1000
    time = (_systole(hearts)[:, None] + wait[:, None] * share)[..., None]
    phase = _phase(hearts, time, hearts.heart_rate.new_zeros(1, 1))[..., 0]
    segments = _phase(hearts, time, hearts.segment_delay)
    least = _volumes(hearts.shape, phase, segments).argmin(1, keepdim=True)
    return phase.gather(1, least)[:, 0], segments.gather(1, least[..., None].expand(-1, 1, 16))[:, 0]


def twist(level: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """Angle in rad by which material at `level` (0 base, 1 apex) has turned about the long axis at `phase`; broadcast.

    Positive counter-clockwise in the image, that is seen from the apex: the way of the apex; the base goes the other.
    """
    base, apex = (math.radians(angle) for angle in (P.twist_base, P.twist_apex))
    return (base + (apex - base) * level.clamp(0, 1)) * phase


def _volumes(shape: Shape, phase: torch.Tensor, segments: torch.Tensor) -> torch.Tensor:
    """Cavity volume (n, moments) m3; `phase` (n, moments), `segments` (n, moments, 16). One moment at a time."""
    moments = zip(phase.unbind(1), segments.unbind(1), strict=True)
    return torch.stack([cavity_volumes(shape, *moment, planes=8, angles=12)[0] for moment in moments], 1)


def _frame_times(hearts: Beating, frames: int) -> torch.Tensor:
    """Seconds (n, frames) after end-diastole."""
    beat = (60 / hearts.heart_rate)[:, None]
    return torch.arange(frames, dtype=beat.dtype, device=beat.device) / frames * beat


def _systole(hearts: Beating) -> torch.Tensor:
    """Seconds (n,) from end-diastole to the end of contraction of muscle activated on time."""
    return P.systole + P.systole_per_rate * hearts.heart_rate


def _phase(hearts: Beating, time: torch.Tensor, delay: torch.Tensor) -> torch.Tensor:
    """Contraction (n, moments, parts) at `time` (n, moments, 1) s of parts that activate `delay` (n, parts) ms late."""
    late = delay[:, None] / 1000
    beat = (60 / hearts.heart_rate)[:, None, None]
    start, end = P.onset + late, _systole(hearts)[:, None, None] + late
    filling = (time - end) / (beat - end)
    early = (P.early_filling / (beat - end)).clamp(max=0.8)
    people = hearts.people
    atrial = P.atrial_share + P.atrial_per_year * (people.age - 60) + P.atrial_hypertension * people.hypertension
    atrial = torch.where(people.in_af, 0.0, atrial)[:, None, None]
    relaxed = (1 - atrial) * _ease(filling / early) + atrial * _ease(1 - (1 - filling) / P.atrial_duration)
    return torch.where(time < end, _ease((time - start) / (end - start)), 1 - relaxed)


def _ease(x: torch.Tensor) -> torch.Tensor:
    """Smooth rise from 0 to 1 while `x` does."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)

"""Regional measures of a ventricle's shape: wall thickness and strain of the AHA segments."""

from __future__ import annotations

import math
from functools import cache

import torch

from mmcl.simulation.anatomy import (
    BAND_EDGES,
    Contours,
    Shape,
    across_levels,
    contours,
    height_of,
    segment_of,
    segment_rings,
)

LEVELS_PER_BAND, ANGLES = 3, 72  # sampling points of a segment's mean
ELL_SPANS = ((math.pi, 0, 1), (math.pi, 1, 2), (math.pi, 2, 3), (0.0, 2, 3), (0.0, 1, 2), (0.0, 0, 1))
"""Angle and band of each longitudinal segment: septum base to apex, then lateral wall apex to base (order assumed)."""


def segment_strain(
    shape: Shape, phase: torch.Tensor, segments: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Means over each AHA segment, each (n, 16): end-diastolic in-plane thickness (m), and end-systolic strains.

    Circumferential strain is that of the mid-wall ring, radial strain that of the thickness, both signed fractions.
    `phase` (n,) and `segments` (n, 16) are the contraction of the whole and of each segment at end-systole.
    """
    level, angle, segment = (x.to(shape.length.device) for x in _sampling())
    relaxed = _cut(shape, level, angle, torch.zeros_like(phase), torch.zeros_like(segments))
    contracted = _cut(shape, level, angle, phase, segments)
    before, after = relaxed.epi - relaxed.endo, contracted.epi - contracted.endo
    maps = (before, contracted.mid / relaxed.mid - 1, after / before - 1)
    thickness, ecc, err = (torch.stack([x[:, segment == k].mean(1) for k in range(16)], 1) for x in maps)
    return thickness, ecc, err


def longitudinal_strain(shape: Shape, phase: torch.Tensor, segments: torch.Tensor, points: int = 9) -> torch.Tensor:
    """Change of the mid-wall's length in a long-axis plane from end-diastole to end-systole, (n, 6) fractions.

    `phase` and `segments` as for `segment_strain`.
    """
    angle = torch.tensor([span[0] for span in ELL_SPANS], dtype=torch.float64, device=shape.length.device)
    strains = []
    for k, (_, first, last) in enumerate(ELL_SPANS):
        level = torch.linspace(BAND_EDGES[first], BAND_EDGES[last], points, dtype=torch.float64, device=angle.device)
        lengths = []
        for moment, local in ((torch.zeros_like(phase), torch.zeros_like(segments)), (phase, segments)):
            height = height_of(shape, level, moment[:, None])
            radius = _cut(shape, level, angle[k : k + 1], moment, local).mid[..., 0]
            lengths.append((height.diff(dim=1) ** 2 + radius.diff(dim=1) ** 2).sqrt().sum(1))
        strains.append(lengths[1] / lengths[0] - 1)
    return torch.stack(strains, 1)


def _cut(
    shape: Shape, level: torch.Tensor, angle: torch.Tensor, phase: torch.Tensor, segments: torch.Tensor
) -> Contours:
    height = height_of(shape, level, phase[:, None])
    local = across_levels(segment_rings(segments, angle), level)
    return contours(shape, height, phase[:, None].expand_as(height), angle, local)


@cache
def _sampling() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Levels, angles and the segment (levels, angles) where they meet."""
    step = (torch.arange(LEVELS_PER_BAND, dtype=torch.float64) + 0.5) / LEVELS_PER_BAND
    level = torch.cat([low + (high - low) * step for low, high in zip(BAND_EDGES[:-1], BAND_EDGES[1:], strict=True)])
    angle = (torch.arange(ANGLES, dtype=torch.float64) + 0.5) * (2 * math.pi / ANGLES)
    return level, angle, segment_of(level[:, None], angle[None, :])

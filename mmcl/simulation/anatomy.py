"""Shape of the ventricles and its motion: the one geometry that images, masks, phenotypes and ECG share.

The left ventricle is a truncated prolate ellipsoid along its long axis. `level` runs from the base plane (0) to the
apex (1), `angle` around the axis as in a short-axis image: 0 lateral (image right), pi/2 anterior (up), pi septal
(left), 3 pi/2 inferior; `depth` from endocardium (0) to epicardium (1). The material point (level, angle, depth) of the
relaxed heart lies at height level (length + depth apex) below the base plane and at radius
(radius + depth thickness) f(level).

Motion: the base descends towards a still apex by `shortening`; at every place the mid-wall ring shortens by
`contraction`; the wall thickens so that its volume is kept. The right ventricle is a crescent on the septum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch

from mmcl.simulation.parameters import parameters
from mmcl.simulation.random import power

P = parameters("anatomy")

BAND_EDGES = (0.0, 0.35, 0.65, 0.92)  # levels that part basal, mid, apical segments and the apical cap; AHA thirds

SEGMENT_LEVEL = (0.175,) * 6 + (0.5,) * 6 + (0.785,) * 4
"""Level of each AHA segment's centre."""

SEGMENT_ANGLE = tuple(math.radians((90 + 60 * k) % 360) for k in range(6)) * 2 + tuple(
    math.radians((90 + 90 * k) % 360) for k in range(4)
)
"""Angle of each AHA segment's centre: 1 and 7 anterior, then counter-clockwise by way of the septum; likewise 13-16."""

RING = (0,) * 6 + (1,) * 6 + (2,) * 4
"""Band of each segment: basal, mid-cavity, apical."""


@dataclass(frozen=True)
class Shape:
    """Geometry of both ventricles at end-diastole and its peak motion; metres, tensors (n,) unless said.

    `length` endocardial, base plane to apex; `radius` endocardial, at the equator; `thickness` (n, 16); `apex`
    thickness of the apical cap; `contraction` (n, 16) mid-wall circumferential strain at end-systole (negative);
    `shortening` longitudinal strain (negative); `rv_relaxed`, `rv_contracted` greatest depth of the crescent at
    end-diastole and end-systole.
    """

    length: torch.Tensor
    radius: torch.Tensor
    thickness: torch.Tensor
    apex: torch.Tensor
    contraction: torch.Tensor
    shortening: torch.Tensor
    rv_relaxed: torch.Tensor
    rv_contracted: torch.Tensor


@dataclass(frozen=True)
class Contours:
    """Radii in metres (n, planes, angles) of endocardium, mid-wall and epicardium; `level` (n, planes)."""

    endo: torch.Tensor
    mid: torch.Tensor
    epi: torch.Tensor
    level: torch.Tensor


def profile(level: torch.Tensor) -> torch.Tensor:
    """Radius of the unit ellipsoid at `level`; 0 beyond the apex."""
    return _square_profile(level, P.equator).sqrt()


def profile_area() -> float:
    """Integral of the squared profile over the levels 0 to 1."""
    return 1 - ((1 - P.equator) ** 3 + P.equator**3) / 3 / (1 - P.equator) ** 2


def segment_rings(values: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Smooth angular interpolation of segment `values` (n, 16) at `angle` (p,) in each band: (n, 3, p)."""
    weights = _angular_weights(angle.double()).to(values.dtype)
    terms = [values[:, k, None] * weights[k] for k in range(16)]
    # Added one by one: a matrix product's rounding depends on the batch.
    return torch.stack([sum(terms[RING.index(band) : 16 - RING[::-1].index(band)]) for band in range(3)], 1)


def across_levels(rings: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    """Smooth interpolation of `rings` (n, 3, p) at `level` (n, planes): (n, planes, p)."""
    weights = _band_weights(level)
    return sum(weights[..., k, None] * rings[..., k, None, :] for k in range(3))


def across_planes(values: torch.Tensor, level: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Segment values of each plane, (n, planes, 16), at its `level` (n, planes) and every `angle` (p,)."""
    rings = segment_rings(values.flatten(0, 1), angle)
    return across_levels(rings, level.flatten()[:, None])[:, 0].unflatten(0, level.shape)


def interpolate(values: torch.Tensor, level: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Segment `values` (n, 16) at pairs of `level` (p,) and `angle` (p,): (n, p). Constant values stay constant."""
    rings = segment_rings(values, angle)
    bands = _band_weights(level.to(values.dtype)).T
    return sum((rings * bands).unbind(1))


def segment_of(level: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Index 0-15 of the AHA segment at `level` and `angle` (broadcast), -1 in the apical cap and above the base."""
    turn = torch.remainder(angle - math.pi / 2, 2 * math.pi) / (2 * math.pi)
    six, four = (torch.remainder(torch.floor(turn * k + 0.5), k).long() for k in (6, 4))
    index = torch.where(level < BAND_EDGES[1], six, torch.where(level < BAND_EDGES[2], six + 6, four + 12))
    return torch.where((level < BAND_EDGES[0]) | (level >= BAND_EDGES[3]), -1, index)


def height_of(shape: Shape, level: torch.Tensor, phase: float | torch.Tensor) -> torch.Tensor:
    """Height (n, planes) m below the relaxed base plane of the epicardial `level` (planes,).

    `phase` 0 at end-diastole to 1 at end-systole, a number or (n, 1).
    """
    top = (shape.length + shape.apex)[:, None]
    return top - top * (1 - level) * (1 + shape.shortening[:, None] * phase)


def level_of(shape: Shape, height: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """Level (n, planes) of the material that lies at `height` (n, planes) m at `phase` (n, planes)."""
    top = (shape.length + shape.apex)[:, None]
    return 1 - (top - height) / (1 + shape.shortening[:, None] * phase) / top


def contours(
    shape: Shape, height: torch.Tensor, phase: torch.Tensor, angle: torch.Tensor, local: torch.Tensor | None = None
) -> Contours:
    """Cut the beating left ventricle with short-axis planes.

    `height` (n, planes) m, position of each plane in space below the relaxed base plane; `phase` (n, planes) from 0
    (end-diastole) to 1 (end-systole); `angle` (angles,). `local` (n, planes, angles) is the phase of each place of the
    ring, where it differs from that of the whole. A negative `level` of the result lies above the base.
    """
    top = (shape.length + shape.apex)[:, None]
    scale = 1 + shape.shortening[:, None] * phase
    level = level_of(shape, height, phase)
    material = level * top
    within = level.clamp(0, 1)
    thickness = across_levels(segment_rings(shape.thickness, angle), within)
    contraction = across_levels(segment_rings(shape.contraction, angle), within)

    endo = (shape.radius[:, None] * profile(material / shape.length[:, None]))[..., None]
    epi = (shape.radius[:, None, None] + thickness) * profile(level)[..., None]
    mid = (endo + epi) / 2
    # A shorter wall of the same volume is wider in proportion.
    inner = (mid**2 - endo**2) / scale[..., None]
    ring = (1 + contraction * (phase[..., None] if local is None else local)) * mid
    endo_now = torch.maximum(ring**2 - inner, (P.closed_cavity * endo) ** 2)
    epi_now = (endo_now + (epi**2 - endo**2) / scale[..., None]).sqrt()
    return Contours(endo_now.sqrt(), (endo_now + inner).sqrt(), epi_now, level)


def free_wall(shape: Shape, cut: Contours, phase: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Radii (n, planes, angles) of the right ventricle's free wall around `cut`; the epicardium where there is none."""
    depth = shape.rv_relaxed[:, None] + (shape.rv_contracted - shape.rv_relaxed)[:, None] * phase
    return cut.epi + depth[..., None] * crescent(cut.level, angle)


def crescent(level: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Relative depth (n, planes, angles) of the right ventricle at `level` (n, planes) and `angle` (angles,)."""
    reach = (level / P.rv_tip).clamp(0, 1)[..., None]
    turn = torch.remainder(angle - P.rv_centre + math.pi, 2 * math.pi) - math.pi
    across = turn / torch.lerp(
        torch.full_like(reach, P.rv_half_width[0]), torch.full_like(reach, P.rv_half_width[1]), reach
    )
    # Slender towards the anterior insertion, blunt where it rests on the diaphragm; 1 where it is deepest.
    front, back = P.rv_bluntness
    deepest = (2 * front / (front + back)) ** front * (2 * back / (front + back)) ** back
    bulge = power((1 + across).clamp(min=0), front) * power((1 - across).clamp(min=0), back) / deepest
    return bulge * (1 - reach**2)


def cavity_volumes(
    shape: Shape,
    phase: float | torch.Tensor,
    segments: torch.Tensor | None = None,
    planes: int = 24,
    angles: int = 36,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Volumes (n,) in m3 of left ventricular cavity and myocardium, by the midpoint rule over `contours`.

    `phase` is a number or (n,); `segments` (n, 16) the phase of each segment, where they differ from it.
    """
    cut, step = _integration(shape, phase, segments, planes, angles)
    cavity = (cut.endo**2).mean(-1).sum(-1) * step * math.pi
    return cavity, (cut.epi**2).mean(-1).sum(-1) * step * math.pi - cavity


def rv_depth(
    shape: Shape,
    phase: float | torch.Tensor,
    volume: torch.Tensor,
    segments: torch.Tensor | None = None,
    planes: int = 24,
    angles: int = 72,
) -> torch.Tensor:
    """Greatest depth (n,) in metres of a crescent that holds `volume` (n,) m3: a quadratic equation.

    `phase` and `segments` as for `cavity_volumes`.
    """
    cut, step = _integration(shape, phase, segments, planes, angles)
    bulge = crescent(cut.level, _angles(angles, step))
    square = (bulge**2).mean(-1).sum(-1) * step * math.pi
    linear = (2 * bulge * cut.epi).mean(-1).sum(-1) * step * math.pi
    return (-linear + (linear**2 + 4 * square * volume).sqrt()) / (2 * square)


def wall_volume(length: torch.Tensor, radius: torch.Tensor, thickness: torch.Tensor) -> torch.Tensor:
    """Relaxed myocardial volume (n,) m3 of a wall of `thickness` (n, 16) m, exact for the interpolation used here."""
    first, second = (moment.to(thickness) for moment in _thickness_moments(P.equator))
    apex = P.apex_share * thickness.mean(1)
    linear = 2 * radius * (thickness * first).sum(1)
    area = radius**2 * profile_area()
    epicardium = area + linear + (thickness[:, :, None] * thickness[:, None] * second).sum((1, 2))
    return math.pi * ((length + apex) * epicardium - length * area)


def _integration(
    shape: Shape, phase: float | torch.Tensor, segments: torch.Tensor | None, planes: int, angles: int
) -> tuple[Contours, torch.Tensor]:
    """Contours at midpoints of equal levels, and the height (n,) of one layer at `phase`."""
    level = (torch.arange(planes, dtype=shape.length.dtype, device=shape.length.device) + 0.5) / planes
    phase = torch.zeros_like(shape.length) + phase
    height = height_of(shape, level, phase[:, None])
    angle = _angles(angles, shape.length)
    local = None if segments is None else across_levels(segment_rings(segments, angle), level)
    cut = contours(shape, height, phase[:, None].expand_as(height), angle, local)
    return cut, (shape.length + shape.apex) * (1 + shape.shortening * phase) / planes


def _angles(count: int, like: torch.Tensor) -> torch.Tensor:
    return torch.arange(count, dtype=like.dtype, device=like.device) * (2 * math.pi / count)


def _angular_weights(angle: torch.Tensor) -> torch.Tensor:
    """Weights (16, p) of the segments of each band at `angle` (p,); each band's sum to 1."""
    centre = torch.tensor(SEGMENT_ANGLE, dtype=angle.dtype, device=angle.device)[:, None]
    width = torch.tensor(
        [2 * math.pi / (4 if ring == 2 else 6) for ring in RING], dtype=angle.dtype, device=angle.device
    )
    apart = torch.remainder(angle - centre + math.pi, 2 * math.pi) - math.pi
    return _smooth_step(1 - apart.abs() / width[:, None])


def _band_weights(level: torch.Tensor) -> torch.Tensor:
    """Weights (..., 3) of basal, mid and apical band at `level`; they sum to 1."""
    basal, mid, apical = SEGMENT_LEVEL[0], SEGMENT_LEVEL[6], SEGMENT_LEVEL[12]
    lower = _smooth_step((level - basal) / (mid - basal))
    lowest = _smooth_step((level - mid) / (apical - mid))
    return torch.stack((1 - lower, lower - lowest, lowest), -1)


def _square_profile(level: torch.Tensor, equator: float) -> torch.Tensor:
    return (1 - ((level - equator) / (1 - equator)) ** 2).clamp(min=0)


def _smooth_step(x: torch.Tensor) -> torch.Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


@cache
def _thickness_moments(equator: float) -> tuple[torch.Tensor, torch.Tensor]:
    """First (16,) and second (16, 16) moments of the interpolation weights under the squared profile."""
    level = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    angle = torch.arange(240, dtype=torch.float64) * (2 * math.pi / 240)
    bands = _band_weights(level)[:, list(RING)]
    around = _angular_weights(angle)
    area = (_square_profile(level, equator) / level.numel())[:, None]
    first = (area * bands).sum(0) * around.mean(1)
    second = (bands.T @ (area * bands)) * (around @ around.T / angle.numel())
    return first, second

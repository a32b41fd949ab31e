"""How a heart looks where a short-axis plane cuts it: borders as radii around the long axis, tissue and labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mmcl.simulation.anatomy import Shape, across_levels, contours, free_wall, profile, segment_rings
from mmcl.simulation.heart import Hearts, atrial_radius
from mmcl.simulation.motion import local_phase, twist
from mmcl.simulation.parameters import parameters
from mmcl.simulation.random import normal, uniform
from mmcl.simulation.texture import ring, sample

P = parameters("short_axis")
ANATOMY = parameters("anatomy")
HEART = parameters("heart")
SCENE = parameters("scene")

ANGLES = 256  # samples of each border


@dataclass(frozen=True)
class Borders:
    """Borders in a batch of planes.

    Radii in mm, (n, planes, ANGLES), outwards: `endo` border of the left cavity, `scar`, `epi`, `rv` of the right
    cavity, `wall` outside the right ventricle's wall, `outer` outside the fat. Per plane (n, planes): `blur` mm of a
    slanting wall, `papillary` relative size, `level`, `turn` rad of the material, `squeeze` radius of the cavity over
    that in the first frame, `phase`.
    """

    endo: torch.Tensor
    scar: torch.Tensor
    epi: torch.Tensor
    rv: torch.Tensor
    wall: torch.Tensor
    outer: torch.Tensor
    blur: torch.Tensor
    papillary: torch.Tensor
    level: torch.Tensor
    turn: torch.Tensor
    squeeze: torch.Tensor
    phase: torch.Tensor


def trace_borders(
    seed: int,
    hearts: Hearts,
    shape: Shape,
    height: torch.Tensor,
    phase: torch.Tensor,
    segments: torch.Tensor,
    index: torch.Tensor,
) -> Borders:
    """Borders where planes at `height` (n, slices * frames) m cut the heart at `phase`, its `segments` (.., 16) at
    theirs.

    `index` (slices,) numbers the slices in the full stack; `shape` is that of `hearts` in single precision. Within a
    slice the first frame is end-diastole.
    """
    angle = _angles(height)
    cut = contours(shape, height, phase, angle, local_phase(shape, height, phase, segments, angle))
    endo, epi, rv = (1000 * radius for radius in (cut.endo, cut.epi, free_wall(shape, cut, phase, angle)))
    # Above the base plane lies the left atrium, filled when the ventricle is empty; the right heart stays beside it.
    beside = rv - epi
    atrium = _atrium(hearts, shape, cut.level, phase)[..., None]
    above = cut.level[..., None] < 0
    endo = torch.where(above, atrium, endo)
    epi = torch.where(above, atrium + P.atrial_wall, epi)
    rv = epi + beside
    wall = torch.maximum(rv + 1000 * HEART.rv_wall * ((rv - epi) / 3).clamp(0, 1), epi)
    frames = height.shape[1] // len(index)
    mean = endo.mean(-1).unflatten(1, (len(index), frames))
    squeeze = (mean / mean[:, :, :1].clamp(min=1)).clamp(0.3, 1.5).flatten(1)

    level = cut.level.clamp(0, 1)[..., None]
    groove = sum(torch.exp(10 * (torch.cos(angle - place) - 1)) for place in P.grooves)
    amount = (1 + P.fat_growth * (hearts.people.bmi - 26)).clamp(0.3, 2.5).float()[:, None, None]
    draw = uniform(seed, hearts.people.subject, "epicardial fat", 64)[:, index]
    smooth = ring("fat", draw, angle, 24).repeat_interleave(frames, 1)
    outer = wall + amount * (P.fat_layer * (1.8 * smooth - 0.2).clamp(min=0) + P.fat_groove * groove * (1.2 - level))
    depth = across_levels(segment_rings(hearts.transmurality.float(), angle), cut.level.clamp(0, 1))
    return Borders(
        endo=endo,
        scar=torch.where(depth > P.least_scar, endo + depth * (epi - endo), 0.0),
        epi=epi,
        rv=rv,
        wall=wall,
        outer=torch.where(epi.amax(-1, keepdim=True) > 0, outer, 0.0),
        blur=_slant(shape, cut.level),
        papillary=(1 - ((cut.level - P.papillary_level) / P.papillary_extent) ** 2).clamp(min=0).sqrt(),
        level=cut.level,
        turn=twist(cut.level, phase),
        squeeze=squeeze,
        phase=phase,
    )


def heart_window(borders: Borders, x: torch.Tensor, y: torch.Tensor) -> tuple[slice, slice]:
    """Rows and columns that hold every heart of the batch, so that only they need painting in each frame.

    `x` (n, slices, columns) mm to image right, `y` (n, slices, rows) mm up, both from the ventricle's long axis.
    """
    angle, reach = _angles(borders.outer), borders.outer.amax((0, 1))
    spans = []
    for place, direction in ((y, torch.sin(angle)), (x, torch.cos(angle))):
        low, high = (reach * direction).amin() - 8, (reach * direction).amax() + 8
        inside = ((place > low) & (place < high)).any(0).any(0).nonzero().flatten()
        spans.append(slice(int(inside[0]), int(inside[-1]) + 1))
    return spans[0], spans[1]


def draw_heart(
    seed: int,
    hearts: Hearts,
    borders: Borders,
    signal: torch.Tensor,
    texture: torch.Tensor,
    index: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Paint fat, muscle and blood over `signal` (n, slices, frames, rows, columns); return it and its labels, uint8.

    `texture` (n, slices, rows, columns) mottles the tissue; `index` as for `trace_borders`, `x` and `y` as for
    `heart_window`.
    """
    n, slices, frames, rows, columns = signal.shape
    x, y = x[:, :, None, None, :], y[:, :, None, :, None]
    radius = (x**2 + y**2).sqrt()
    angle = torch.atan2(y.expand_as(radius), x.expand_as(radius))
    nearest = torch.remainder((angle * (ANGLES / (2 * math.pi))).round().long(), ANGLES)
    nearest = nearest.reshape(n, slices, 1, -1).expand(n, slices, frames, rows * columns)

    def border(table: torch.Tensor) -> torch.Tensor:
        return torch.gather(table.reshape(n, slices, frames, ANGLES), 3, nearest).reshape(signal.shape)

    def per_plane(values: torch.Tensor) -> torch.Tensor:
        return values.reshape(n, slices, frames, 1, 1)

    sharpness = 1 / per_plane((P.blur**2 + borders.blur**2).sqrt())

    def inside(limit: torch.Tensor) -> torch.Tensor:
        return ((limit - radius) * sharpness).add_(0.5).clamp_(0, 1)

    texture = texture[:, :, None]
    muscle = P.myocardium * (1 + P.mottle * texture)
    endo, epi, rv = border(borders.endo), border(borders.epi), border(borders.rv)
    labels = (rv > radius).to(torch.uint8) + (epi > radius).to(torch.uint8) + (endo > radius).to(torch.uint8)
    scarred = (hearts.transmurality > P.least_scar).any(1)
    if scarred.any():
        within = border(borders.scar)[scarred] > radius[scarred]
        labels[scarred] += 2 * (within & (labels[scarred] == 2)).to(torch.uint8)
    labels *= (per_plane(borders.level) >= 0).to(torch.uint8)

    # What is fixed to the wall turns with it and is squeezed with the cavity.
    turn, squeeze = per_plane(borders.turn), per_plane(borders.squeeze)
    cos, sin = (P.mesh * f(turn) / squeeze for f in (torch.cos, torch.sin))
    offset = uniform(seed, hearts.people.subject, "trabeculae", 128).reshape(n, 64, 2)[:, index, :, None, None, None]
    place = (x * cos + y * sin, x * sin - y * cos)
    mesh, flow = (sample(kind, offset[:, :, k], *place) for k, kind in enumerate(("fine", "trabeculae")))
    level = per_plane(borders.level.clamp(0, 1))
    swirl = 1 + P.flow * (flow + mesh)

    left = inside(epi)
    signal = torch.lerp(signal, torch.full_like(texture, SCENE.fat), inside(border(borders.outer)))
    signal.lerp_(muscle.expand_as(signal), inside(border(borders.wall)))
    right = inside(rv).mul_(1 - left)
    right *= 1 - _meshwork(mesh, rv - radius, P.rv_trabecula * (0.4 + 1.8 * level))
    signal.lerp_(P.rv_blood * swirl, right)
    # Trabeculae line the lateral wall and the apex rather than the septum and the base.
    lining = P.trabecula * (0.35 + 1.3 * level) * (1 + 0.45 * x / radius.clamp(min=1)) / squeeze
    blood = inside(endo)
    blood *= 1 - _meshwork(mesh, endo - radius, lining)
    blood *= _without_papillaries(seed, hearts, borders, per_plane, radius, angle - turn, mesh)
    signal.lerp_(P.blood * (1 - P.inflow * per_plane(borders.phase)) * swirl, blood)
    return _with_root(signal, borders, per_plane, sharpness, x, y), labels


def _with_root(
    signal: torch.Tensor,
    borders: Borders,
    per_plane: Callable[[torch.Tensor], torch.Tensor],
    sharpness: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
) -> torch.Tensor:
    """The root of the aorta between left atrium, right atrium and outflow tract, in planes above the base."""
    above = per_plane((-borders.level / P.root_height).clamp(0, 1))
    if not (above > 0).any():
        return signal
    right, up = (share * per_plane(borders.epi.mean(-1)) for share in P.root_place)
    apart = ((x - right) ** 2 + (y - up) ** 2).sqrt()
    for radius, tissue in ((P.root_radius + P.atrial_wall, P.myocardium), (P.root_radius, P.blood)):
        cover = ((radius - apart) * sharpness + 0.5).clamp(0, 1) * above
        signal = torch.lerp(signal, torch.full_like(signal, tissue), cover)
    return signal


def _meshwork(mesh: torch.Tensor, depth: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
    """Share of muscle among the blood at `depth` mm from a wall whose trabeculae reach about `reach` mm inwards."""
    return ((mesh + 0.6 - 2.0 * depth / reach.clamp(min=0.3)) * 0.6).clamp_(0, 0.85)


def _without_papillaries(
    seed: int,
    hearts: Hearts,
    borders: Borders,
    per_plane: Callable[[torch.Tensor], torch.Tensor],
    radius: torch.Tensor,
    angle: torch.Tensor,
    uneven: torch.Tensor,
) -> torch.Tensor:
    """Share of each pixel outside the two papillary muscles, which lie in the cavity and move inwards with its wall.

    `angle` is that of the material; `uneven` is a texture that shapes their outline.
    """
    heads = len(P.papillary_heads)
    draw = normal(seed, hearts.people.subject, "papillary muscles", 6 * heads).clamp(-2, 2).float()
    draw = draw.reshape(-1, 2, heads, 3, 1, 1, 1, 1)
    wall = per_plane(borders.endo.mean(-1))
    share = None
    for k, place in enumerate(P.papillary_angle):
        for m, (aside, part) in enumerate(P.papillary_heads):
            turn, girth, reach = (draw[:, k, m, j] for j in range(3))
            radius_here = torch.minimum(part * P.papillary_radius * (1 + 0.2 * girth), 0.28 * wall)
            size = per_plane(borders.papillary) * radius_here
            distance = (P.papillary_place + 0.06 * reach) * wall
            # Squared distance from the muscle's centre, by the law of cosines.
            apart = torch.addcmul(radius**2, radius * torch.cos(angle - place - aside - 0.15 * turn), -2 * distance)
            apart = (apart + distance**2).clamp_(min=0).sqrt_() - size * (1 + P.papillary_uneven * uneven)
            free = apart.mul_(1 / P.blur).add_(0.5).clamp_(0, 1)
            free = torch.where(size > 0.5, free, 1.0)
            share = free if share is None else share.mul_(free)
    return share


def _atrium(hearts: Hearts, shape: Shape, level: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """Radius in mm (n, planes) of the left atrium, a sphere of its volume on the base plane."""
    least, most = (volume.float()[:, None] for volume in (hearts.la_min, hearts.la_max))
    radius = 1000 * atrial_radius(least + (most - least) * phase)
    away = -1000 * level * (shape.length + shape.apex)[:, None]
    return (radius**2 - (away - P.atrial_depth * radius) ** 2).clamp(min=0).sqrt()


def _slant(shape: Shape, level: torch.Tensor) -> torch.Tensor:
    """Width in mm (n, planes) over which a slanting wall blurs its border through the slice's thickness."""
    slope = (level - ANATOMY.equator) / (1 - ANATOMY.equator) ** 2 / profile(level).clamp(min=0.15)
    return (shape.radius / shape.length)[:, None] * slope.abs().clamp(max=3) * P.slice_thickness * P.slant


def _angles(like: torch.Tensor) -> torch.Tensor:
    return torch.arange(ANGLES, dtype=like.dtype, device=like.device) * (2 * math.pi / ANGLES)

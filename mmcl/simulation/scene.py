"""What surrounds the heart in a short-axis cine: lung with its vessels, chest wall, diaphragm and abdomen.

Signals are relative to full scale (1), with the order of balanced steady-state free precession: blood bright, liver and
spleen mid, muscle dark, lung and air black. Fat is negative, since its phase opposes that of water when the echo lies
midway between two excitations; the receiver takes the magnitude.
"""

from __future__ import annotations

import torch

from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People
from mmcl.simulation.random import normal, uniform
from mmcl.simulation.texture import windows

P = parameters("scene")


def render_scene(
    seed: int,
    people: People,
    fine: torch.Tensor,
    size: torch.Tensor,
    reach: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    depth: torch.Tensor,
) -> torch.Tensor:
    """Signal (n, slices, rows, columns) of everything but the heart.

    `fine` texture of the same shape; `size` (n, slices) mm, outer radius of the left ventricle, which rests on the
    diaphragm; `reach` (n,) mm from its axis to the right ventricle's free wall, which rests on the chest wall; `x`
    (n, slices, columns) mm to image right and `y` (n, slices, rows) mm up, from the left ventricle's centre; `depth`
    (slices,) mm from the middle slice towards the apex.
    """
    draw = normal(seed, people.subject, "surroundings", 20).clamp(-2.5, 2.5).float()[:, :, None, None, None]
    # One window for all slices: organs reach through several of them.
    offset = uniform(seed, people.subject, "organs").expand(-1, x.shape[1])
    coarse = windows("coarse", offset, y.shape[-1], x.shape[-1])
    x, y, depth = x[..., None, :], y[..., None], depth[:, None, None]
    size, reach = size[..., None, None], reach[:, None, None, None]
    stout = ((people.bmi - 26) / 10).float().clamp(-0.6, 1.2)[:, None, None, None]

    inner = (
        reach
        + P.chest_gap
        + P.chest_gap_sd * draw[:, 0]
        + P.chest_gap_stout * stout.clamp(min=0)
        - P.chest_nearer * depth
    )
    signal = _lung(draw, fine, coarse, size, x, y, depth)
    signal = _mediastinum(draw, signal, fine, coarse, size, inner, x, y)
    aorta_x, aorta_y = (P.aorta[k] + sd * draw[:, 6 + k] for k, sd in enumerate(P.aorta_sd))
    aorta = P.aorta_radius - ((x - aorta_x) ** 2 + (y - aorta_y) ** 2).sqrt()
    present = (depth < P.aorta_depth).float()
    signal = torch.lerp(signal, torch.full_like(signal, P.muscle), _cover(aorta + 2.5) * present)
    signal = torch.lerp(signal, P.aorta_blood * (1 + 0.05 * fine), _cover(aorta) * present)
    signal = _abdomen(draw, signal, fine, coarse, size, stout, x, y, depth)
    return _chest_wall(draw, signal, fine, coarse, inner, stout, x, y)


def _lung(draw, fine, coarse, size, x, y, depth) -> torch.Tensor:
    """Dark parenchyma with bright vessels, the thicker and the more the nearer to the hilum and to the base."""
    right = P.hilum[0] + P.hilum_sd[0] * draw[:, 1]
    up = size + P.hilum[1] + P.hilum_sd[1] * draw[:, 2]
    away = ((x - right) ** 2 + (y - up) ** 2) / P.vessel_reach**2 + depth / P.vessel_depth
    bright = (fine + 0.3 * coarse - P.vessel_threshold - away).clamp(0, 0.8)
    return P.lung * (1 + 0.1 * fine + 0.2 * coarse).clamp(min=0.2) + P.vessel * bright


def _mediastinum(draw, signal, fine, coarse, size, inner, x, y) -> torch.Tensor:
    """Fat between right ventricle, chest wall and diaphragm; the lung's edge falls from the heart to the chest wall."""
    foot = P.lung_edge + P.lung_edge_sd * draw[:, 3]
    slope = (0.7 * size - foot) / (inner - 0.7 * size).clamp(min=10)
    edge = torch.minimum(foot + slope * (x + inner), 0.8 * size) + 2 * coarse
    inside = _cover(edge - y) * _cover(-x)
    strand = (1 - 4 * (coarse + 0.4 * fine).abs()).clamp(min=0)
    fat = P.fat * (0.75 + 0.10 * fine + 0.16 * coarse - 0.6 * strand).clamp(0.2, 1.1)
    return torch.lerp(signal, fat, inside)


def _abdomen(draw, signal, fine, coarse, size, stout, x, y, depth) -> torch.Tensor:
    """Diaphragm, and below it liver on the left, stomach in its fat in the middle, spleen on the right of the image."""
    tilt = P.diaphragm_tilt + P.diaphragm_tilt_sd * draw[:, 4]
    dome = (P.dome + P.dome_sd * draw[:, 5]) * torch.sigmoid((x - size - P.dome_gap) / 9)
    top = P.diaphragm_rise * depth - size - P.diaphragm_gap - P.diaphragm_sd * draw[:, 8]
    surface = top + tilt * x.clamp(max=30) - P.diaphragm_curve * (x.clamp(max=30) + 10) ** 2 + dome + 1.2 * coarse
    below = surface - y

    liver = P.liver * (1 + 0.05 * fine + 0.10 * coarse) + 0.35 * (fine + 0.3 * coarse - 1.8).clamp(0, 0.6)
    fat = P.fat * (0.7 + 0.12 * fine + 0.2 * coarse).clamp(0.1, 1.1)
    spleen = P.spleen * (1 + 0.10 * draw[:, 9]) * (1 + 0.04 * fine + 0.12 * coarse)
    lobe = x - P.liver_edge - P.liver_edge_sd * draw[:, 10] + 0.5 * below + 4 * coarse
    organ = torch.lerp(liver, fat, _cover(lobe))
    end = x - P.spleen_edge - P.spleen_edge_sd * draw[:, 11] + 0.3 * below + 3 * coarse
    organ = torch.lerp(organ, spleen, _cover(end))
    # The stomach lies in the fat between liver and spleen and changes its course from slice to slice.
    along = x - P.stomach_place[0] - P.stomach_place_sd[0] * draw[:, 12] - 0.2 * depth
    across = below - P.stomach_place[1] - P.stomach_place_sd[1] * draw[:, 13] + 0.25 * along
    wide, tall = (P.stomach[k] * (1 + 0.25 * draw[:, 14 + k]) for k in (0, 1))
    round_ = ((along / wide) ** 2 + (across / tall) ** 2).sqrt()
    stomach = (1 - round_) * tall + 1.5 * coarse
    content = (P.stomach_content * (1 + 0.6 * draw[:, 16])).clamp(min=0.03) * (1 + 0.3 * coarse + 0.15 * fine).clamp(
        min=0.1
    )
    organ = torch.lerp(organ, torch.full_like(organ, P.muscle), _cover(stomach))
    organ = torch.lerp(organ, content, _cover(stomach - P.stomach_wall))

    # Fat lines the diaphragm on both sides, here thick, there missing.
    lining = P.lining * (1 + 0.6 * stout) * (coarse + 0.5 + 0.4 * draw[:, 17]).clamp(0, 2)
    signal = torch.lerp(signal, torch.full_like(signal, 0.8 * P.fat), _cover(below + lining))
    signal = torch.lerp(signal, torch.full_like(signal, P.muscle), _cover(below))
    return torch.lerp(signal, organ, _cover(below - P.diaphragm))


def _chest_wall(draw, signal, fine, coarse, inner, stout, x, y) -> torch.Tensor:
    """Ribs between muscle and fat strands, subcutaneous fat, skin and air, on an elliptic trunk."""
    wide, tall = P.chest_semi_axes
    radius = (((x + inner - wide) / wide) ** 2 + ((y - 10) / tall) ** 2).sqrt()
    outside = (radius - 1) * wide + 0.6 * coarse
    thick = P.chest_muscle
    between = P.muscle * (0.8 + 0.10 * fine) - 1.2 * (coarse - 0.9).clamp(0, 0.5)
    along = torch.remainder(y + 0.2 * x - P.rib_period * draw[:, 18], P.rib_period) - P.rib_period / 2
    rib = 1 - ((along / (0.34 * P.rib_period)) ** 2 + ((outside - thick / 2) / (0.5 * thick)) ** 2).sqrt()
    wall = torch.lerp(between, torch.full_like(between, P.bone), _cover(rib * thick / 2))
    wall = torch.lerp(wall, P.marrow * (1 + 0.1 * fine), _cover(rib * thick / 2 - 2))
    fat = (P.chest_fat * (1 + 1.1 * stout + 0.2 * draw[:, 19])).clamp(min=5)
    signal = torch.lerp(signal, wall, _cover(outside))
    signal = torch.lerp(signal, P.fat * (1 + 0.02 * fine + 0.03 * coarse), _cover(outside - thick))
    signal = torch.lerp(signal, torch.full_like(signal, P.muscle), _cover(outside - thick - fat))
    return torch.lerp(signal, torch.full_like(signal, P.air), _cover(outside - thick - fat - 2))


def _cover(distance: torch.Tensor) -> torch.Tensor:
    """Share of a pixel that lies inside, from the distance (mm) past an edge."""
    return (distance / P.edge + 0.5).clamp(0, 1)

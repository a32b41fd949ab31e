"""Atria: two muscular spheres that make the P wave in sinus rhythm and fibrillatory waves without it."""

from __future__ import annotations

import math

import torch

from mmcl.config import RAW_SAMPLING_RATE, RECORD_SECONDS
from mmcl.simulation.conductor import Torso, transfer
from mmcl.simulation.heart import Hearts, atria_centres
from mmcl.simulation.parameters import parameters
from mmcl.simulation.random import normal, uniform
from mmcl.simulation.source import STEP, grid_cells, grid_edges, wave, weights

P = parameters("atria")
SOURCE = parameters("source")

SHAPE = (6, 8, 2)
"""Nodes of each atrium from bottom to top, around, and across its wall."""


def atrial_points(hearts: Hearts) -> torch.Tensor:
    """Nodes (n, 192, 3) in m, the right atrium's before the left's; each a sphere of the atrium's largest volume."""
    volume = torch.stack([hearts.ra_max, hearts.la_max], dim=1) * 1e-6
    radius = (3 * volume / (4 * math.pi)) ** (1 / 3)
    level, turn, depth = grid_cells(SHAPE, hearts.centre)
    height = 2 * level - 1
    across = torch.sqrt(1 - height**2)
    unit = torch.stack([across * torch.sin(2 * math.pi * turn), height, across * torch.cos(2 * math.pi * turn)], dim=-1)
    shell = radius[:, :, None, None] * unit + P.thickness * depth[:, None] * unit
    return (atria_centres(hearts).flip(1)[:, :, None, :] + shell).flatten(1, 2)


def atrial_weights(torso: Torso, points: torch.Tensor) -> torch.Tensor:
    """Potential at each electrode per volt at each atrial node, (n, 9, nodes)."""
    potential = transfer(torso, points)
    halves = []
    for half_points, half_potential in zip(points.chunk(2, dim=1), potential.chunk(2, dim=2), strict=True):
        edges, conductance = grid_edges(half_points, SHAPE, True, P.conductivity, P.conductivity)
        halves.append(weights(edges, conductance, half_potential))
    return torch.cat(halves, dim=2)


def atrial_activation(hearts: Hearts, points: torch.Tensor) -> torch.Tensor:
    """Sinus activation (n, nodes) in ms after the sinus node fires: the right atrium, then the left."""
    right, left = points.chunk(2, dim=1)
    speed = P.velocity * hearts.conduction[:, None]
    sinus, bundle = _towards(right, P.sinus_node), _towards(left, P.bachmann)
    delay = (bundle - sinus).norm(dim=-1) / speed
    times = torch.cat([_arc(right, sinus) / speed, delay + _arc(left, bundle) / speed], dim=1)
    return 1000 * times


def ectopic_activation(seed: int, hearts: Hearts, points: torch.Tensor) -> torch.Tensor:
    """Activation (n, nodes) in ms of a premature beat from a focus low in the left or right atrium, by chance."""
    subject = hearts.people.subject
    speed = P.velocity * hearts.conduction[:, None]
    first, second = points.chunk(2, dim=1)
    starts_right = uniform(seed, subject, "atria.focus")[:, :1] < P.ectopic_right_share
    from_right = torch.cat([_arc(first, _towards(first, P.ectopic_focus)), _crossing(first, second)], dim=1)
    from_left = torch.cat([_crossing(second, first), _arc(second, _towards(second, P.ectopic_focus))], dim=1)
    return 1000 * torch.where(starts_right, from_right, from_left) / speed


def _crossing(here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Way (n, nodes) in m to the nodes of the atrium `there` from the ectopic focus of the one `here`."""
    apart = there.mean(dim=1, keepdim=True) - here.mean(dim=1, keepdim=True)
    focus = _towards(here, P.ectopic_focus)
    centre = there.mean(dim=1, keepdim=True)
    radius = (there - centre).norm(dim=-1).mean(dim=1)[:, None, None]
    entry = centre - radius * apart / apart.norm(dim=-1, keepdim=True)
    return (entry - focus).norm(dim=-1) + _arc(there, entry)


def fibrillatory_waves(seed: int, subject: torch.Tensor, points: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Electrode potentials (n, 9, time) in mV of fibrillating atria: wavelets cross both and drift in rate."""
    kind = {"dtype": weight.dtype, "device": weight.device}
    time = torch.arange(RAW_SAMPLING_RATE * RECORD_SECONDS, **kind) / RAW_SAMPLING_RATE
    draws = uniform(seed, subject, "atria.fibrillation", 4 * P.wavelets).to(weight).reshape(-1, P.wavelets, 4)
    direction = normal(seed, subject, "atria.direction", 3 * P.wavelets).to(weight).reshape(-1, P.wavelets, 3)
    direction = direction / direction.norm(dim=-1, keepdim=True)
    low, high = P.fibrillation_rate
    rate = low + (high - low) * draws[..., 0]
    travel = points.to(weight) @ direction.transpose(1, 2) / P.fibrillation_velocity
    phase = 2 * math.pi * (rate[:, None] * travel)
    drift = P.fibrillation_drift * torch.sin(
        2 * math.pi * (0.2 + 0.5 * draws[..., 1:2]) * time + 6.28 * draws[..., 2:3]
    )
    angle = 2 * math.pi * (rate[..., None] * time + draws[..., 3:4]) + drift
    # sin(angle - phase) with space and time apart, so that no (nodes, time) array is needed.
    cosine, sine = weight @ phase.cos(), weight @ phase.sin()
    return P.fibrillation_amplitude * (cosine @ angle.sin() - sine @ angle.cos())


def p_wave(weight: torch.Tensor, activation: torch.Tensor, start: float, count: int) -> torch.Tensor:
    """Electrode potentials (n, 9, count) in mV, `STEP` ms apart from `start` ms, of atria that activate at `activation`
    (n, nodes) ms and recover `duration` ms later.
    """
    steps = STEP * torch.arange(-(count - 1), count, dtype=torch.float64, device=weight.device)
    change = torch.sigmoid(steps / P.upstroke) - torch.sigmoid((steps - P.duration) / P.recovery)
    return SOURCE.amplitude * wave(weight, activation, change, start, count)


def _towards(points: torch.Tensor, direction: tuple[float, float, float]) -> torch.Tensor:
    """The point (n, 1, 3) of a sphere of `points` that lies in `direction` from its centre."""
    centre = points.mean(dim=1, keepdim=True)
    unit = torch.tensor(direction, dtype=points.dtype, device=points.device)
    radius = (points - centre).norm(dim=-1).mean(dim=1)[:, None, None]
    return centre + radius * unit / unit.norm()


def _arc(points: torch.Tensor, site: torch.Tensor) -> torch.Tensor:
    """Distance (n, nodes) in m along the sphere from `site` (n, 1, 3)."""
    centre = points.mean(dim=1, keepdim=True)
    one, other = points - centre, site - centre
    radius = one.norm(dim=-1)
    cosine = (one * other).sum(dim=-1) / (radius * other.norm(dim=-1))
    return radius * torch.acos(cosine.clamp(-1 + 1e-9, 1 - 1e-9))

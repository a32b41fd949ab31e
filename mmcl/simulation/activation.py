"""Activation: when each node of the ventricles depolarises, and when it recovers.

The endocardium activates from its breakthrough sites at the speed of Purkinje-lined muscle, the wall from the
endocardium, and the septum from both sides; action potentials differ across the wall, from base to apex, with the rate,
with the place in the sequence, and between people.
"""

from __future__ import annotations

import math

import torch

from mmcl.simulation.anatomy import interpolate
from mmcl.simulation.heart import Hearts, rv_point, wall_point
from mmcl.simulation.parameters import parameters
from mmcl.simulation.random import normal
from mmcl.simulation.source import LEFT, Mesh, grid_cells

P = parameters("activation")
SOURCE = parameters("source")

LEFT_SITES = ("anterior", "septal", "posterior", "anterolateral", "posterolateral")
"""Where the left ventricular endocardium breaks through, after Durrer et al. 1970 (Circulation 41:899): high on the
anterior paraseptal wall, at the middle of the septum, on the posterior paraseptal wall, then at the papillary muscles.
"""
RIGHT_SITES = ("right_apical", "right_basal")
"""Where the right ventricular free wall does, halfway between its insertions."""
SEPTAL = tuple(float(segment in (2, 3, 8, 9, 14)) for segment in range(1, 17))
"""Which AHA segments face the right ventricle."""
NEVER = 200.0
"""ms that stand for a front that never comes."""


def activate(seed: int, hearts: Hearts, mesh: Mesh) -> torch.Tensor:
    """Activation time (n, nodes) in ms after the first breakthrough.

    The endocardium activates from its breakthrough sites, the wall from the endocardium, and the septum from both
    sides, whichever comes first: with the left bundle blocked it activates from right to left.
    """
    kind = {"dtype": hearts.centre.dtype, "device": hearts.centre.device}
    speed = hearts.conduction[:, None]
    level, turn, depth = grid_cells(LEFT, hearts.centre)
    angle = 2 * math.pi * turn
    inner = wall_point(hearts, level, angle, torch.zeros_like(depth))
    outer = wall_point(hearts, level, angle, torch.ones_like(depth))
    thickness = (outer - inner).norm(dim=-1)

    onset, sites = _wall_sites(hearts, LEFT_SITES, 0.0)
    onset = onset + P.site_spread * normal(seed, hearts.people.subject, "activation.sites", len(LEFT_SITES))
    endocardial = _spread(inner, sites, onset, P.endocardial_velocity * speed)
    fascicles = normal(seed, hearts.people.subject, "activation.fascicles", 2) * torch.tensor(P.fascicle_spread, **kind)
    lateness = fascicles @ torch.stack([angle.cos(), angle.sin()]) * (endocardial / P.endocardium_done).clamp(0, 1)
    endocardial = endocardial * torch.exp(lateness)
    endocardial = endocardial + interpolate(hearts.segment_delay, level, angle)
    across = 1000 * thickness / (P.transmural_velocity * speed)
    from_left = endocardial + depth * across

    block = hearts.people.rbbb.to(**kind)[:, None]
    rv_speed = P.endocardial_velocity * speed * (1 - (1 - P.right_block_velocity) * block)
    septal_onset, septal_sites = _wall_sites(hearts, ("right_septal",), 1.0)
    septal = _spread(outer, septal_sites, septal_onset + P.right_block_delay * block, rv_speed)
    # Where the wall does not face the right ventricle nothing comes from there.
    facing = interpolate(torch.tensor([SEPTAL], **kind), level, angle)
    from_right = septal + (1 - depth) * across + NEVER * (1 - facing)
    left = _earliest(torch.stack([from_left, from_right], dim=-1))

    rv_level, rv_onset = (torch.tensor(_values(RIGHT_SITES, name), **kind) for name in ("level", "onset"))
    rv_sites = rv_point(hearts, rv_level, torch.full_like(rv_level, 0.5), torch.zeros_like(rv_level))
    free, free_depth = mesh.points[:, mesh.right :], mesh.depth[mesh.right :]
    right = _spread(free, rv_sites, rv_onset[None] + P.right_block_delay * block, rv_speed)
    right = right + 1000 * SOURCE.right_thickness * free_depth / (P.transmural_velocity * speed)
    return torch.cat([left, right], dim=1)


def _values(sites: tuple[str, ...], name: str) -> list[float]:
    return [getattr(P, f"{site}_{name}") for site in sites]


def _wall_sites(hearts: Hearts, sites: tuple[str, ...], depth: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Onset (1, sites) in ms and place (n, sites, 3) of breakthrough `sites` of the left ventricular wall."""
    kind = {"dtype": hearts.centre.dtype, "device": hearts.centre.device}
    level, angle, onset = (torch.tensor(_values(sites, name), **kind) for name in ("level", "angle", "onset"))
    return onset[None], wall_point(hearts, level, torch.deg2rad(angle), torch.full_like(level, depth))


def recover(seed: int, hearts: Hearts, mesh: Mesh, activation: torch.Tensor) -> torch.Tensor:
    """Recovery time (n, nodes) in ms at the mean heart rate: activation plus the local action potential's duration."""
    subject = hearts.people.subject
    draws = normal(seed, subject, "activation.duration", 2)
    mean = P.duration + P.duration_spread * draws[:, :1]
    mean = mean * (60 / hearts.heart_rate[:, None]) ** P.duration_power
    thickening = (hearts.wall_thickness.mean(dim=1, keepdim=True) - P.thick_wall).clamp(min=0)
    transmural = P.duration_transmural + P.transmural_spread * draws[:, 1:] + P.thick_wall_transmural * thickening
    # Muscle is adapted to its usual place in the sequence, not to a block: beyond the normal range nothing is made up.
    late = activation.clamp(max=P.latest_usual) - P.latest_usual / 2
    duration = mean + transmural * mesh.depth + P.duration_apex * mesh.level + P.duration_on_activation * late
    level, turn, _ = grid_cells(LEFT, hearts.centre)
    duration[:, mesh.right :] -= (1 - P.right_transmural) * transmural * mesh.depth[mesh.right :]
    local = P.local_spread * normal(seed, subject, "activation.local", 16) + P.infarct_duration * hearts.transmurality
    duration[:, : mesh.right] += interpolate(local, level, 2 * math.pi * turn)
    return activation + duration


def _spread(points: torch.Tensor, sites: torch.Tensor, onset: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Arrival (n, points) in ms from the earliest of `sites` (n, sites, 3), `onset` ms, at `velocity` (n, 1) m/s."""
    distance = torch.cdist(points, sites, compute_mode="donot_use_mm_for_euclid_dist")
    return _earliest(onset[:, None] + 1000 * distance / velocity[..., None])


def _earliest(times: torch.Tensor) -> torch.Tensor:
    """Smooth minimum over the last axis."""
    return -P.merge * torch.logsumexp(-times / P.merge, dim=-1)

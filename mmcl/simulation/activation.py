"""Activation: when each node of the ventricles depolarises, and when it recovers.

The endocardium activates from its breakthrough sites at the speed of Purkinje-lined muscle, the wall from the
endocardium, and the septum from both sides; action potentials differ across the wall, from base to apex, with the rate,
with the place in the sequence, and between people.
"""

from __future__ import annotations

import dataclasses
import math

import torch

from mmcl.simulation.anatomy import interpolate
from mmcl.simulation.heart import Hearts, rv_point, wall_point
from mmcl.simulation.parameters import parameters
from mmcl.simulation.physiology import block_delay
from mmcl.simulation.random import normal, uniform
from mmcl.simulation.source import LEFT, RIGHT, Mesh, grid_cells

P = parameters("activation")
SOURCE = parameters("source")

LEFT_SITES = ("anterior", "septal", "low_septal", "posterior", "anterolateral", "posterolateral")
"""Where the left ventricular endocardium breaks through, after Durrer et al. 1970 (Circulation 41:899): high on the
anterior paraseptal wall, on the middle and the lower septum, on the posterior paraseptal wall, then at the papillary
muscles.
"""
RIGHT_SITES = ("right_apical", "right_basal")
"""Where the right ventricular free wall does, halfway between its insertions."""
INSERTIONS = ((0.25, 0.6, 0.25, 0.6), (0.04, 0.04, 0.96, 0.96))
"""Level and turn of the places at the anterior and the inferior insertion where activation enters the free wall from
the septum, when the right bundle is blocked."""
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
    # The way through the conduction system is as much longer as the heart is.
    size = (hearts.lv_edv[:, None] / P.reference_volume) ** (1 / 3)
    onset = onset * size + _fascicles(seed, hearts)
    endocardial = _spread(inner, sites, onset, P.endocardial_velocity * speed)
    fascicles = normal(seed, hearts.people.subject, "activation.fascicles", 2) * torch.tensor(P.fascicle_spread, **kind)
    lateness = fascicles @ torch.stack([angle.cos(), angle.sin()]) * (endocardial / P.endocardium_done).clamp(0, 1)
    endocardial = endocardial * torch.exp(lateness)
    endocardial = endocardial + interpolate(hearts.segment_delay, level, angle)
    alive = 1 - P.impaired_slowing * (1 - interpolate(hearts.viability, level, angle).clamp(0, 1))
    across = 1000 * thickness / (P.transmural_velocity * speed * alive)
    from_left = endocardial + depth * across

    block = hearts.people.rbbb.to(**kind)[:, None]
    late = P.right_spread * normal(seed, hearts.people.subject, "activation.right") + P.right_block_delay * block
    rv_speed = P.endocardial_velocity * speed * (1 - (1 - P.right_block_velocity) * block)
    septal_onset, septal_sites = _wall_sites(hearts, ("right_septal",), 1.0)
    septal = _spread(outer, septal_sites, septal_onset * size + late, rv_speed)
    # Where the wall does not face the right ventricle nothing comes from there.
    facing = interpolate(torch.tensor([SEPTAL], **kind), level, angle)
    from_right = septal + (1 - depth) * across + NEVER * (1 - facing)
    left = _earliest(torch.stack([from_left, from_right], dim=-1))

    rv_level, rv_onset = (torch.tensor(_values(RIGHT_SITES, name), **kind) for name in ("level", "onset"))
    rv_sites = rv_point(hearts, rv_level, torch.full_like(rv_level, 0.5), torch.zeros_like(rv_level))
    free, free_depth = mesh.points[:, mesh.right :], mesh.depth[mesh.right :]
    usual = _spread(free, rv_sites, rv_onset * size + late, rv_speed)
    entry_level, entry_turn = torch.tensor(INSERTIONS, **kind)
    entries = rv_point(hearts, entry_level, entry_turn, torch.zeros_like(entry_level))
    blocked = _spread(free, entries, late.expand(-1, len(entry_level)), rv_speed)
    right = torch.where(block > 0, blocked, usual)
    right = right + 1000 * SOURCE.right_thickness * free_depth / (P.transmural_velocity * speed)
    times = torch.cat([left, right], dim=1)
    return times - times.amin(dim=1, keepdim=True)


def _values(sites: tuple[str, ...], name: str) -> list[float]:
    return [getattr(P, f"{site}_{name}") for site in sites]


def _wall_sites(hearts: Hearts, sites: tuple[str, ...], depth: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Onset (1, sites) in ms and place (n, sites, 3) of breakthrough `sites` of the left ventricular wall."""
    kind = {"dtype": hearts.centre.dtype, "device": hearts.centre.device}
    level, angle, onset = (torch.tensor(_values(sites, name), **kind) for name in ("level", "angle", "onset"))
    return onset[None], wall_point(hearts, level, torch.deg2rad(angle), torch.full_like(level, depth))


def usual_activation(seed: int, hearts: Hearts, mesh: Mesh, active: torch.Tensor) -> torch.Tensor:
    """Activation times (n, nodes) in ms as they would be without bundle branch block; `active` where there is none."""
    people = hearts.people
    blocked = people.lbbb | people.rbbb
    if not blocked.any():
        return active
    none = torch.zeros_like(blocked)
    open_hearts = dataclasses.replace(
        hearts,
        people=dataclasses.replace(people, lbbb=none, rbbb=none),
        segment_delay=hearts.segment_delay - block_delay(people),
    )
    return torch.where(blocked[:, None], activate(seed, open_hearts, mesh), active)


def activate_from(focus: torch.Tensor, hearts: Hearts, mesh: Mesh) -> torch.Tensor:
    """Activation time (n, nodes) in ms of a beat that begins at `focus` (n, 3), a place in the muscle.

    It spreads slowly from muscle to muscle; once it has entered the Purkinje network, faster, but late.
    """
    distance = 1000 * (mesh.points - focus[:, None]).norm(dim=-1)
    speed = hearts.conduction[:, None]
    muscle = distance / (P.muscle_velocity * speed)
    return _earliest(torch.stack([muscle, P.purkinje_entry + distance / (P.endocardial_velocity * speed)], dim=-1))


def ventricular_focus(seed: int, hearts: Hearts, mesh: Mesh) -> torch.Tensor:
    """Where each heart's ventricular premature beats begin, (n, 3) m: a node of the right outflow tract or anywhere in
    the left ventricle but at its apex.
    """
    draws = uniform(seed, hearts.people.subject, "activation.focus", 2)
    number = torch.arange(len(mesh.level), device=draws.device)
    _, turn, _ = grid_cells(RIGHT, hearts.centre)
    anterior = torch.nn.functional.pad(turn, (mesh.right, 0)) < P.outflow_turn
    outflow = number[(number >= mesh.right) & (mesh.level < P.outflow_level) & anterior]
    left = number[(number < mesh.right) & (mesh.level < P.focus_level)]
    nodes = [where[(draws[:, 1] * len(where)).long()] for where in (outflow, left)]
    node = torch.where(draws[:, 0] < P.outflow_share, *nodes)
    return mesh.points.gather(1, node[:, None, None].expand(-1, 1, 3))[:, 0]


def durations(seed: int, hearts: Hearts, mesh: Mesh, activation: torch.Tensor) -> torch.Tensor:
    """Action potentials' durations (n, nodes) in ms at the mean heart rate, in muscle that activates at `activation`
    beat for beat; a block or a single beat on another way does not change them.
    """
    subject = hearts.people.subject
    draws = normal(seed, subject, "activation.duration", 2)
    female = hearts.people.female.to(draws)[:, None]
    flat = 1 - (1 - P.nonspecific_gradient) * nonspecific(seed, hearts).to(draws)[:, None]
    flat = flat * (1 - (1 - P.gradient_female) * female)
    mean = P.duration + P.duration_female * female + P.duration_spread * draws[:, :1]
    mean = mean * (60 / hearts.heart_rate[:, None]) ** P.duration_power
    thickening = (hearts.wall_thickness.mean(dim=1, keepdim=True) - P.thick_wall).clamp(min=0)
    transmural = flat * (P.duration_transmural + P.transmural_spread * draws[:, 1:])
    transmural = transmural + P.thick_wall_transmural * thickening
    # Beyond the normal range nothing is made up.
    late = activation.clamp(max=P.latest_usual) - P.latest_usual / 2
    duration = mean + transmural * mesh.depth + flat * (P.duration_apex * mesh.level + P.duration_on_activation * late)
    level, turn, _ = grid_cells(LEFT, hearts.centre)
    duration[:, mesh.right :] -= (1 - P.right_transmural) * transmural * mesh.depth[mesh.right :]
    local = P.local_spread * normal(seed, subject, "activation.local", 16) + P.infarct_duration * hearts.transmurality
    local = local + P.impaired_duration * (1 - hearts.transmurality - hearts.viability).clamp(min=0)
    duration[:, : mesh.right] += interpolate(local, level, 2 * math.pi * turn)
    return duration


def plateau(seed: int, hearts: Hearts, mesh: Mesh) -> torch.Tensor:
    """Height of the action potentials (n, nodes) relative to healthy muscle's.

    It is lower under the endocardium of a thick wall and in non-specific ST-T change: a depressed ST segment.
    """
    thickening = (hearts.wall_thickness.mean(dim=1) - P.thick_wall).clamp(min=0)
    loss = P.thick_wall_plateau * thickening + P.nonspecific_plateau * nonspecific(seed, hearts).to(thickening)
    height = 1 - loss[:, None] * (1 - mesh.depth)
    height[:, mesh.right :] = 1
    return height


def nonspecific(seed: int, hearts: Hearts) -> torch.Tensor:
    """Who has flat T waves and a slightly low ST segment of no known cause: bool (n,)."""
    people = hearts.people
    score = P.nonspecific_log_odds + P.nonspecific_per_decade * (people.age - 60) / 10
    score = score + P.nonspecific_female * people.female + P.nonspecific_hypertension * people.hypertension
    return uniform(seed, people.subject, "activation.nonspecific")[:, 0] < torch.sigmoid(score)


def _fascicles(seed: int, hearts: Hearts) -> torch.Tensor:
    """ms (n, sites) by which the breakthroughs of the left ventricle are later than usual.

    The anterior fascicle is late where the posterior is early and the other way round; with age the anterior one, the
    longer and thinner, falls behind. Each site varies by itself besides.
    """
    subject = hearts.people.subject
    balance = P.fascicle_balance * normal(seed, subject, "activation.balance")[:, 0]
    balance = balance + P.fascicle_per_year * (hearts.people.age - 60)
    share = torch.tensor([1.0, 0.0, 0.0, -1.0, 1.0, -1.0], dtype=balance.dtype, device=balance.device)
    return balance[:, None] * share + P.site_spread * normal(seed, subject, "activation.sites", len(LEFT_SITES))


def _spread(points: torch.Tensor, sites: torch.Tensor, onset: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Arrival (n, points) in ms from the earliest of `sites` (n, sites, 3), `onset` ms, at `velocity` (n, 1) m/s."""
    distance = torch.cdist(points, sites, compute_mode="donot_use_mm_for_euclid_dist")
    return _earliest(onset[:, None] + 1000 * distance / velocity[..., None])


def _earliest(times: torch.Tensor) -> torch.Tensor:
    """Smooth minimum over the last axis."""
    return -P.merge * torch.logsumexp(-times / P.merge, dim=-1)

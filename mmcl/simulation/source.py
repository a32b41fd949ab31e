"""Source: the heart muscle as a finite-volume mesh of cells that activate, recover, and drive current into the torso.

Neighbouring nodes i and j are joined by muscle of conductance c = sigma * area / length. While their transmembrane
potentials differ, the current c * (V_i - V_j) leaves the muscle at j and enters it at i (Miller & Geselowitz 1978,
Circ Res 43:301). With the potential Z that unit current causes at an electrode, the electrode sees the sum over all
edges of c * (V_i - V_j) * (Z_j - Z_i) = sum over nodes of weight_i * V_i: see `weights`. Nothing else is put in; growth
of voltage with mass, T-wave polarity, Q waves over a scar and bundle branch block patterns follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mmcl.config import RAW_SAMPLING_RATE
from mmcl.simulation.anatomy import SEGMENT_ANGLE, interpolate
from mmcl.simulation.heart import Hearts, rv_point, wall_point
from mmcl.simulation.random import normal

LEFT = (9, 24, 4)
"""Nodes of the left ventricle from base to apex, around, and from endocardium to epicardium: 54 a segment."""
RIGHT_THICKNESS, RIGHT_SHARE = 0.0035, 0.24
RIGHT = (6, 8, 2)
"""Nodes of the right ventricular free wall, the same way."""

STEP = 1000 / RAW_SAMPLING_RATE
"""Grid of time, ms."""
AMPLITUDE = 100.0
"""Action potential, mV."""
CONDUCTIVITY_TRANSMURAL, CONDUCTIVITY_ALONG = 0.101, 0.118
"""Effective intracellular conductivity, S/m, across the wall and along it (measured: 0.02 to 0.3, Roth 1997, IEEE Trans
Biomed Eng 44:326)."""

# Ventricular activation after Durrer et al. 1970 (Circulation 41:899): the left ventricular endocardium breaks through
# high on the anterior paraseptal wall, at the middle of the septum and on the posterior paraseptal wall, then at the
# papillary muscles; the right some milliseconds later near the anterior papillary muscle. (level, two neighbouring
# segments between which it lies, ms.)
LV_SITES = ((0.40, 7, 8, 1.0), (0.25, 8, 9, 0.0), (0.8, 9, 10, 5.8), (0.60, 12, 7, 16.3), (0.55, 11, 12, 7.6))
# On the right of the septum (level, neighbouring segments, ms) and on the free wall (level, turn, ms).
SEPTAL_SITES = ((0.46, 8, 9, 0.6),)
RV_SITES = ((0.65, 0.5, 12.6), (0.35, 0.5, 23.5))
ENDOCARDIAL_VELOCITY = 0.81
"""m/s along the Purkinje-lined endocardium (effective)."""
TRANSMURAL_VELOCITY = 0.34
"""m/s across the wall (Taggart et al. 2000, Cardiovasc Res 46:67, 0.3 to 0.6)."""
RIGHT_BLOCK_DELAY, RIGHT_BLOCK_VELOCITY = 40.0, 0.5
"""Right bundle branch block: ms until activation arrives through the septum, and the factor on its spread."""
SEPTAL = tuple(float(segment in (2, 3, 8, 9, 14)) for segment in range(1, 17))
"""Which AHA segments face the right ventricle."""
NEVER = 200.0
MERGE = 1.5
"""ms over which two wavefronts merge."""

# Action potential (effective): duration at RR = 1 s and its power of RR, differences from endocardium to epicardium and
# base to apex, and the share by which later activation shortens it (Franz et al. 1987, Circulation 75:379).
DURATION, DURATION_POWER = 301.0, 0.33
DURATION_TRANSMURAL, DURATION_APEX, DURATION_ON_ACTIVATION = -20.3, 31.1, -1.23
LATEST_USUAL = 75.0
RIGHT_TRANSMURAL = 0.04
DURATION_SPREAD, TRANSMURAL_SPREAD, LOCAL_SPREAD = 14.0, 4.5, 4.0
"""Standard deviations over subjects of the whole, the transmural and the local duration, ms."""
THICK_WALL_TRANSMURAL = 3.0
"""ms by which each mm of wall beyond 9 mm lengthens the epicardial action potential: the strain pattern."""
INFARCT_DURATION = 30.0
"""ms by which muscle that survives in a scarred segment recovers late: the inverted T wave of an old infarct."""
UPSTROKE, RECOVERY, RECOVERY_SKEW = 3.3, 20.8, 0.54
"""Logistic time scales in ms, and the exponent below 1 that makes recovery begin slowly and end fast."""


@dataclass(frozen=True)
class Mesh:
    """Nodes and edges of each heart.

    `points` (n, nodes, 3) m; `depth` (nodes,) 0 endocardium to 1 epicardium; `level` (nodes,) 0 base to 1 apex;
    `edges` (edges, 2) node numbers; `conductance` (n, edges) siemens; nodes are those of the left ventricle, then
    from `right` on the right ventricle.
    """

    points: torch.Tensor
    level: torch.Tensor
    depth: torch.Tensor
    edges: torch.Tensor
    conductance: torch.Tensor
    right: int


def build_mesh(hearts: Hearts) -> Mesh:
    """Ventricular mesh of each heart; conductance follows viability, so that a scar carries no current."""
    level, turn, depth = grid_cells(LEFT, hearts.centre)
    left = wall_point(hearts, level, 2 * math.pi * turn, depth)
    rv_level, rv_turn, rv_depth = grid_cells(RIGHT, hearts.centre)
    # Level by level: the geometry cuts every level at every angle it is given.
    rows = zip(*(values.chunk(RIGHT[0]) for values in (rv_level, rv_turn, rv_depth)), strict=True)
    right = torch.cat([rv_point(hearts, *row) for row in rows], dim=1)
    sigma = CONDUCTIVITY_TRANSMURAL, CONDUCTIVITY_ALONG
    left_edges, left_conductance = grid_edges(left, LEFT, True, *sigma)
    right_edges, right_conductance = grid_edges(right, RIGHT, False, *(RIGHT_SHARE * value for value in sigma))
    viable = _viability(hearts, level, 2 * math.pi * turn, depth)
    one, other = viable[:, left_edges[:, 0]], viable[:, left_edges[:, 1]]
    # Two halves of an edge in series conduct as the harmonic mean.
    left_conductance = left_conductance * 2 * one * other / (one + other).clamp(min=1e-6)
    return Mesh(
        points=torch.cat([left, right], dim=1),
        level=torch.cat([level, rv_level]),
        depth=torch.cat([depth, rv_depth]),
        edges=torch.cat([left_edges, right_edges + len(level)]),
        conductance=torch.cat([left_conductance, right_conductance], dim=1),
        right=len(level),
    )


def weights(edges: torch.Tensor, conductance: torch.Tensor, potential: torch.Tensor) -> torch.Tensor:
    """Potential at each electrode per volt at each node, (n, 9, nodes), from the transfer `potential` (n, 9, nodes)."""
    first, second = edges.unbind(1)
    nodes_first = potential.transpose(1, 2)
    flow = conductance[:, :, None] * (nodes_first[:, second] - nodes_first[:, first])
    total = torch.zeros_like(nodes_first).index_add_(1, first, flow).index_add_(1, second, -flow)
    return total.transpose(1, 2)


def activate(hearts: Hearts, mesh: Mesh) -> torch.Tensor:
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

    onset, sites = _wall_sites(hearts, LV_SITES, 0.0)
    endocardial = _spread(inner, sites, onset, ENDOCARDIAL_VELOCITY * speed)
    endocardial = endocardial + interpolate(hearts.segment_delay, level, angle)
    across = 1000 * thickness / (TRANSMURAL_VELOCITY * speed)
    from_left = endocardial + depth * across

    block = hearts.people.rbbb.to(**kind)[:, None]
    rv_speed = ENDOCARDIAL_VELOCITY * speed * (1 - (1 - RIGHT_BLOCK_VELOCITY) * block)
    septal_onset, septal_sites = _wall_sites(hearts, SEPTAL_SITES, 1.0)
    septal = _spread(outer, septal_sites, septal_onset + RIGHT_BLOCK_DELAY * block, rv_speed)
    # Where the wall does not face the right ventricle nothing comes from there.
    facing = interpolate(torch.tensor([SEPTAL], **kind), level, angle)
    from_right = septal + (1 - depth) * across + NEVER * (1 - facing)
    left = _earliest(torch.stack([from_left, from_right], dim=-1))

    rv_level, rv_turn, rv_onset = torch.tensor(RV_SITES, **kind).unbind(1)
    rv_sites = rv_point(hearts, rv_level, rv_turn, torch.zeros_like(rv_level))
    free, free_depth = mesh.points[:, mesh.right :], mesh.depth[mesh.right :]
    right = _spread(free, rv_sites, rv_onset[None] + RIGHT_BLOCK_DELAY * block, rv_speed)
    right = right + 1000 * RIGHT_THICKNESS * free_depth / (TRANSMURAL_VELOCITY * speed)
    return torch.cat([left, right], dim=1)


def _wall_sites(hearts: Hearts, sites: tuple, depth: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Onset (n or 1, sites) in ms and place (n, sites, 3) of breakthrough `sites` of the left ventricular wall."""
    kind = {"dtype": hearts.centre.dtype, "device": hearts.centre.device}
    level = torch.tensor([site[0] for site in sites], **kind)
    angle = torch.tensor([_between(site[1], site[2]) for site in sites], **kind)
    onset = torch.tensor([site[3] for site in sites], **kind)[None]
    return onset, wall_point(hearts, level, angle, torch.full_like(level, depth))


def recover(seed: int, hearts: Hearts, mesh: Mesh, activation: torch.Tensor) -> torch.Tensor:
    """Recovery time (n, nodes) in ms at the mean heart rate: activation plus the local action potential's duration."""
    subject = hearts.people.subject
    draws = normal(seed, subject, "source.duration", 2)
    mean = DURATION + DURATION_SPREAD * draws[:, :1]
    mean = mean * (60 / hearts.heart_rate[:, None]) ** DURATION_POWER
    thickening = (hearts.wall_thickness.mean(dim=1, keepdim=True) - 9).clamp(min=0)
    transmural = DURATION_TRANSMURAL + TRANSMURAL_SPREAD * draws[:, 1:] + THICK_WALL_TRANSMURAL * thickening
    # Muscle is adapted to its usual place in the sequence, not to a block: beyond the normal range nothing is made up.
    late = activation.clamp(max=LATEST_USUAL) - LATEST_USUAL / 2
    duration = mean + transmural * mesh.depth + DURATION_APEX * mesh.level + DURATION_ON_ACTIVATION * late
    level, turn, _ = grid_cells(LEFT, hearts.centre)
    duration[:, mesh.right :] -= (1 - RIGHT_TRANSMURAL) * transmural * mesh.depth[mesh.right :]
    local = LOCAL_SPREAD * normal(seed, subject, "source.local", 16) + INFARCT_DURATION * hearts.transmurality
    duration[:, : mesh.right] += interpolate(local, level, 2 * math.pi * turn)
    return activation + duration


def wave(weight: torch.Tensor, time: torch.Tensor, change: torch.Tensor, start: float, count: int) -> torch.Tensor:
    """Potentials (n, electrodes, count), `STEP` ms apart from `start` ms, of nodes that change at their own `time`.

    `weight` (n, electrodes, nodes) is what a whole change of one node does, `time` (n, nodes) its ms, and `change`
    (2 count - 1,) the share done at -(count - 1) .. count - 1 steps after it. Weights are first collected on the time
    grid, each shared between the two nearest steps; one convolution then replaces an action potential for every node.
    """
    n, electrodes, _ = weight.shape
    position = ((time - start) / STEP).clamp(0, count - 1.001)
    whole = position.floor()
    later = (position - whole).to(weight)[..., None]
    row = whole.long() + count * torch.arange(n, device=weight.device)[:, None]
    each = weight.transpose(1, 2)
    collected = weight.new_zeros(n * count, electrodes)
    collected.index_add_(0, row.flatten(), (each * (1 - later)).flatten(0, 1))
    collected.index_add_(0, row.flatten() + 1, (each * later).flatten(0, 1))
    # toeplitz[i, j] is the share done at step i of what begins at step j.
    toeplitz = change.to(weight).unfold(0, count, 1).flip(1)
    return (toeplitz @ collected.reshape(n, count, electrodes)).transpose(1, 2)


def upstroke(count: int) -> torch.Tensor:
    """Share of depolarisation (2 count - 1,) at -(count - 1) .. count - 1 steps after activation."""
    return torch.sigmoid(_steps(count) / UPSTROKE)


def recovery(count: int) -> torch.Tensor:
    """Share of repolarisation (2 count - 1,) about the recovery time: slow at first, fast at the end."""
    return torch.sigmoid(_steps(count) / RECOVERY) ** RECOVERY_SKEW


def _steps(count: int) -> torch.Tensor:
    return STEP * torch.arange(-(count - 1), count, dtype=torch.float64)


def _between(one: int, other: int) -> float:
    """Angle in rad halfway between the centres of two neighbouring AHA segments, counted from 1."""
    first, second = SEGMENT_ANGLE[one - 1], SEGMENT_ANGLE[other - 1]
    return math.atan2(math.sin(first) + math.sin(second), math.cos(first) + math.cos(second))


def grid_cells(shape: tuple[int, int, int], like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cell centres in (0, 1): level, turn and depth, each (nodes,), of the type and device of `like`."""
    axes = [(torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) / count for count in shape]
    level, turn, depth = torch.meshgrid(*axes, indexing="ij")
    return level.flatten(), turn.flatten(), depth.flatten()


def grid_edges(
    points: torch.Tensor, shape: tuple[int, int, int], closed: bool, across: float, along: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Edges (edges, 2) and conductance (n, edges) in siemens of a wall of `shape` cells at `points` (n, nodes, 3).

    `closed` joins the last angle to the first; `across` and `along` are conductivities of the wall in S/m.
    """
    number = torch.arange(math.prod(shape), device=points.device).reshape(shape)
    grid = points.reshape(-1, *shape, 3)
    lengths, widths, pairs = [], [], []
    for axis in (1, 2, 3):
        last = grid.shape[axis] - 1
        if axis == 2 and closed:
            length = (grid.roll(-1, axis) - grid).norm(dim=-1)
            width = (length + length.roll(1, axis)) / 2
            pair = torch.stack([number, number.roll(-1, axis - 1)], dim=-1)
        else:
            length = (grid.narrow(axis, 1, last) - grid.narrow(axis, 0, last)).norm(dim=-1)
            ends = torch.cat([length.narrow(axis, 0, 1), length, length.narrow(axis, last - 1, 1)], dim=axis)
            width = (ends.narrow(axis, 0, last + 1) + ends.narrow(axis, 1, last + 1)) / 2
            pair = torch.stack([number.narrow(axis - 1, 0, last), number.narrow(axis - 1, 1, last)], dim=-1)
        lengths.append(length)
        widths.append(width)
        pairs.append(pair)
    edges, conductance = [], []
    for axis in range(3):
        one, other = (width for k, width in enumerate(widths) if k != axis)
        area = (one * other).flatten(1)
        pair = pairs[axis].reshape(-1, 2)
        sigma = across if axis == 2 else along
        edges.append(pair)
        conductance.append(sigma * (area[:, pair[:, 0]] + area[:, pair[:, 1]]) / 2 / lengths[axis].flatten(1))
    return torch.cat(edges), torch.cat(conductance, dim=1)


def _viability(hearts: Hearts, level: torch.Tensor, angle: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Viable share of each left ventricular node (n, nodes): the scar fills the wall from the endocardium outwards."""
    scarred = ((interpolate(hearts.transmurality, level, angle) - depth) * LEFT[2] + 0.5).clamp(0, 1)
    # A segment's viability counts its scar; what remains is stunning, at every depth.
    stunned = (hearts.viability / (1 - hearts.transmurality).clamp(min=0.05)).clamp(max=1)
    return (1 - scarred) * interpolate(stunned, level, angle)


def _spread(points: torch.Tensor, sites: torch.Tensor, onset: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Arrival (n, points) in ms from the earliest of `sites` (n, sites, 3), `onset` ms, at `velocity` (n, 1) m/s."""
    distance = torch.cdist(points, sites, compute_mode="donot_use_mm_for_euclid_dist")
    return _earliest(onset[:, None] + 1000 * distance / velocity[..., None])


def _earliest(times: torch.Tensor) -> torch.Tensor:
    """Smooth minimum over the last axis."""
    return -MERGE * torch.logsumexp(-times / MERGE, dim=-1)

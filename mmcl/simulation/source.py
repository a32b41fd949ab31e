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
from mmcl.simulation.anatomy import interpolate, profile
from mmcl.simulation.heart import Hearts, rv_point, wall_point
from mmcl.simulation.parameters import parameters
from mmcl.simulation.random import power

P = parameters("source")

LEFT = (9, 24, 4)
"""Nodes of the left ventricle from base to apex, around, and from endocardium to epicardium: 54 a segment."""
RIGHT = (6, 8, 2)
"""Nodes of the right ventricular free wall, the same way."""

STEP = 1000 / RAW_SAMPLING_RATE
"""Grid of time, ms."""


@dataclass(frozen=True)
class Mesh:
    """Nodes and edges of each heart.

    `points` (n, nodes, 3) m; `depth` (nodes,) 0 endocardium to 1 epicardium; `level` (nodes,) 0 base to 1 apex;
    `edges` (edges, 2) node numbers; `conductance` (n, edges) siemens; nodes are those of the left ventricle, then
    from `right` on the right ventricle.
    """

    SHARED = ("level", "depth", "edges")
    """What every heart has in common."""

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
    sigma = P.conductivity_transmural, P.conductivity_along
    left_edges, left_conductance = grid_edges(left, LEFT, True, *sigma)
    right_edges, right_conductance = grid_edges(right, RIGHT, False, *(P.right_share * value for value in sigma))
    broken = torch.where(hearts.people.rbbb, P.right_block_share, 1.0).to(right_conductance)
    right_conductance = right_conductance * broken[:, None]
    viable = _viability(hearts, level, 2 * math.pi * turn, depth)
    one, other = viable[:, left_edges[:, 0]], viable[:, left_edges[:, 1]]
    # Two halves of an edge in series conduct as the harmonic mean.
    left_conductance = left_conductance * 2 * one * other / (one + other).clamp(min=1e-6)
    left_conductance = left_conductance * _cavity_blood(hearts, level, 2 * math.pi * turn, depth, left_edges)
    left_conductance = left_conductance * _thin_front(hearts)[:, None]
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
    return torch.sigmoid(_steps(count) / P.upstroke)


def recovery(count: int) -> torch.Tensor:
    """Share of repolarisation (2 count - 1,) about the recovery time: slow at first, fast at the end."""
    return torch.sigmoid(_steps(count) / P.recovery) ** P.recovery_skew


def _steps(count: int) -> torch.Tensor:
    return STEP * torch.arange(-(count - 1), count, dtype=torch.float64)


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


def _cavity_blood(
    hearts: Hearts, level: torch.Tensor, angle: torch.Tensor, depth: torch.Tensor, edges: torch.Tensor
) -> torch.Tensor:
    """Factor (n, edges) by which the well-conducting blood of the left ventricle changes what an edge contributes.

    A sphere of radius a in a uniform lead field strengthens it at radius r outwards by 1 + 2 b (a / r)^3 and weakens it
    along the wall by 1 - b (a / r)^3 (Brody 1956, Circ Res 4:731), with b the contrast of conductivities.
    """
    cavity = hearts.shape.radius[:, None] * profile(level)
    ratio = (cavity / (cavity + depth * interpolate(hearts.shape.thickness, level, angle) * profile(level))) ** 3
    one, other = edges.unbind(1)
    ratio = P.blood_contrast * (ratio[:, one] + ratio[:, other]) / 2
    return torch.where(depth[one] == depth[other], 1 - ratio, 1 + 2 * ratio)


def _thin_front(hearts: Hearts) -> torch.Tensor:
    """Factor (n,) on the conductance that makes voltage grow less than in proportion to the thickness of the wall.

    A front of activation is a double layer, whose voltage depends on its area and not on the wall that it crosses
    (Wilson et al. 1933, Am Heart J 9:1). On this mesh a front is about as thick as the wall, and without the factor its
    voltage would grow with the muscle on both its sides.
    """
    thickness = hearts.wall_thickness.mean(dim=1) / P.usual_thickness
    return power(thickness.clamp(min=0.4), -P.thin_front)


def _viability(hearts: Hearts, level: torch.Tensor, angle: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
    """Viable share of each left ventricular node (n, nodes): the scar fills the wall from the endocardium outwards."""
    scarred = ((interpolate(hearts.transmurality, level, angle) - depth) * LEFT[2] + 0.5).clamp(0, 1)
    # A segment's viability counts its scar; what remains is stunning, at every depth.
    stunned = (hearts.viability / (1 - hearts.transmurality).clamp(min=0.05)).clamp(max=1)
    return (1 - scarred) * interpolate(stunned, level, angle)

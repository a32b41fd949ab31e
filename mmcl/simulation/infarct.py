"""Coronary disease in the wall: which segments of the culprit artery's territory are scarred, stunned or thinned.

Scar fills the wall from the endocardium outwards; beside it lies a border zone of patchy scar, which contracts and
conducts badly; the rest of the territory may be stunned.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mmcl.simulation.anatomy import RING
from mmcl.simulation.intervention import Change, changed
from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People
from mmcl.simulation.random import normal, uniform

P = parameters("infarct")

TERRITORIES = ((1, 2, 7, 8, 13, 14), (3, 4, 9, 10, 15), (5, 6, 11, 12, 16))
"""AHA segments supplied by LAD, RCA and LCX (Cerqueira et al. 2002, Circulation 105:539)."""

NEIGHBOURS = (
    *((k, (k + 1) % 6) for k in range(6)),
    *((6 + k, 6 + (k + 1) % 6) for k in range(6)),
    *((12 + k, 12 + (k + 1) % 4) for k in range(4)),
    *((k, k + 6) for k in range(6)),
    *((6, 12), (7, 12), (7, 13), (8, 13), (9, 14), (10, 14), (10, 15), (11, 15), (11, 12)),
)
"""Pairs of segments, counted from 0, that touch."""


@dataclass(frozen=True)
class WallDisease:
    """State of the wall.

    `transmurality` (n, 16) scar depth from the endocardium, 0-1; `border` (n, 16) share of a segment that is border
    zone; `stunning` (n, 16) contraction lost without scar, 0-1; `viability` (n, 16) what of the segment works, 1
    healthy; `thinning` (n, 16) factor of thickness; `burden` (n,) share of the wall that is scar.
    """

    transmurality: torch.Tensor
    border: torch.Tensor
    stunning: torch.Tensor
    viability: torch.Tensor
    thinning: torch.Tensor
    burden: torch.Tensor


def supplied_by(seed: int, subject: torch.Tensor) -> torch.Tensor:
    """Artery (0 LAD, 1 RCA, 2 LCX) that supplies each segment: int64 (n, 16), with individual variation."""
    usual = torch.empty(16, dtype=torch.int64, device=subject.device)
    for artery, segments in enumerate(TERRITORIES):
        usual[[k - 1 for k in segments]] = artery
    supply = usual.expand(len(subject), 16).clone()
    chance = uniform(seed, subject, "coronary anatomy", 16)
    for segment, artery, share in P.other_supply:
        supply[:, segment - 1] = torch.where(chance[:, segment - 1] < share, artery, supply[:, segment - 1])
    return supply


def diseased_wall(seed: int, people: People, change: Change | None = None) -> WallDisease:
    """Scar and stunning of each subject's wall; a heart without CAD has none.

    Severity varies from no visible change, through stunning, to a large transmural infarct. An infarct takes the
    segments of the territory in an individual order and thins out towards its edge; the rest is stunned. One that
    nobody noticed is old and small, and leaves nothing stunned.
    """
    subject = people.subject
    draw = uniform(seed, subject, "infarct", 6)
    inside = (supplied_by(seed, subject) == people.culprit[:, None]) & people.cad[:, None]
    old = people.unrecognised[:, None]
    infarcted = old | (draw[:, :1] >= P.ischaemia_only + P.stunned_only)
    stunned = ~old & (draw[:, :1] >= P.ischaemia_only)

    low, high = (torch.where(old, *pair) for pair in zip(P.unrecognised_extent, P.extent, strict=True))
    extent = low + (high - low) * draw[:, 1:2]
    order = uniform(seed, subject, "infarct order", 16) + _handicap(subject.device)
    rank = torch.where(inside, order, torch.inf).argsort(1).argsort(1)
    position = (rank + 0.5) / inside.sum(1, keepdim=True).clamp(min=1)
    core = inside & infarcted & ((position <= extent) | (rank == 0))

    depth = P.peak_depth[0] + (P.peak_depth[1] - P.peak_depth[0]) * draw[:, 2:3]
    towards_edge = 1 - (1 - P.edge_depth) * (position / extent).clamp(0, 1)
    wobble = 1 + P.depth_sd * normal(seed, subject, "scar depth", 16)
    transmurality = torch.where(core, (depth * towards_edge * wobble).clamp(0.1, 1.0), 0.0)

    transmurality = changed(change, "transmurality", transmurality)
    loss = P.stunning[0] + (P.stunning[1] - P.stunning[0]) * draw[:, 3:4]
    stunning = changed(change, "stunning", torch.where(inside & stunned, loss, 0.0))
    border = border_zone(transmurality)
    viability = (1 - transmurality - P.border_loss * border) * (1 - stunning)
    thinning = 1 - P.thinning * transmurality * (old | (draw[:, 4:5] < P.old_share))
    return WallDisease(transmurality, border, stunning, viability, thinning, transmurality.mean(1))


def border_zone(transmurality: torch.Tensor) -> torch.Tensor:
    """Share (n, 16) of each segment that is border zone, from the scar in it and in those that touch it, (n, 16)."""
    beside = torch.zeros_like(transmurality)
    for one, other in NEIGHBOURS:
        beside[:, one] = torch.maximum(beside[:, one], transmurality[:, other])
        beside[:, other] = torch.maximum(beside[:, other], transmurality[:, one])
    return (1 - transmurality) * P.border_share * torch.maximum(transmurality, P.border_reach * beside)


def _handicap(device: torch.device) -> torch.Tensor:
    """Handicap (16,) in the order of infarction: infarcts start distally and at the middle, the base is taken last."""
    return torch.tensor([P.base_spared[band] for band in RING], dtype=torch.float64, device=device)

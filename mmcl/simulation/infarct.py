"""Coronary disease in the wall: which segments of the culprit artery's territory are scarred, stunned or thinned."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mmcl.simulation.intervention import Change, changed
from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People
from mmcl.simulation.random import normal, uniform

P = parameters("infarct")

# Every constant of this module.
TERRITORIES = ((1, 2, 7, 8, 13, 14), (3, 4, 9, 10, 15), (5, 6, 11, 12, 16))
"""AHA segments supplied by LAD, RCA and LCX (Cerqueira et al. 2002, Circulation 105:539)."""

SHARED = {9: (0, 0.45), 15: (0, 0.30), 16: (0, 0.20), 3: (0, 0.10), 12: (0, 0.25), 4: (2, 0.12), 10: (2, 0.15)}
"""Segments that another artery often supplies, with its chance; directions Pereztol-Valdes 2005, JASE 18:1029."""


@dataclass(frozen=True)
class WallDisease:
    """State of the wall.

    `transmurality` (n, 16) scar depth from the endocardium, 0-1; `viability` (n, 16), 1 healthy; `thinning` (n, 16)
    factor of thickness; `burden` (n,) share of the wall that is scar.
    """

    transmurality: torch.Tensor
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
    for segment, (artery, share) in SHARED.items():
        supply[:, segment - 1] = torch.where(chance[:, segment - 1] < share, artery, supply[:, segment - 1])
    return supply


def diseased_wall(seed: int, people: People, change: Change | None = None) -> WallDisease:
    """Scar and stunning of each subject's wall; a heart without CAD has none.

    Severity varies from no visible change, through stunning, to a large transmural infarct. An infarct takes the
    segments of the territory in an individual order and thins out towards its edge; the rest is stunned.
    """
    subject = people.subject
    draw = uniform(seed, subject, "infarct", 6)
    inside = (supplied_by(seed, subject) == people.culprit[:, None]) & people.cad[:, None]
    infarcted = draw[:, :1] >= P.ischaemia_only + P.stunned_only
    stunned = draw[:, :1] >= P.ischaemia_only

    extent = P.extent[0] + (P.extent[1] - P.extent[0]) * draw[:, 1:2]
    order = uniform(seed, subject, "infarct order", 16) + _basal_sparing(subject.device)
    rank = torch.where(inside, order, torch.inf).argsort(1).argsort(1)
    position = (rank + 0.5) / inside.sum(1, keepdim=True).clamp(min=1)
    core = inside & infarcted & ((position <= extent) | (rank == 0))

    depth = P.peak_depth[0] + (P.peak_depth[1] - P.peak_depth[0]) * draw[:, 2:3]
    towards_edge = 1 - (1 - P.edge_depth) * (position / extent).clamp(0, 1)
    wobble = 1 + 0.12 * normal(seed, subject, "scar depth", 16)
    transmurality = torch.where(core, (depth * towards_edge * wobble).clamp(0.1, 1.0), 0.0)

    transmurality = changed(change, "transmurality", transmurality)
    loss = P.stunning[0] + (P.stunning[1] - P.stunning[0]) * draw[:, 3:4]
    stunning = changed(change, "stunning", torch.where(inside & stunned, loss, 0.0))
    viability = (1 - transmurality) * (1 - stunning)
    thinning = 1 - P.thinning * transmurality * (draw[:, 4:5] < P.old_share)
    return WallDisease(transmurality, viability, thinning, transmurality.mean(1))


def _basal_sparing(device: torch.device) -> torch.Tensor:
    """Handicap (16,) in the order of infarction: infarcts start distally and at the middle, the base is taken last."""
    return torch.tensor([0.45] * 6 + [0.0] * 6 + [0.05] * 4, dtype=torch.float64, device=device)

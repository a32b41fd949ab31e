"""Coronary disease in the wall: which segments of the culprit artery's territory are scarred, stunned or thinned."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mmcl.simulation.population import People
from mmcl.simulation.random import normal, uniform

# Every constant of this module.
TERRITORIES = ((1, 2, 7, 8, 13, 14), (3, 4, 9, 10, 15), (5, 6, 11, 12, 16))
"""AHA segments supplied by LAD, RCA and LCX (Cerqueira et al. 2002, Circulation 105:539)."""

SHARED = {9: (0, 0.45), 15: (0, 0.30), 16: (0, 0.20), 3: (0, 0.10), 12: (0, 0.25), 4: (2, 0.12), 10: (2, 0.15)}
"""Segments that another artery often supplies, with its chance; directions Pereztol-Valdes 2005, JASE 18:1029."""

ISCHAEMIA_ONLY, STUNNED_ONLY = (
    0.42,
    0.15,
)  # shares of CAD: stenosis with a normal wall at rest; stunned without scar; assumed
EXTENT = (0.20, 1.0)  # share of the territory that an infarct takes, uniform; assumed
PEAK_DEPTH = (0.25, 1.0)  # transmurality in its core: subendocardial to transmural, uniform; assumed
EDGE_DEPTH = 0.55  # transmurality at the infarct's edge relative to its core: scar narrows outwards, effective
STUNNING = (0.15, 0.55)  # loss of viability of stunned segments; assumed
OLD_SHARE, THINNING = (
    0.70,
    0.42,
)  # old infarcts; loss of thickness of an old transmural scar: Fieno 2004, JACC 43:2124, effective


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


def diseased_wall(seed: int, people: People) -> WallDisease:
    """Scar and stunning of each subject's wall; a heart without CAD has none.

    Severity varies from no visible change, through stunning, to a large transmural infarct. An infarct takes the
    segments of the territory in an individual order and thins out towards its edge; the rest is stunned.
    """
    subject = people.subject
    draw = uniform(seed, subject, "infarct", 6)
    inside = (supplied_by(seed, subject) == people.culprit[:, None]) & people.cad[:, None]
    infarcted = draw[:, :1] >= ISCHAEMIA_ONLY + STUNNED_ONLY
    stunned = draw[:, :1] >= ISCHAEMIA_ONLY

    extent = EXTENT[0] + (EXTENT[1] - EXTENT[0]) * draw[:, 1:2]
    order = uniform(seed, subject, "infarct order", 16) + _basal_sparing(subject.device)
    rank = torch.where(inside, order, torch.inf).argsort(1).argsort(1)
    position = (rank + 0.5) / inside.sum(1, keepdim=True).clamp(min=1)
    core = inside & infarcted & ((position <= extent) | (rank == 0))

    depth = PEAK_DEPTH[0] + (PEAK_DEPTH[1] - PEAK_DEPTH[0]) * draw[:, 2:3]
    towards_edge = 1 - (1 - EDGE_DEPTH) * (position / extent).clamp(0, 1)
    wobble = 1 + 0.12 * normal(seed, subject, "scar depth", 16)
    transmurality = torch.where(core, (depth * towards_edge * wobble).clamp(0.1, 1.0), 0.0)

    loss = STUNNING[0] + (STUNNING[1] - STUNNING[0]) * draw[:, 3:4]
    viability = (1 - transmurality) * torch.where(inside & stunned, 1 - loss, 1.0)
    thinning = 1 - THINNING * transmurality * (draw[:, 4:5] < OLD_SHARE)
    return WallDisease(transmurality, viability, thinning, transmurality.mean(1))


def _basal_sparing(device: torch.device) -> torch.Tensor:
    """Handicap (16,) in the order of infarction: infarcts start distally and at the middle, the base is taken last."""
    return torch.tensor([0.45] * 6 + [0.0] * 6 + [0.05] * 4, dtype=torch.float64, device=device)

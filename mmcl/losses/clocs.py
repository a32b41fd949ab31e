"""The losses of CLOCS (Kiyasseh et al. 2021, ICML): segments in time, or leads, of one patient's ECG are its views.

CMSC compares segments, CMLC leads, and CMSMLC both; they differ in which views are made, not in the loss.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F

from mmcl.losses.gather import check_temperature, gather
from mmcl.precision import at_least_single, without_autocast


@without_autocast
def clocs_loss(views: torch.Tensor, patients: torch.Tensor | None = None, temperature: float = 0.1) -> torch.Tensor:
    """Mean over all pairs of views, both ways, of the contrastive loss between them; a scalar.

    `views` (views, batch, width), not normalised; `patients` (batch,) int64 tells who each row belongs to, None that
    all differ. A row's positives in the other view are all rows of its patient, as published; across processes rows
    are those of the global batch. ValueError for fewer than 2 views, other shapes, or a temperature not positive
    and finite.
    """
    if views.ndim != 3 or len(views) < 2:
        raise ValueError(f"views of shape {tuple(views.shape)}: expected (at least 2 views, batch, width)")
    check_temperature(temperature)
    if patients is not None and patients.shape != views.shape[1:2]:
        raise ValueError(f"patients of shape {tuple(patients.shape)}: expected ({views.shape[1]},)")
    whole = F.normalize(at_least_single(gather(views.transpose(0, 1)).transpose(0, 1)), dim=2)
    batch = whole.shape[1]
    if patients is None:
        positive = torch.eye(batch, dtype=torch.bool, device=views.device)
    else:
        owner = gather(patients)
        positive = owner[:, None] == owner[None, :]
    losses = []
    for one, other in itertools.combinations(whole, 2):
        similarity = one @ other.T / temperature
        losses += [_attract(similarity, positive), _attract(similarity.T, positive)]
    return torch.stack(losses).mean()


def _attract(similarity: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
    """Mean over all positives of -log softmax of their row."""
    return -(similarity.log_softmax(dim=1) * positive).sum() / positive.sum()

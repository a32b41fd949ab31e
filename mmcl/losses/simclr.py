"""NT-Xent, the loss of SimCLR (Chen et al. 2020, ICML): two views of a sample attract, all others repel.

Serves ECGs and CMR alike. Across processes the negatives are those of the global batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmcl.losses.gather import check_temperature, gather
from mmcl.precision import at_least_single, without_autocast


def view_logits(one: torch.Tensor, other: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cosine of each of the 2 batch views with every other over the temperature; -inf with itself. (2 n, 2 n)."""
    views = F.normalize(at_least_single(torch.cat([one, other])), dim=1)
    itself = torch.eye(len(views), dtype=torch.bool, device=views.device)
    return (views @ views.T / temperature).masked_fill(itself, -torch.inf)


def partners(batch: int, device: torch.device) -> torch.Tensor:
    """Class of each row of `view_logits`, (2 batch,) int64: the other view of its sample."""
    return torch.arange(2 * batch, device=device).roll(batch)


@without_autocast
def nt_xent_loss(one: torch.Tensor, other: torch.Tensor, temperature: float = 0.1) -> torch.Tensor:
    """NT-Xent of two views, each (batch, width), not normalised; a scalar.

    Every one of the 2 batch views looks for its partner among the 2 batch - 1 others, by cosine over the temperature.
    With a batch of 1 there is nothing to repel and the loss is 0. ValueError when the shapes differ or the temperature
    is not positive and finite.
    """
    if one.shape != other.shape or one.ndim != 2:
        raise ValueError(f"views {tuple(one.shape)} and {tuple(other.shape)}: expected two equal (batch, width)")
    check_temperature(temperature)
    similarity = view_logits(gather(one), gather(other), temperature)
    return F.cross_entropy(similarity, partners(len(similarity) // 2, similarity.device))

"""The loss of BYOL (Grill et al. 2020, NeurIPS): the online network predicts the target's view; no negatives."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmcl.precision import at_least_single, without_autocast


@without_autocast
def byol_loss(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of directions, 2 - 2 cos, in [0, 4]; both (batch, width), a scalar.

    `target` gets no gradient. The symmetric loss is the sum over both assignments of the views. ValueError when the
    shapes differ.
    """
    if prediction.shape != target.shape or prediction.ndim != 2:
        found = f"{tuple(prediction.shape)} and {tuple(target.shape)}"
        raise ValueError(f"prediction and target {found}: expected two equal (batch, width)")
    prediction, target = at_least_single(prediction), at_least_single(target.detach())
    return 2 - 2 * F.cosine_similarity(prediction, target, dim=1).mean()

"""Sigmoid loss of pairs (Zhai et al. 2023, ICCV, SigLIP, algorithm 1): each pair of a batch is a question of its own.

L = -1/n sum_ij log sigmoid(z_ij (t x_i . y_j + b)), z_ij 1 for a subject's own pair and -1 for all others, x and y unit
vectors; the scale t = 1 / temperature and the bias b are learnt. Across processes the pairs are those of the global
batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmcl.losses.clip import logits
from mmcl.losses.gather import check_temperature, gather
from mmcl.precision import without_autocast


@without_autocast
def sigmoid_loss(
    cmr: torch.Tensor, ecg: torch.Tensor, temperature: float | torch.Tensor = 0.1, bias: float | torch.Tensor = -10.0
) -> torch.Tensor:
    """Sigmoid loss of paired projections, each (batch, width), not normalised: the sum over a row, averaged; a scalar.

    `temperature` and `bias` may be tensors and learnt; the defaults are the published start. The negative bias stands
    for how many more strangers than partners a batch holds. ValueError when the shapes differ or the temperature is not
    positive and finite.
    """
    if cmr.shape != ecg.shape or cmr.ndim != 2:
        raise ValueError(f"projections {tuple(cmr.shape)} and {tuple(ecg.shape)}: expected two equal (batch, width)")
    check_temperature(temperature)
    similarity = logits(gather(cmr), gather(ecg), temperature) + bias
    sign = 2 * torch.eye(len(similarity), device=similarity.device, dtype=similarity.dtype) - 1
    return -F.logsigmoid(sign * similarity).sum(dim=1).mean()

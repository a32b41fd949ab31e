"""CLIP loss between CMR and ECG projections (Radford et al. 2021; method section 6).

L = lambda CE(rows) + (1 - lambda) CE(columns) of logits z_cmr z_ecg^T / tau, where rows are CMR and the temperature is
fixed. Across processes the negatives are those of the global batch.
"""

from __future__ import annotations

import torch
import torch.distributed as distributed
import torch.nn.functional as F


class _Gather(torch.autograd.Function):
    """Concatenate equal batches of all processes; backward sums their gradients of one's own part.

    All processes then hold the same global loss, so the sum is their number times its gradient, which the average of
    distributed data parallel divides out: training equals one process with the whole batch.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(x) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]


def gather(x: torch.Tensor) -> torch.Tensor:
    """(batch, width) of every process -> (processes * batch, width), with gradient; `x` itself for one process.

    All processes must hold batches of one size.
    """
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        return _Gather.apply(x)
    return x


def logits(rows: torch.Tensor, columns: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cosine of every row with every column over the temperature: (n, width), (m, width) -> (n, m)."""
    return F.normalize(rows, dim=1) @ F.normalize(columns, dim=1).T / temperature


def labels(batch: int, device: torch.device) -> torch.Tensor:
    """Class of each row, (batch,) int64: row i belongs to column i."""
    return torch.arange(batch, device=device)


def clip_loss(cmr: torch.Tensor, ecg: torch.Tensor, temperature: float = 0.1, lambda_0: float = 0.5) -> torch.Tensor:
    """CLIP loss of paired projections, each (batch, width), not normalised; a scalar.

    `lambda_0` weighs the cross-entropy over the rows (which ECG belongs to this CMR). ValueError when the shapes
    differ, the temperature is not positive or `lambda_0` is outside [0, 1].
    """
    if cmr.shape != ecg.shape or cmr.ndim != 2:
        raise ValueError(f"projections {tuple(cmr.shape)} and {tuple(ecg.shape)}: expected two equal (batch, width)")
    if not temperature > 0.0:
        raise ValueError(f"temperature {temperature}: expected a positive number")
    if not 0.0 <= lambda_0 <= 1.0:
        raise ValueError(f"lambda_0 {lambda_0}: expected 0 to 1")
    similarity = logits(gather(cmr), gather(ecg), temperature)
    target = labels(len(similarity), similarity.device)
    return lambda_0 * F.cross_entropy(similarity, target) + (1 - lambda_0) * F.cross_entropy(similarity.T, target)

"""The batch of all processes: contrastive losses take their negatives, and Barlow Twins its statistics, from it.

Losses are computed in single precision at least, whatever the precision of the projections, under autocast too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.distributed as distributed

LEAST_TEMPERATURE = 1e-8
"""Far below any in use; over 1e-39 a cosine is infinite in single precision."""


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
    """(batch, ...) of every process -> (processes * batch, ...), with gradient; `x` itself for one process.

    All processes must hold batches of one size.
    """
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        return _Gather.apply(x)
    return x


def without_autocast(loss: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A loss whose matrix products autocast leaves alone: halves would overflow at small temperatures."""

    @functools.wraps(loss)
    def computed(*arguments, **keywords) -> torch.Tensor:
        tensor = next(value for value in (*arguments, *keywords.values()) if torch.is_tensor(value))
        with torch.autocast(tensor.device.type, enabled=False):
            return loss(*arguments, **keywords)

    return computed


def at_least_single(x: torch.Tensor) -> torch.Tensor:
    """Half-precision numbers as float32; others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))

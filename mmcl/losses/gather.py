"""The batch of all processes: contrastive losses take their negatives, and Barlow Twins its statistics, from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as distributed

LEAST_TEMPERATURE = 1e-8
"""Far below any in use; over 1e-39 a cosine is infinite in single precision."""

_apart = False


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


def check_temperature(temperature: float | torch.Tensor) -> None:
    """ValueError for a number that is not finite and positive; a tensor is not looked at, for that waits for a GPU."""
    if not torch.is_tensor(temperature) and not LEAST_TEMPERATURE <= temperature < float("inf"):
        raise ValueError(f"temperature {temperature}: expected a finite number of at least {LEAST_TEMPERATURE:g}")


def gather(x: torch.Tensor) -> torch.Tensor:
    """(batch, ...) of every process -> (processes * batch, ...), with gradient; `x` itself for one process.

    All processes must hold batches of one size, unless they are `apart`.
    """
    if not _apart and distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        return _Gather.apply(x)
    return x


@contextmanager
def apart() -> Iterator[None]:
    """Within, the batch of each process stands for itself: in validation their sizes may differ by one."""
    global _apart
    _apart, before = True, _apart
    try:
        yield
    finally:
        _apart = before

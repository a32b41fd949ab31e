"""What is computed in single precision whatever autocast says: losses, and where an image is sampled."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch


def without_autocast(function: Callable) -> Callable:
    """`function` of tensors, whose matrix products autocast leaves alone.

    Halves would overflow in a loss at small temperatures, and put a pixel of an image into the wrong place.
    """

    @functools.wraps(function)
    def computed(*arguments, **keywords):
        tensor = next(value for value in (*arguments, *keywords.values()) if torch.is_tensor(value))
        with torch.autocast(tensor.device.type, enabled=False):
            return function(*arguments, **keywords)

    return computed


def at_least_single(x: torch.Tensor) -> torch.Tensor:
    """Half-precision numbers as float32; others as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))

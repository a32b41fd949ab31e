"""Weights of the conformance numbers."""

import math
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch


def _weights(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Pseudo-random weights of `tensor`'s shape that depend on its released `name` alone (README of the numbers)."""
    if not tensor.is_floating_point():
        return tensor
    a = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(tuple(tensor.shape))
    if name.endswith("running_var"):
        a = 1 + 0.2 * np.abs(a)
    elif tensor.ndim == 1:
        a = 1 + 0.1 * a if name.endswith("weight") else 0.1 * a
    else:
        a = a / math.sqrt(math.prod(tensor.shape[1:]))
    return torch.from_numpy(a).float()


@pytest.fixture(scope="session")
def recipe() -> Callable[[str, torch.Tensor], torch.Tensor]:
    """`recipe(name, tensor)`: the weights that the conformance numbers were computed with."""
    return _weights

"""Periodic banks of Gaussian texture, from which tissue and noise are cut: drawn once, the same for every seed."""

from __future__ import annotations

from functools import cache

import torch

from mmcl.simulation.random import normal

SIDE = 512  # pixels of a bank
SMOOTHING = {"fine": 1.2, "coarse": 5.0, "noise": 0.6, "trabeculae": 2.5, "fat": 6.0}  # SD of the kernel, pixels


def windows(texture: str, offset: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Cut windows (..., rows, columns) out of the bank `texture` (a key of SMOOTHING).

    `offset` (...), uniform numbers in (0, 1), places them; each window has about mean 0 and SD 1, float32.
    """
    row, column = _start(offset)
    tiled = _tiled_bank(texture, str(offset.device), rows, columns)
    return tiled.unfold(0, rows, 1).unfold(1, columns, 1)[row, column]


def ring(texture: str, offset: torch.Tensor, angle: torch.Tensor, radius: float) -> torch.Tensor:
    """Sample a bank on circles of `radius` pixels placed by `offset` (...): a random function (..., angles)."""
    offset = offset[..., None]
    return sample(texture, offset, radius * torch.cos(angle), radius * torch.sin(angle))


def sample(texture: str, offset: torch.Tensor, right: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    """Values of a bank at `right`, `down` pixels from where `offset` places the origin; nearest pixel, broadcast."""
    row, column = _start(offset)
    # The mask is the remainder: the side is a power of two.
    row = (row + down.round().long()) & (SIDE - 1)
    column = (column + right.round().long()) & (SIDE - 1)
    return _bank(texture, str(offset.device)).flatten()[row * SIDE + column]


def _start(offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    start = (offset * SIDE * SIDE).long()
    return start // SIDE, start % SIDE


@cache
def _bank(texture: str, device: str) -> torch.Tensor:
    """Periodic Gaussian texture (side, side) float32, mean 0 and SD 1, the same on every device."""
    white = normal(0, torch.arange(SIDE, dtype=torch.int64), texture, SIDE)
    frequency = torch.fft.fftfreq(SIDE, dtype=torch.float64)
    square = frequency[:, None] ** 2 + frequency[None, :] ** 2
    low_pass = torch.exp(-2 * (torch.pi * SMOOTHING[texture]) ** 2 * square)
    smooth = torch.fft.ifft2(torch.fft.fft2(white) * low_pass).real
    return ((smooth - smooth.mean()) / smooth.std()).float().to(device)


@cache
def _tiled_bank(texture: str, device: str, rows: int, columns: int) -> torch.Tensor:
    bank = _bank(texture, device)
    bank = torch.cat((bank, bank[:rows]))
    return torch.cat((bank, bank[:, :columns]), 1)

"""Counter-based random numbers: every draw is a pure function of (seed, subject, stream, index).

Subject k of seed s is therefore the same whatever the batch, its size, its order or the device. The mixing function is
SplitMix64 (Steele, Lea & Flood 2014, OOPSLA), applied to a key of seed, subject and stream, then to the index; torch's
int64 arithmetic wraps modulo 2**64 on CPU and CUDA alike.
"""

from __future__ import annotations

import zlib

import torch


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = 0x9E3779B97F4A7C15
_GAMMA = _signed(_GOLDEN)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift of int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: torch.Tensor) -> torch.Tensor:
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def uniform(seed: int, subject: torch.Tensor, stream: str, count: int = 1) -> torch.Tensor:
    """Uniform numbers in (0, 1), float64, shape (subjects, count).

    `subject` is an int64 tensor (subjects,); `stream` names what is drawn, so that a new draw elsewhere moves no other.
    """
    offset = _signed(zlib.crc32(stream.encode()) * _GOLDEN % (1 << 64))
    key = _mix(_mix(subject.long() * _GAMMA + seed) + offset)
    index = torch.arange(1, count + 1, dtype=torch.int64, device=subject.device)
    bits = _mix(key[:, None] + index * _GAMMA)
    return (_shift(bits, 12).double() + 0.5) * 2.0**-52


def power(base: torch.Tensor, exponent: float) -> torch.Tensor:
    """`base` (at least 0) to a power, rounded the same at every place of a tensor: torch's own is not."""
    return torch.exp(exponent * torch.log(base))


def normal(seed: int, subject: torch.Tensor, stream: str, count: int = 1) -> torch.Tensor:
    """Standard normal numbers, float64, shape (subjects, count), by the inverse distribution function."""
    return torch.special.ndtri(uniform(seed, subject, stream, count))

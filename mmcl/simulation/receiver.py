"""What the scanner makes of the signal: magnitude, coil shading, artefacts and Rician noise."""

from __future__ import annotations

import math

import torch

from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People
from mmcl.simulation.random import normal, uniform
from mmcl.simulation.texture import windows

P = parameters("receiver")


def receive(
    seed: int,
    people: People,
    signal: torch.Tensor,
    noise_offset: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    spacing: float,
) -> torch.Tensor:
    """Images (n, slices, frames, rows, columns) uint8 of `signal`, in which fat is negative.

    `noise_offset` (n, slices, frames, 2) uniform numbers that choose each frame's noise; `x` (n, slices, columns) mm to
    image right and `y` (n, slices, rows) mm up, from the left ventricle's centre, in steps of `spacing`.
    `signal` is overwritten.
    """
    rows, columns = signal.shape[-2:]
    _smooth(signal, P.resolution / spacing)
    draw = normal(seed, people.subject, "receiver", 4).clamp(-2.5, 2.5).float()[:, :, None, None, None]
    chance = uniform(seed, people.subject, "artefact", 8).float()
    slope = (P.shading + P.shading_sd * draw[:, 0]) / 100
    shading = 1 - slope * (x[..., None, :] - P.shading_tilt_sd * draw[:, 1] * y[..., None])
    banded = chance[:, 0] < P.banding_share
    if banded.any():
        shading[banded] *= _banding(chance[banded], x[banded], y[banded])
    gain = _between(P.gain_range, chance[:, 1])
    signal *= (shading.clamp(0.35, 1.7) * gain[:, None, None, None])[:, :, None]
    # Where water and fat share a pixel their signals cancel, which draws the dark outline of organs.
    signal.abs_()
    for k in torch.nonzero(chance[:, 2] < P.ghost_share).flatten().tolist():
        shift = rows // 3 + int(chance[k, 3] * rows / 4)
        signal[k] += _between(P.ghost_range, chance[k, 4]) * signal[k].roll(shift, dims=-2)
    sigma = P.noise * _between(P.noise_range, chance[:, 5] ** 2)[:, None, None, None, None]
    in_phase, quadrature = (windows("noise", noise_offset[..., k], rows, columns) for k in (0, 1))
    in_phase.mul_(sigma).add_(signal)
    quadrature.mul_(sigma)
    magnitude = in_phase.square_().addcmul_(quadrature, quadrature).sqrt_()
    return magnitude.mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def _smooth(signal: torch.Tensor, width: float) -> None:
    """Spread `signal` in place by a kernel of SD `width` pixels in both directions; the image's rim stays."""
    passes = math.ceil(2 * width**2)  # as many as keep the kernel of three pixels without a dip
    for axis in (-1, -2) * passes:
        share = width**2 / passes / 2
        count = signal.shape[axis] - 2
        before, middle, after = (signal.narrow(axis, k, count) for k in range(3))
        middle.copy_((before + after).mul_(share).add_(middle, alpha=1 - 2 * share))


def _banding(chance: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Dark off-resonance bands (n, slices, rows, columns) as a factor of signal."""
    angle, place = (chance[:, k, None, None, None] for k in (6, 7))
    along = x[..., None, :] * torch.cos(math.pi * angle) + y[..., None] * torch.sin(math.pi * angle)
    period = P.banding_period
    distance = torch.remainder(along - period * place, period) - period / 2
    return 1 - P.banding_depth * torch.exp(-((distance / P.banding_width) ** 2))


def _between(bounds: tuple[float, float], share: torch.Tensor) -> torch.Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * share

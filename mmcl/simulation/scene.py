"""What surrounds the heart in a short-axis cine, and what the scanner adds: shading, noise and artefacts.

Signals are relative to full scale (1), with the order of balanced steady-state free precession: fat and blood bright,
liver and spleen mid, muscle dark, lung and air black.
"""

from __future__ import annotations

from functools import cache

import torch

from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People
from mmcl.simulation.random import normal, uniform

P = parameters("scene")

TEXTURE_SIDE = 512  # pixels of the periodic texture and noise banks
TEXTURES = {"fine": 1.2, "coarse": 5.0, "noise": 0.45, "trabeculae": 2.5, "fat": 6.0}  # smoothing in pixels


def windows(texture: str, offset: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Cut windows (..., rows, columns) out of the periodic bank `texture` (a key of TEXTURES).

    `offset` (...), uniform numbers in (0, 1), places them; each window has about mean 0 and SD 1, float32.
    """
    row, column = _start(offset)
    tiled = _tiled_bank(texture, str(offset.device), rows, columns)
    return tiled.unfold(0, rows, 1).unfold(1, columns, 1)[row, column]


def ring(texture: str, offset: torch.Tensor, angle: torch.Tensor, radius: float) -> torch.Tensor:
    """Sample a bank on circles of `radius` pixels placed by `offset` (...): a random function (..., angles)."""
    row, column = (start[..., None] for start in _start(offset))
    row = torch.remainder(row + (radius * torch.sin(angle)).round().long(), TEXTURE_SIDE)
    column = torch.remainder(column + (radius * torch.cos(angle)).round().long(), TEXTURE_SIDE)
    return _bank(texture, str(offset.device))[row, column]


def _start(offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    start = (offset * TEXTURE_SIDE * TEXTURE_SIDE).long()
    return start // TEXTURE_SIDE, start % TEXTURE_SIDE


@cache
def _bank(texture: str, device: str) -> torch.Tensor:
    """Periodic Gaussian texture (side, side) float32, mean 0 and SD 1, the same on every device and for every seed."""
    white = normal(0, torch.arange(TEXTURE_SIDE, dtype=torch.int64), texture, TEXTURE_SIDE)
    frequency = torch.fft.fftfreq(TEXTURE_SIDE, dtype=torch.float64)
    square = frequency[:, None] ** 2 + frequency[None, :] ** 2
    low_pass = torch.exp(-2 * (torch.pi * TEXTURES[texture]) ** 2 * square)
    smooth = torch.fft.ifft2(torch.fft.fft2(white) * low_pass).real
    return ((smooth - smooth.mean()) / smooth.std()).float().to(device)


@cache
def _tiled_bank(texture: str, device: str, rows: int, columns: int) -> torch.Tensor:
    bank = _bank(texture, device)
    bank = torch.cat((bank, bank[:rows]))
    return torch.cat((bank, bank[:, :columns]), 1)


def render_scene(
    seed: int,
    people: People,
    fine: torch.Tensor,
    size: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    depth: torch.Tensor,
) -> torch.Tensor:
    """Signal (n, slices, rows, columns) of everything but the heart.

    `fine` texture of the same shape; `size` (n,) mm, outer radius of the left ventricle, which rests on the diaphragm;
    `x` (n, slices, columns) mm to image right and `y` (n, slices, rows) mm up, from the left ventricle's centre;
    `depth` (slices,) mm from the middle slice towards the apex.
    """
    draw = normal(seed, people.subject, "surroundings", 12).clamp(-2.5, 2.5).float()[:, :, None, None, None]
    # One window for all slices: organs reach through several of them.
    offset = uniform(seed, people.subject, "organs").expand(-1, x.shape[1])
    coarse = windows("coarse", offset, y.shape[-1], x.shape[-1])
    x, y, depth = x[..., None, :], y[..., None], depth[:, None, None]

    vessels = (coarse - 1.0).clamp(0, 1.2) * (0.4 + (fine - 0.5).clamp(0, 2))
    signal = P.lung * (1 + 0.25 * fine + 0.4 * coarse).clamp(min=0.2) + 0.2 * vessels
    aorta = P.aorta_radius - ((x - P.aorta[0] - 6 * draw[:, 6]) ** 2 + (y - P.aorta[1] - 5 * draw[:, 7]) ** 2).sqrt()
    present = (depth < P.aorta_depth).float()
    signal = torch.lerp(signal, torch.full_like(signal, P.muscle), _cover(aorta + 2.5) * present)
    signal = torch.lerp(signal, P.aorta_blood * (1 + 0.05 * fine), _cover(aorta) * present)

    surface = P.diaphragm_rise * depth / 10 - size[:, None, None, None] - P.diaphragm_gap - P.diaphragm_sd * draw[:, 0]
    surface = surface - P.diaphragm_curve * (1 + 0.3 * draw[:, 1]) * (x + 5 - 15 * draw[:, 2]) ** 2 + 2 * coarse
    below = _cover(surface - y)
    liver = P.liver * (1 + 0.06 * fine + 0.10 * coarse) - 0.12 * (coarse - 0.8).clamp(0, 1)
    abdomen = P.abdomen * (1 + 0.22 * draw[:, 3]) * (1 + 0.06 * fine + 0.25 * coarse)
    border = x - 22 - 14 * draw[:, 4] + 0.5 * (y - surface) + 7 * coarse
    organ = torch.lerp(liver, abdomen, _cover(border))
    organ = torch.lerp(organ, torch.full_like(organ, 0.75 * P.fat), _cover(3.0 - border.abs() + 1.5 * coarse))
    signal = torch.lerp(signal, organ, below)
    line = below * _cover(y - surface + 2.0 + 1.5 * coarse)
    signal = signal + (0.7 * P.fat - signal) * line * (0.5 + 0.5 * torch.tanh(2 * coarse))

    bmi = people.bmi.float()[:, None, None, None]
    inner = P.wall_left + P.wall_left_sd * draw[:, 5] - P.wall_nearer * depth / 10
    wide, tall = P.chest_semi_axes
    radius = (((x + inner - wide) / wide) ** 2 + ((y - 10) / tall) ** 2).sqrt()
    outside = (radius - 1) * wide + 0.8 * coarse
    fat = P.chest_muscle + P.chest_fat + P.fat_per_bmi * (bmi - 24).clamp(-6, 15)
    muscle = P.muscle * (1 + 0.10 * fine) + 0.4 * (coarse - 0.6).clamp(0, 1)
    signal = torch.lerp(signal, muscle, _cover(outside))
    signal = torch.lerp(signal, P.fat * (1 + 0.03 * fine), _cover(outside - P.chest_muscle))
    return torch.lerp(signal, torch.full_like(signal, P.air), _cover(outside - fat))


def receive(
    seed: int, people: People, signal: torch.Tensor, noise_offset: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """Images (n, slices, frames, rows, columns) uint8 of `signal`: shaded, with artefacts and Rician noise.

    `noise_offset` (n, slices, frames, 2) uniform numbers that choose each frame's noise; `x`, `y` as for
    `render_scene`. `signal` is overwritten.
    """
    rows, columns = signal.shape[-2:]
    draw = normal(seed, people.subject, "receiver", 4).clamp(-2.5, 2.5).float()[:, :, None, None, None]
    chance = uniform(seed, people.subject, "artefact", 8).float()
    slope = (P.shading + P.shading_sd * draw[:, 0]) / 100
    tilt = 0.3 * draw[:, 1]
    shading = 1 - slope * (x[..., None, :] - tilt * y[..., None])
    banded = chance[:, 0] < P.banding_share
    if banded.any():
        shading[banded] *= _banding(chance[banded], x[banded], y[banded])
    gain = P.gain_range[0] + (P.gain_range[1] - P.gain_range[0]) * chance[:, 1]
    signal *= (shading.clamp(0.35, 1.7) * gain[:, None, None, None])[:, :, None]
    for k in torch.nonzero(chance[:, 2] < P.ghost_share).flatten().tolist():
        shift = rows // 3 + int(chance[k, 3] * rows / 4)
        signal[k] += (0.05 + 0.10 * chance[k, 4]) * signal[k].roll(shift, dims=-2)
    sigma = (
        P.noise
        * (P.noise_range[0] + (P.noise_range[1] - P.noise_range[0]) * chance[:, 5] ** 2)[:, None, None, None, None]
    )
    in_phase, quadrature = (windows("noise", noise_offset[..., k], rows, columns) for k in (0, 1))
    in_phase.mul_(sigma).add_(signal)
    quadrature.mul_(sigma)
    magnitude = in_phase.square_().addcmul_(quadrature, quadrature).sqrt_()
    return magnitude.mul_(255).round_().clamp_(0, 255).to(torch.uint8)


def _banding(chance: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Dark off-resonance bands (n, slices, rows, columns) as a factor of signal."""
    angle, place = (chance[:, k, None, None, None] for k in (6, 7))
    along = x[..., None, :] * torch.cos(3.14 * angle) + y[..., None] * torch.sin(3.14 * angle)
    distance = torch.remainder(along - 140 * place, 140) - 70
    return 1 - 0.75 * torch.exp(-((distance / 7) ** 2))


def _cover(distance: torch.Tensor) -> torch.Tensor:
    """Share of a pixel that lies inside, from the distance (mm) past an edge."""
    return (distance / P.edge + 0.5).clamp(0, 1)

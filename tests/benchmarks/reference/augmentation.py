"""Augmentation as the published pipeline does it: one recording at a time, on the CPU, in the loader's processes.

Steps, order, probabilities and distributions are those of `mmcl.data.augmentation` (method section 7), which works on
whole batches; nothing of it is used here.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from mmcl.config import CmrAugmentation, EcgAugmentation


def augment_one_ecg(
    record: np.ndarray, window: int, augmentation: EcgAugmentation, positive: bool, random: np.random.Generator
) -> torch.Tensor:
    """Crop, Fourier surrogate, jitter and rescaling of one ECG, lead by lead: (12, record) -> (12, window) float32."""
    start = random.integers(record.shape[1] - window + 1)
    ecg = record[:, start : start + window].astype(np.float32)
    if random.random() >= augmentation.probability:
        return torch.from_numpy(ecg)
    if random.random() < augmentation.phase_probability:
        phase = augmentation.phase_noise * random.uniform(0, 2 * math.pi, window // 2 + 1)
        phase[0] = 0
        if window % 2 == 0:
            phase[-1] = 0
        ecg = np.stack([np.fft.irfft(np.fft.rfft(lead) * np.exp(1j * phase), n=window) for lead in ecg])
    ecg = ecg * (1 + augmentation.jitter * random.normal(0, 0.25, ecg.shape))
    factor = random.normal(1, augmentation.rescale)
    return torch.from_numpy((ecg * (abs(factor) if positive else factor)).astype(np.float32))


def augment_one_cmr(
    image: np.ndarray, side: int, augmentation: CmrAugmentation, random: np.random.Generator
) -> torch.Tensor:
    """Flip, rotation, colour jitter and resized crop of one CMR, each a pass over it.

    (3, crop, crop) uint8 -> (3, side, side) float32 in [0, 1].
    """
    cmr = torch.from_numpy(image.astype(np.float32) / 255)
    if random.random() >= augmentation.probability:
        return _resize(cmr, side)
    if random.random() < augmentation.flip:
        cmr = cmr.flip(2)
    cmr = _colour(_rotate(cmr, random.uniform(-augmentation.rotation, augmentation.rotation)), augmentation, random)
    return _resize(_crop(cmr, augmentation.crop_scale, random), side)


def _rotate(cmr: torch.Tensor, degrees: float) -> torch.Tensor:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    grid = F.affine_grid(torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]]), (1, *cmr.shape), align_corners=False)
    return F.grid_sample(cmr[None], grid, align_corners=False)[0]


def _colour(cmr: torch.Tensor, augmentation: CmrAugmentation, random: np.random.Generator) -> torch.Tensor:
    """Brightness, contrast and saturation in random order, each clamped."""
    grey = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    strengths = (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    for step in random.permutation(3):
        factor = random.uniform(max(0.0, 1 - strengths[step]), 1 + strengths[step])
        luma = (cmr * grey).sum(dim=0, keepdim=True)
        towards = (torch.zeros_like(luma), luma.mean(), luma)[step]
        cmr = (factor * cmr + (1 - factor) * towards).clamp(0, 1)
    return cmr


def _crop(cmr: torch.Tensor, scale: tuple[float, float], random: np.random.Generator) -> torch.Tensor:
    side = cmr.shape[1]
    for _ in range(10):
        area, aspect = random.uniform(*scale) * side**2, math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        columns, rows = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if rows <= side and columns <= side:
            top, left = random.integers(side - rows + 1), random.integers(side - columns + 1)
            return cmr[:, top : top + rows, left : left + columns]
    return cmr


def _resize(cmr: torch.Tensor, side: int) -> torch.Tensor:
    return F.interpolate(cmr[None], size=(side, side), mode="bilinear", align_corners=False)[0]

"""What an output loses when a lead, a wave or a patch of the image is taken away."""

from __future__ import annotations

import numpy as np
import torch

from mmcl.interpretation.attribution import Output
from mmcl.interpretation.waves import WAVES
from mmcl.models.contrastive import ContrastiveModel


@torch.no_grad()
def occlude(output: Output, inputs: torch.Tensor, occluded: torch.Tensor, *target: torch.Tensor) -> torch.Tensor:
    """By how much `output` falls, (batch,), when `inputs` become `occluded`; negative where it rises."""
    return output(inputs, *target) - output(occluded, *target)


def occlude_leads(output: Output, ecg: torch.Tensor, *target: torch.Tensor) -> torch.Tensor:
    """Drop of `output` (batch, leads) when a lead of `ecg` (batch, leads, window) becomes a flat line at 0."""
    drops = []
    for lead in range(ecg.shape[1]):
        flat = ecg.clone()
        flat[:, lead] = 0.0
        drops.append(occlude(output, ecg, flat, *target))
    return torch.stack(drops, dim=1)


def occlude_waves(output: Output, ecg: torch.Tensor, waves: np.ndarray, *target: torch.Tensor) -> torch.Tensor:
    """Drop of `output` (batch, len(WAVES) + 1) when all of one wave, in every lead, is bridged by straight lines.

    `waves` (batch, window) says which wave a sample belongs to, from 1 in the order of WAVES; the last column is for
    the samples of none, 0. NaN for subjects without the wave in the window.
    """
    drops = []
    for wave in (*range(1, len(WAVES) + 1), 0):
        mask = waves == wave
        drop = occlude(output, ecg, bridge(ecg, mask), *target)
        drops.append(torch.where(torch.as_tensor(mask.any(axis=1), device=drop.device), drop, torch.nan))
    return torch.stack(drops, dim=1)


def bridge(ecg: torch.Tensor, mask: np.ndarray) -> torch.Tensor:
    """`ecg` (batch, leads, window) with straight lines where `mask` (batch, window) is True, as between two pens.

    At an end of the window the line is level.
    """
    time = np.arange(ecg.shape[2])
    signal = ecg.cpu().numpy().copy()
    for record, gone in zip(signal, mask, strict=True):
        if gone.any() and not gone.all():
            for lead in record:
                lead[gone] = np.interp(time[gone], time[~gone], lead[~gone])
    return torch.from_numpy(signal).to(ecg)


@torch.no_grad()
def occluded_projections(
    model: ContrastiveModel, cmr: torch.Tensor, patch: int, stride: int, batch: int = 256
) -> torch.Tensor:
    """Projections (n, rows, columns, projection) of `cmr` (n, 3, side, side) with a square of `patch` pixels greyed.

    Squares lie `stride` apart; grey is the mean of each frame. They serve every ECG that an image is paired with.
    """
    grey = cmr.mean(dim=(2, 3), keepdim=True)
    starts = range(0, cmr.shape[2] - patch + 1, stride)
    rows = []
    for top in starts:
        for left in starts:
            image = cmr.clone()
            image[:, :, top : top + patch, left : left + patch] = grey
            rows.append(torch.cat([model.project_cmr(part) for part in image.split(batch)]))
    return torch.stack(rows, dim=1).unflatten(1, (len(starts), len(starts)))

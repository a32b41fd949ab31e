"""Where ECG and CMR meet: cosine of local features of one with the global projection of the other (method section 9).

Every ECG token and every cell of the last CMR feature map, both upsampled by two, goes through its modality's
projection head. Its cosine with the other modality's projection says how much of what that modality tells is found
there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from mmcl.models.contrastive import ContrastiveModel

UPSAMPLING = 2
"""Of ECG tokens along time and of CMR cells along both axes; linear, before the projection head."""


class Projections(NamedTuple):
    """Unit vectors of the shared space.

    `ecg` and `cmr` (batch, projection) are global; `ecg_local` is (batch, leads, times, projection) with two times a
    patch, `cmr_local` (batch, rows, columns, projection) with two cells each way per cell of the feature map.
    """

    ecg: torch.Tensor
    cmr: torch.Tensor
    ecg_local: torch.Tensor
    cmr_local: torch.Tensor


def _upsample_time(tokens: torch.Tensor, leads: int) -> torch.Tensor:
    """(batch, leads * columns, width) -> (batch, leads, times, width); leads do not mix."""
    batch, count, width = tokens.shape
    rows = tokens.reshape(batch * leads, count // leads, width).transpose(1, 2)
    rows = F.interpolate(rows, scale_factor=UPSAMPLING, mode="linear", align_corners=False)
    return rows.transpose(1, 2).reshape(batch, leads, -1, width)


@torch.no_grad()
def project(
    model: ContrastiveModel, ecg: torch.Tensor, cmr: torch.Tensor, norm_local_tokens: bool = True
) -> Projections:
    """Global and local projections of `ecg` (batch, leads, window) and `cmr` (batch, 3, side, side), by subject.

    With `norm_local_tokens` (preset `corrected`) ECG tokens pass the norm that the pooled vector passes; without it, as
    published, they enter the head in another space than the one it was trained on. ValueError when the model is in
    training mode.
    """
    if model.training:
        raise ValueError("the contrastive model is in training mode: expected model.eval()")
    encoder = model.encoder_ecg
    sequence = encoder.sequence(ecg)
    tokens = _upsample_time(sequence[:, 1:], encoder.grid[0])
    if norm_local_tokens:
        tokens = encoder.last_norm(tokens)
    feature_map = model.encoder_imaging.feature_map(cmr)
    cells = F.interpolate(feature_map, scale_factor=UPSAMPLING, mode="bilinear", align_corners=False)
    projections = (
        model.projection_head_ecg(encoder.pool(sequence)),
        model.projection_head_imaging(feature_map.mean(dim=(2, 3))),
        model.projection_head_ecg(tokens),
        model.projection_head_imaging(cells.permute(0, 2, 3, 1)),
    )
    return Projections(*(F.normalize(z, dim=-1) for z in projections))


def cosine_map(local: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cosine, in [-1, 1], of local vectors (batch, ..., width) with `target` (batch, width): (batch, ...)."""
    return torch.einsum("b...w,bw->b...", F.normalize(local, dim=-1), F.normalize(target, dim=-1))


def ecg_segments(projections: Projections) -> torch.Tensor:
    """CMR -> ECG: cosine of each lead and time with the CMR, (batch, leads, times)."""
    return cosine_map(projections.ecg_local, projections.cmr)


def pairwise(projections: Projections) -> torch.Tensor:
    """Cosine of each ECG time with each CMR cell, averaged over the leads: (batch, times, rows, columns).

    Its frames along time are the animation of the map over the beat.
    """
    return torch.einsum("btw,bijw->btij", projections.ecg_local.mean(dim=1), projections.cmr_local)

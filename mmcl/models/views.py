"""One encoder and its projection head, for objectives that compare views of one modality.

Modules are named as in `ContrastiveModel`, so that the encoders are found in the same place.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import nn

from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.projection import ProjectionHead


class EcgViews(nn.Module):
    """Views of ECGs, or of single leads of them, each to one vector."""

    def __init__(self, encoder: EcgEncoder, head: ProjectionHead):
        super().__init__()
        self.encoder_ecg = encoder
        self.projection_head_ecg = head

    def forward(self, ecg: torch.Tensor) -> torch.Tensor:
        """(batch, leads, window) -> (batch, projection), not normalised."""
        return self.projection_head_ecg(self.encoder_ecg(ecg))

    def project_leads(self, ecg: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Each lead of `rows` alone: (batch, leads, window) -> (len(rows), batch, projection), not normalised.

        The encoder sees the tokens of that lead, with their positions, and no others.
        """
        encoder = self.encoder_ecg
        columns = encoder.grid[1]
        views = []
        for row in rows:
            keep = torch.arange(row * columns, (row + 1) * columns, device=ecg.device).expand(len(ecg), -1)
            views.append(self.projection_head_ecg(encoder.pool(encoder.sequence(ecg, keep))))
        return torch.stack(views)


class CmrViews(nn.Module):
    """Views of CMR frames, each to one vector."""

    def __init__(self, encoder: CmrEncoder, head: ProjectionHead):
        super().__init__()
        self.encoder_imaging = encoder
        self.projection_head_imaging = head

    def forward(self, cmr: torch.Tensor) -> torch.Tensor:
        """(batch, 3, side, side) -> (batch, projection), not normalised."""
        return self.projection_head_imaging(self.encoder_imaging(cmr))


class ByolModel(nn.Module):
    """Online network with a predictor, and the target network that follows it (Grill et al. 2020, NeurIPS, section 3).

    The target starts as a copy of the online encoder and head and gets no gradient, only `follow`.
    """

    def __init__(self, encoder: EcgEncoder, hidden: int = 4096, projection: int = 256):
        super().__init__()
        self.encoder_ecg = encoder
        self.projection_head_ecg = ProjectionHead(encoder.width, hidden, projection, batch_norm=True)
        self.predictor = ProjectionHead(projection, hidden, projection, batch_norm=True)
        self.target = copy.deepcopy(EcgViews(self.encoder_ecg, self.projection_head_ecg)).requires_grad_(False)

    def forward(self, ecg: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predictions and targets of a batch of views: (batch, leads, window) -> twice (batch, projection).

        The two views of an ECG go in separate batches, for BatchNorm takes the statistics of each view.
        """
        prediction = self.predictor(self.projection_head_ecg(self.encoder_ecg(ecg)))
        with torch.no_grad():
            target = self.target(ecg)
        return prediction, target

    @torch.no_grad()
    def follow(self, momentum: float) -> None:
        """Each parameter: target <- momentum target + (1 - momentum) online. BatchNorm keeps its own statistics."""
        online = [*self.encoder_ecg.parameters(), *self.projection_head_ecg.parameters()]
        for slow, fast in zip(self.target.parameters(), online, strict=True):
            slow.lerp_(fast, 1 - momentum)

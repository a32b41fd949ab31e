"""Two encoders and their projection heads, for multimodal contrastive learning (MMCL)."""

from __future__ import annotations

import math

import torch
from torch import nn

from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.projection import ProjectionHead


class ContrastiveModel(nn.Module):
    """ECG and CMR of one subject, each to one vector of a shared space.

    Modules are named as in the published checkpoints: `encoder_ecg`, `encoder_imaging`, `projection_head_ecg`,
    `projection_head_imaging`. With a `temperature` the logarithm of that of the loss is a parameter, to be learnt.
    """

    def __init__(
        self,
        ecg_encoder: EcgEncoder,
        cmr_encoder: CmrEncoder,
        hidden: int = 2048,
        projection: int = 128,
        temperature: float | None = None,
    ):
        super().__init__()
        self.encoder_ecg = ecg_encoder
        self.encoder_imaging = cmr_encoder
        self.projection_head_ecg = ProjectionHead(ecg_encoder.width, hidden, projection)
        self.projection_head_imaging = ProjectionHead(cmr_encoder.width, hidden, projection)
        learnt = None if temperature is None else nn.Parameter(torch.tensor(math.log(temperature)))
        self.register_parameter("log_temperature", learnt)

    def project_ecg(self, ecg: torch.Tensor) -> torch.Tensor:
        """(batch, leads, window) -> (batch, projection), not normalised."""
        return self.projection_head_ecg(self.encoder_ecg(ecg))

    def project_cmr(self, cmr: torch.Tensor) -> torch.Tensor:
        """(batch, 3, side, side) -> (batch, projection), not normalised."""
        return self.projection_head_imaging(self.encoder_imaging(cmr))

    def forward(self, ecg: torch.Tensor, cmr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(ECG projections, CMR projections), each (batch, projection), not normalised: the loss does that."""
        return self.project_ecg(ecg), self.project_cmr(cmr)

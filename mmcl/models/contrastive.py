"""Two encoders and their projection heads, for multimodal contrastive learning (MMCL); a decoder may join them."""

from __future__ import annotations

import math

import torch
from torch import nn

from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.masked_autoencoder import MaskedDecoder, Reconstruction
from mmcl.models.projection import ProjectionHead


class ContrastiveModel(nn.Module):
    """ECG and CMR of one subject, each to one vector of a shared space.

    Modules are named as in the published checkpoints: `encoder_ecg`, `encoder_imaging`, `projection_head_ecg`,
    `projection_head_imaging`. With a `temperature` the logarithm of that of the loss is a parameter, to be learnt; with
    a `bias` so is the bias of its logits. A `decoder` makes a masked autoencoder of the ECG encoder too.
    """

    def __init__(
        self,
        ecg_encoder: EcgEncoder,
        cmr_encoder: CmrEncoder,
        hidden: int = 2048,
        projection: int = 128,
        temperature: float | None = None,
        bias: float | None = None,
        decoder: MaskedDecoder | None = None,
    ):
        super().__init__()
        self.encoder_ecg = ecg_encoder
        self.encoder_imaging = cmr_encoder
        self.projection_head_ecg = ProjectionHead(ecg_encoder.width, hidden, projection)
        self.projection_head_imaging = ProjectionHead(cmr_encoder.width, hidden, projection)
        learnt = None if temperature is None else nn.Parameter(torch.tensor(math.log(temperature)))
        self.register_parameter("log_temperature", learnt)
        self.register_parameter("logit_bias", None if bias is None else nn.Parameter(torch.tensor(float(bias))))
        self.decoder = decoder

    def project_ecg(self, ecg: torch.Tensor) -> torch.Tensor:
        """(batch, leads, window) -> (batch, projection), not normalised."""
        return self.projection_head_ecg(self.encoder_ecg(ecg))

    def project_cmr(self, cmr: torch.Tensor) -> torch.Tensor:
        """(batch, 3, side, side) -> (batch, projection), not normalised."""
        return self.projection_head_imaging(self.encoder_imaging(cmr))

    def forward(self, ecg: torch.Tensor, cmr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(ECG projections, CMR projections), each (batch, projection), not normalised: the loss does that."""
        return self.project_ecg(ecg), self.project_cmr(cmr)

    def project_cells(self, ecg: torch.Tensor, cmr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What `forward` gives, and the projection of each cell of the CMR feature map: (batch, cells, projection)."""
        features = self.encoder_imaging.feature_map(cmr)
        cells = self.projection_head_imaging(features.flatten(2).transpose(1, 2))
        return self.project_ecg(ecg), self.projection_head_imaging(features.mean(dim=(2, 3))), cells

    def project_phases(
        self, ecg: torch.Tensor, cmr: torch.Tensor, closeness: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What `forward` gives, and the local projections of each frame's phase: (batch, frames, projection) twice.

        `closeness` (batch, frames, columns) weighs the ECG's columns for each frame. A frame alone fills all channels
        of the CMR encoder; it goes through in one batch with the whole, for BatchNorm to see in training what it sees
        later. That is four times the images.
        """
        encoder, frames = self.encoder_ecg, cmr.shape[1]
        sequence = encoder.sequence(ecg)
        columns = sequence[:, 1:].unflatten(1, encoder.grid).mean(dim=1)
        weight = closeness / closeness.sum(dim=2, keepdim=True).clamp(min=1e-12)
        alone = cmr.flatten(0, 1)[:, None].expand(-1, cmr.shape[1], -1, -1)
        z_cmr = self.project_cmr(torch.cat([cmr, alone]))
        return (
            self.projection_head_ecg(encoder.pool(sequence)),
            z_cmr[: len(cmr)],
            self.projection_head_ecg(encoder.last_norm(weight @ columns)),
            z_cmr[len(cmr) :].unflatten(0, (len(cmr), frames)),
        )

    def reconstruct(self, ecg: torch.Tensor, generator: torch.Generator | None = None) -> Reconstruction:
        """Rebuild `ecg` (batch, leads, window) from a random subset of its tokens, as `MaskedAutoencoder` does.

        The kept tokens pass the norm of the pooled vector on their way to the `decoder`.
        """
        keep, mask = self.decoder.draw_mask(ecg, generator=generator)
        latent = self.encoder_ecg.last_norm(self.encoder_ecg.sequence(ecg, keep))
        return Reconstruction(self.decoder.decode(latent, keep), mask, latent)

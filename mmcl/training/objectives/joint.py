"""Both stages in one: masked data modelling and multimodal contrastive learning on the same batch, with one encoder."""

from __future__ import annotations

import torch

from mmcl.config import Preset, Profile
from mmcl.losses.mdm import mdm_loss
from mmcl.models.masked_autoencoder import MaskedDecoder
from mmcl.training.objectives.contrastive import Contrastive


class Joint(Contrastive):
    """MMCL plus MDM of the ECGs that MMCL sees; logs what MMCL logs, and the MDM term.

    The contrastive term sees whole ECGs, MDM the same view with most of its tokens hidden. `validation_loss`, which
    chooses the weights, is that of both.
    """

    objective = "joint"
    sizes = (*Contrastive.sizes, "decoder")

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        super().__init__(profile, preset, seed)
        width, ratio = profile.encoder.width, self.recipe.mask_ratio
        self.model.decoder = MaskedDecoder(profile.ecg, width, profile.decoder, ratio, preset.round_kept_tokens)

    def losses(
        self, ecg: torch.Tensor, cmr: torch.Tensor, closeness: torch.Tensor | None, random: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, scores = super().losses(ecg, cmr, closeness, random)
        rebuilt = self.model.reconstruct(ecg, random)
        scores["mdm"] = mdm_loss(ecg, rebuilt.prediction, ncc_weight=self.recipe.ncc_weight)
        return loss + self.recipe.mdm_weight * scores["mdm"], scores

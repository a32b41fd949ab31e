"""Masked data modelling (MDM): rebuild an ECG from a fifth of its patches (method section 6)."""

from __future__ import annotations

import torch

from mmcl.config import Preset, Profile
from mmcl.data.augmentation import first_crop
from mmcl.losses.mdm import cross_correlation, mdm_loss, reconstruction_target
from mmcl.losses.simclr import nt_xent_loss
from mmcl.models.masked_autoencoder import MaskedAutoencoder
from mmcl.training.objectives.objective import Pretraining
from mmcl.training.schedule import parameter_groups


class MaskedModelling(Pretraining):
    """MDM of ECGs; logs loss and the correlation of reconstruction and target (NCC), and the similarity term if any."""

    objective = "mdm"
    sizes = ("ecg", "encoder", "decoder")

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        super().__init__(profile, preset, seed)
        self.model = MaskedAutoencoder(
            profile.ecg, profile.encoder, profile.decoder, self.recipe.mask_ratio, preset.round_kept_tokens
        )

    def step(self, stage: str, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """Loss of one batch: `ecg` (batch, 12, record), as stored."""
        recipe = self.recipe
        if stage == "train":
            ecg = self.augment(batch["ecg"], recipe.augmentation, random)
        else:
            ecg = first_crop(batch["ecg"], self.ecg.window)
        output = self.model(ecg, self.model.draw_noise(ecg, random))
        mask = output.mask if recipe.masked_only else None
        loss = mdm_loss(ecg, output.prediction, mask, recipe.ncc_weight, recipe.per_patch)
        scores = {}
        if recipe.similarity_weight > 0.0:
            scores["similarity"] = self.similarity(ecg, output.latent, random)
            loss = loss + recipe.similarity_weight * scores["similarity"]
        with torch.no_grad():
            target = reconstruction_target(ecg, self.ecg.patch, recipe.per_patch)
            ncc = cross_correlation(output.prediction.reshape(ecg.shape), target)
        self.record(stage, len(ecg), loss=loss, ncc=ncc, **scores)
        return loss

    def similarity(self, ecg: torch.Tensor, latent: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """NT-Xent between the mean kept token of `latent` (batch, 1 + kept, width) and that under a second masking."""
        keep, _ = self.model.draw_mask(ecg, generator=random)
        other = self.model.encode(ecg, keep)
        return nt_xent_loss(latent[:, 1:].mean(dim=1), other[:, 1:].mean(dim=1), self.recipe.similarity_temperature)

    def configure_optimizers(self) -> dict:
        recipe = self.recipe
        groups = parameter_groups(self.model.named_parameters(), recipe.learning_rate, recipe.weight_decay)
        return self.schedule(torch.optim.AdamW(groups, betas=recipe.betas, fused=True))

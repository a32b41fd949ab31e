"""Multimodal contrastive learning (MMCL): the ECG and the CMR of one subject find each other (method section 6)."""

from __future__ import annotations

import math

import torch

from mmcl.config import Preset, Profile
from mmcl.data.augmentation import augment_cmr, first_crop, resize
from mmcl.losses.cells import cell_loss
from mmcl.losses.clip import clip_loss, labels, logits
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.contrastive import ContrastiveModel
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.training.objectives.objective import Pretraining

LEAST_TEMPERATURE = 0.01
"""A learnt temperature falls no lower (Radford et al. 2021: logits are scaled by 100 at most)."""


class Contrastive(Pretraining):
    """MMCL; logs loss and how often the right partner ranks first in the batch, and a learnt temperature."""

    objective = "mmcl"
    fields = ("ecg", "cmr")
    sizes = ("ecg", "encoder", "cmr", "cmr_encoder")

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        super().__init__(profile, preset, seed)
        recipe = self.recipe
        self.image_size = profile.cmr.image_size
        self.model = ContrastiveModel(
            EcgEncoder(profile.ecg, profile.encoder),
            CmrEncoder(profile.cmr_encoder),
            recipe.hidden,
            recipe.projection,
            recipe.temperature if recipe.learn_temperature else None,
        )

    @property
    def temperature(self) -> float | torch.Tensor:
        """The recipe's, or the learnt one, with gradient."""
        learnt = self.model.log_temperature
        return self.recipe.temperature if learnt is None else learnt.exp()

    def step(self, stage: str, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """Loss of one batch: `ecg` (batch, 12, record) and `cmr` (batch, 3, crop, crop), as stored."""
        recipe = self.recipe
        if stage == "train":
            ecg = self.augment(batch["ecg"], recipe.ecg_augmentation, random)
            cmr = augment_cmr(batch["cmr"], self.image_size, recipe.cmr_augmentation, random)
        else:
            ecg = first_crop(batch["ecg"], self.ecg.window)
            cmr = resize(batch["cmr"], self.image_size)
        features, project = self.model.encoder_imaging.feature_map(cmr), self.model.projection_head_imaging
        z_ecg, z_cmr = self.model.project_ecg(ecg), project(features.mean(dim=(2, 3)))
        loss = clip_loss(z_cmr, z_ecg, self.temperature, recipe.lambda_0)
        if recipe.cell_weight:
            cells = project(features.flatten(2).transpose(1, 2))
            loss = loss + recipe.cell_weight * cell_loss(cells, z_ecg, self.temperature, recipe.lambda_0)
        with torch.no_grad():
            nearest = logits(z_ecg, z_cmr, self.temperature).argmax(dim=1)
            top1 = (nearest == labels(len(ecg), nearest.device)).float().mean()
        learnt = {"temperature": self.temperature} if recipe.learn_temperature else {}
        self.record(stage, len(ecg), loss=loss, top1=top1, **learnt)
        return loss

    def configure_optimizers(self) -> dict:
        learnt = self.model.log_temperature
        if learnt is None:
            return super().configure_optimizers()
        # Decay would pull the temperature towards 1.
        others = [p for p in self.model.parameters() if p.requires_grad and p is not learnt]
        return self.adam([{"params": others}, {"params": [learnt], "weight_decay": 0.0}])

    @torch.no_grad()
    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        """Keep a learnt temperature above its limit: after the step, so that its gradient never vanishes."""
        if self.model.log_temperature is not None:
            self.model.log_temperature.clamp_(min=math.log(LEAST_TEMPERATURE))

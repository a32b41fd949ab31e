"""Multimodal contrastive learning (MMCL): the ECG and the CMR of one subject find each other (method section 6)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from mmcl.config import Preset, Profile
from mmcl.data.augmentation import augment_cmr, first_crop, random_crop, resize
from mmcl.data.cardiac_phase import frame_closeness
from mmcl.losses.cells import cell_loss
from mmcl.losses.clip import clip_loss, labels, logits
from mmcl.losses.phases import phase_loss
from mmcl.losses.sigmoid import sigmoid_loss
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.contrastive import ContrastiveModel
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.training.objectives.objective import Pretraining

LEAST_TEMPERATURE = 0.01
"""A learnt temperature falls no lower (Radford et al. 2021: logits are scaled by 100 at most)."""

LOSSES = ("clip", "sigmoid")
"""Losses of paired projections."""


class Contrastive(Pretraining):
    """MMCL; logs loss, how often the right partner ranks first in the batch, what is learnt of the loss, its terms."""

    objective = "mmcl"
    fields = ("ecg", "cmr")
    sizes = ("ecg", "encoder", "cmr", "cmr_encoder")

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        super().__init__(profile, preset, seed)
        recipe = self.recipe
        if recipe.loss not in LOSSES:
            raise ValueError(f"unknown loss {recipe.loss!r}; expected one of {', '.join(LOSSES)}")
        if recipe.local_weight > 0 and profile.cmr.frames != "three":
            raise ValueError(f"frames {profile.cmr.frames!r}: expected 'three', which the local term tells apart")
        if recipe.local_weight > 0 and recipe.cell_weight > 0:
            raise ValueError("local_weight and cell_weight above 0: expected one of the two")
        self.cmr = profile.cmr
        sigmoid = recipe.loss == "sigmoid"
        self.model = ContrastiveModel(
            EcgEncoder(profile.ecg, profile.encoder),
            CmrEncoder(profile.cmr_encoder),
            recipe.hidden,
            recipe.projection,
            recipe.temperature if recipe.learn_temperature or sigmoid else None,
            recipe.bias if sigmoid else None,
        )

    @property
    def temperature(self) -> float | torch.Tensor:
        """The recipe's, or the learnt one, with gradient."""
        learnt = self.model.log_temperature
        return self.recipe.temperature if learnt is None else learnt.exp()

    def step(self, stage: str, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """Loss of one batch: `ecg` (batch, 12, record) and `cmr` (batch, 3, crop, crop), as stored."""
        ecg, cmr, closeness = self.views(stage, batch, random)
        loss, scores = self.losses(ecg, cmr, closeness, random)
        self.record(stage, len(ecg), loss=loss, **scores)
        return loss

    def views(
        self, stage: str, batch: dict[str, torch.Tensor], random: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """ECG (batch, 12, window), CMR (batch, 3, side, side), and with the local term the closeness of the ECG's
        columns to each frame (batch, 3, columns), NaN where it cannot be told.
        """
        recipe, window, ecg, closeness = self.recipe, self.ecg.window, batch["ecg"], None
        if recipe.local_weight > 0:
            # Beats are found in the whole record, undistorted; what is cropped with it stays in step.
            timed = torch.cat([ecg.float(), frame_closeness(ecg, self.ecg.sampling_rate)], dim=1)
            timed = random_crop(timed, window, random) if stage == "train" else first_crop(timed, window)
            ecg, closeness = timed[:, : ecg.shape[1]], F.avg_pool1d(timed[:, ecg.shape[1] :], self.ecg.patch)
        if stage == "train":
            ecg = self.augment(ecg, recipe.ecg_augmentation, random)
            return ecg, augment_cmr(batch["cmr"], self.cmr, recipe.cmr_augmentation, random), closeness
        return first_crop(ecg, window), resize(batch["cmr"], self.cmr), closeness

    def losses(
        self, ecg: torch.Tensor, cmr: torch.Tensor, closeness: torch.Tensor | None, random: torch.Generator
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of such views, and what is logged beside it."""
        recipe, scores = self.recipe, {}
        if closeness is not None:
            known = closeness.isfinite().flatten(1).all(dim=1)
            z_ecg, z_cmr, *phases = self.model.project_phases(ecg, cmr, closeness.nan_to_num(1.0))
            weight, scores["local"] = recipe.local_weight, phase_loss(*phases, known, self.temperature)
        elif recipe.cell_weight > 0:
            z_ecg, z_cmr, cells = self.model.project_cells(ecg, cmr)
            weight, scores["local"] = recipe.cell_weight, cell_loss(cells, z_ecg, self.temperature, recipe.lambda_0)
        else:
            z_ecg, z_cmr = self.model(ecg, cmr)
        loss = self.contrast(z_cmr, z_ecg)
        if scores:
            loss = loss + weight * scores["local"]
        with torch.no_grad():
            nearest = logits(z_ecg, z_cmr, self.temperature).argmax(dim=1)
            scores["top1"] = (nearest == labels(len(ecg), nearest.device)).float().mean()
        if self.model.log_temperature is not None:
            scores["temperature"] = self.temperature
        if self.model.logit_bias is not None:
            scores["bias"] = self.model.logit_bias
        return loss, scores

    def contrast(self, cmr: torch.Tensor, ecg: torch.Tensor) -> torch.Tensor:
        """The recipe's loss of projections, each (batch, projection)."""
        if self.recipe.loss == "sigmoid":
            return sigmoid_loss(cmr, ecg, self.temperature, self.model.logit_bias)
        return clip_loss(cmr, ecg, self.temperature, self.recipe.lambda_0)

    def configure_optimizers(self) -> dict:
        learnt = [p for p in (self.model.log_temperature, self.model.logit_bias) if p is not None]
        if not learnt:
            return super().configure_optimizers()
        # Decay would pull the temperature towards 1, and the bias towards 0.
        others = [p for p in self.model.parameters() if p.requires_grad and all(p is not one for one in learnt)]
        return self.adam([{"params": others}, {"params": learnt, "weight_decay": 0.0}])

    @torch.no_grad()
    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        """Keep a learnt temperature above its limit: after the step, so that its gradient never vanishes."""
        if self.model.log_temperature is not None:
            self.model.log_temperature.clamp_(min=math.log(LEAST_TEMPERATURE))

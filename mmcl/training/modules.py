"""Lightning modules of pre-training: masked data modelling (MDM) and multimodal contrastive learning (MMCL).

Augmentation runs on the batch, on its device, from a generator seeded by (seed, epoch, step, rank): a resumed run
repeats exactly what an
uninterrupted one would have done.
"""

from __future__ import annotations

import pytorch_lightning as pl
import torch

from mmcl.config import EcgConfig, MdmRecipe, MmclRecipe, Preset, Profile
from mmcl.data.augmentation import augment_cmr, augment_ecg, first_crop, resize
from mmcl.losses.clip import clip_loss, labels, logits
from mmcl.losses.mdm import cross_correlation, mdm_loss
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.contrastive import ContrastiveModel
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.masked_autoencoder import MaskedAutoencoder
from mmcl.training.batches import generator
from mmcl.training.schedule import parameter_groups, scheduled


class Pretraining(pl.LightningModule):
    """What both objectives share: the seed of each step's augmentation, logging, the schedule."""

    def __init__(self, recipe: MdmRecipe | MmclRecipe, ecg: EcgConfig, preset: Preset, seed: int):
        super().__init__()
        self.recipe, self.ecg, self.preset, self.seed = recipe, ecg, preset, seed

    def step_generator(self, batch_idx: int, training: bool) -> torch.Generator:
        """Generator of one step; in validation it is the same in every epoch, so that epochs compare."""
        epoch = self.current_epoch + 1 if training else 0
        return generator(self.device, self.seed, epoch, batch_idx, self.global_rank)

    def record(self, stage: str, batch_size: int, **scores: torch.Tensor) -> None:
        """Log epoch means as `<stage>_<name>`, over all processes."""
        named = {f"{stage}_{name}": value.detach() for name, value in scores.items()}
        self.log_dict(named, on_step=False, on_epoch=True, sync_dist=True, batch_size=batch_size)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        return self.step("train", batch, self.step_generator(batch_idx, training=True))

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        self.step("validation", batch, self.step_generator(batch_idx, training=False))

    def schedule(self, optimiser: torch.optim.Optimizer) -> dict:
        """Warm-up and cosine over this training's steps."""
        per_epoch = self.trainer.estimated_stepping_batches // self.trainer.max_epochs
        return scheduled(optimiser, self.recipe.warmup * per_epoch, self.recipe.epochs * per_epoch)


class MaskedModelling(Pretraining):
    """Masked data modelling of ECGs; logs loss and the correlation of reconstruction and input (NCC)."""

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        super().__init__(profile.mdm, profile.ecg, preset, seed)
        self.model = MaskedAutoencoder(
            profile.ecg, profile.encoder, profile.decoder, profile.mdm.mask_ratio, preset.round_kept_tokens
        )

    def step(self, stage: str, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """Loss of one batch: `ecg` (batch, 12, record), as stored."""
        if stage == "train":
            augmentation = self.recipe.augmentation
            ecg = augment_ecg(batch["ecg"], self.ecg.window, augmentation, self.preset.positive_rescale, random)
        else:
            ecg = first_crop(batch["ecg"], self.ecg.window)
        output = self.model(ecg, generator=random)
        loss = mdm_loss(ecg, output.prediction, ncc_weight=self.recipe.ncc_weight)
        with torch.no_grad():
            ncc = cross_correlation(output.prediction.reshape(ecg.shape), ecg)
        self.record(stage, len(ecg), loss=loss, ncc=ncc)
        return loss

    def configure_optimizers(self) -> dict:
        recipe = self.recipe
        groups = parameter_groups(self.model.named_parameters(), recipe.learning_rate, recipe.weight_decay)
        return self.schedule(torch.optim.AdamW(groups, betas=recipe.betas))


class Contrastive(Pretraining):
    """Multimodal contrastive learning; logs loss and how often the right partner ranks first in the batch."""

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        super().__init__(profile.mmcl, profile.ecg, preset, seed)
        self.image_size = profile.cmr.image_size
        self.model = ContrastiveModel(
            EcgEncoder(profile.ecg, profile.encoder),
            CmrEncoder(profile.cmr_encoder),
            profile.mmcl.hidden,
            profile.mmcl.projection,
        )

    def step(self, stage: str, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """Loss of one batch: `ecg` (batch, 12, record) and `cmr` (batch, 3, crop, crop), as stored."""
        recipe = self.recipe
        if stage == "train":
            positive = self.preset.positive_rescale
            ecg = augment_ecg(batch["ecg"], self.ecg.window, recipe.ecg_augmentation, positive, random)
            cmr = augment_cmr(batch["cmr"], self.image_size, recipe.cmr_augmentation, random)
        else:
            ecg = first_crop(batch["ecg"], self.ecg.window)
            cmr = resize(batch["cmr"], self.image_size)
        z_ecg, z_cmr = self.model(ecg, cmr)
        loss = clip_loss(z_cmr, z_ecg, recipe.temperature, recipe.lambda_0)
        with torch.no_grad():
            nearest = logits(z_ecg, z_cmr, recipe.temperature).argmax(dim=1)
            top1 = (nearest == labels(len(ecg), nearest.device)).float().mean()
        self.record(stage, len(ecg), loss=loss, top1=top1)
        return loss

    def configure_optimizers(self) -> dict:
        recipe = self.recipe
        # As published: plain Adam, whose weight decay is an L2 penalty on every parameter.
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return self.schedule(torch.optim.Adam(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay))

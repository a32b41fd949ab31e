"""Objectives on two augmented views of one recording: SimCLR of ECGs and of CMR, and Barlow Twins of ECGs."""

from __future__ import annotations

import torch

from mmcl.config import Preset, Profile
from mmcl.data.augmentation import augment_cmr
from mmcl.losses.barlow_twins import barlow_twins_loss
from mmcl.losses.simclr import nt_xent_loss, partners, view_logits
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.projection import ProjectionHead
from mmcl.models.views import CmrViews, EcgViews
from mmcl.training.objectives.objective import Pretraining


class TwoViews(Pretraining):
    """Two views of each recording; in validation too, where they are the same in every epoch."""

    def view(self, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """One random view of each ECG: (batch, 12, window)."""
        return self.augment(batch["ecg"], self.recipe.augmentation, random)

    def project(self, batch: dict[str, torch.Tensor], random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Projections of both views, each (batch, projection), not normalised; the model sees them as one batch."""
        views = torch.cat([self.view(batch, random), self.view(batch, random)])
        one, other = self.model(views).chunk(2)
        return one, other


class Simclr(TwoViews):
    """SimCLR of ECGs (Chen et al. 2020); logs loss and how often a view's partner ranks first in the batch."""

    objective = "simclr"

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        super().__init__(profile, preset, seed)
        encoder = EcgEncoder(profile.ecg, profile.encoder)
        self.model = EcgViews(encoder, ProjectionHead(encoder.width, self.recipe.hidden, self.recipe.projection))

    def step(self, stage: str, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """Loss of one batch of recordings, as stored."""
        one, other = self.project(batch, random)
        loss = nt_xent_loss(one, other, self.recipe.temperature)
        with torch.no_grad():
            nearest = view_logits(one, other, self.recipe.temperature).argmax(dim=1)
            top1 = (nearest == partners(len(one), one.device)).float().mean()
        self.record(stage, len(one), loss=loss, top1=top1)
        return loss


class CmrSimclr(Simclr):
    """SimCLR of CMR: the same on the three cine frames."""

    objective = "cmr_simclr"
    fields = ("cmr",)
    sizes = ("cmr", "cmr_encoder")

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        Pretraining.__init__(self, profile, preset, seed)
        self.cmr = profile.cmr
        encoder = CmrEncoder(profile.cmr_encoder)
        self.model = CmrViews(encoder, ProjectionHead(encoder.width, self.recipe.hidden, self.recipe.projection))

    def view(self, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """One random view of each CMR: (batch, 3, side, side)."""
        return augment_cmr(batch["cmr"], self.cmr, self.recipe.augmentation, random)


class BarlowTwins(TwoViews):
    """Barlow Twins of ECGs (Zbontar et al. 2021): features agree between views and with no other feature."""

    objective = "barlow_twins"

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        super().__init__(profile, preset, seed)
        encoder = EcgEncoder(profile.ecg, profile.encoder)
        recipe = self.recipe
        head = ProjectionHead(encoder.width, recipe.hidden, recipe.projection, batch_norm=True, depth=3)
        self.model = EcgViews(encoder, head)

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        """A last batch of one ECG, over which nothing correlates, is left out."""
        if len(batch["ecg"]) > 1:
            super().validation_step(batch, batch_idx)

    def step(self, stage: str, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """Loss of one batch: `ecg` (batch, 12, record), as stored."""
        one, other = self.project(batch, random)
        loss = barlow_twins_loss(one, other, self.recipe.redundancy)
        self.record(stage, len(one), loss=loss)
        return loss

"""CLOCS of ECGs (Kiyasseh et al. 2021, ICML): segments in time, or leads, of one subject attract each other."""

from __future__ import annotations

import torch

from mmcl.config import LEADS, EcgAugmentation, Preset, Profile, look_up
from mmcl.data.augmentation import random_crop
from mmcl.losses.clip import labels, logits
from mmcl.losses.clocs import clocs_loss
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.projection import ProjectionHead
from mmcl.models.views import EcgViews
from mmcl.training.objectives.objective import Pretraining

VIEWS = {"cmsc": (2, False), "cmlc": (1, True), "cmsmlc": (2, True)}
"""Kind of views -> (segments in time, whether leads are told apart)."""


class Clocs(Pretraining):
    """CLOCS; logs loss and how often, between the first two views, a subject's own ranks first in the batch.

    All recordings of a subject in a batch, of other visits too, are positives.
    """

    objective = "clocs"
    fields = ("ecg", "subject")

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        super().__init__(profile, preset, seed)
        recipe = self.recipe
        self.segments, single_leads = look_up(VIEWS, recipe.views, "kind of views")
        rows = {lead: row for row, lead in enumerate(LEADS)}
        self.rows = [look_up(rows, lead, "lead") for lead in recipe.leads] if single_leads else None
        if self.rows is not None and self.segments * len(self.rows) < 2:
            raise ValueError(f"views {recipe.views!r} of leads {recipe.leads}: expected at least two leads")
        encoder = EcgEncoder(profile.ecg, profile.encoder)
        self.model = EcgViews(encoder, ProjectionHead(encoder.width, recipe.hidden, recipe.projection))

    def step(self, stage: str, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """Loss of one batch: `ecg` (batch, 12, record) and `subject` (batch,), as stored."""
        recipe = self.recipe
        augmentation = recipe.augmentation if stage == "train" else EcgAugmentation(probability=0.0)
        # Segments are adjacent and do not overlap; where they start is random.
        whole = random_crop(batch["ecg"], self.segments * self.ecg.window, random)
        parts = [self.augment(part, augmentation, random) for part in whole.chunk(self.segments, dim=2)]
        if self.rows is None:
            views = torch.stack(self.model(torch.cat(parts)).chunk(self.segments))
        else:
            views = torch.cat([self.model.project_leads(part, self.rows) for part in parts])
        loss = clocs_loss(views, batch["subject"], recipe.temperature)
        with torch.no_grad():
            nearest = logits(views[0], views[1], recipe.temperature).argmax(dim=1)
            top1 = (nearest == labels(len(nearest), nearest.device)).float().mean()
        self.record(stage, len(nearest), loss=loss, top1=top1)
        return loss

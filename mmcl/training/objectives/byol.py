"""BYOL of ECGs (Grill et al. 2020, NeurIPS): predict what a slowly following copy makes of another view."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from mmcl.config import Preset, Profile
from mmcl.losses.byol import byol_loss
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.views import ByolModel
from mmcl.training.objectives.views import TwoViews
from mmcl.training.trainer import LAST


def target_momentum(step: int, total: int, base: float) -> float:
    """Momentum of the target after step `step` of `total`, counted from 0: `base` first, rising to 1 by half a cosine.

    Grill et al., section 3.2: 1 - (1 - base) (cos(pi k / K) + 1) / 2.
    """
    return 1 - (1 - base) * (math.cos(math.pi * step / total) + 1) / 2


class Byol(TwoViews):
    """BYOL; logs loss and the spread of targets, 1 when their directions are spread evenly, 0 when they collapsed.

    The weights of the last epoch are kept, as published: the loss follows a moving target and is least in a collapse.
    """

    objective = "byol"
    chosen = LAST

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        super().__init__(profile, preset, seed)
        encoder = EcgEncoder(profile.ecg, profile.encoder)
        self.model = ByolModel(encoder, self.recipe.hidden, self.recipe.projection)

    def step(self, stage: str, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """Symmetric loss of one batch, 0 to 8: `ecg` (batch, 12, record), as stored."""
        prediction, target = zip(*(self.model(self.view(batch, random)) for _ in range(2)), strict=True)
        loss = byol_loss(prediction[0], target[1]) + byol_loss(prediction[1], target[0])
        direction = F.normalize(target[0], dim=1)
        spread = (direction.var(dim=0, correction=0).sum()).sqrt()
        self.record(stage, len(target[0]), loss=loss, spread=spread)
        return loss

    def on_train_batch_end(self, outputs: object, batch: object, batch_idx: int) -> None:
        """The target follows after every step, by a momentum that a resumed training knows from its step alone."""
        total = self.trainer.estimated_stepping_batches
        self.model.follow(target_momentum(self.global_step - 1, total, self.recipe.momentum))

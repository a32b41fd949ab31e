"""What pre-training objectives share, and what a new one has to bring.

Augmentation runs on the batch, on its device, from a generator seeded by (seed, epoch, step, rank): a resumed run
repeats exactly what an uninterrupted one would have done. BatchNorm takes its statistics from the batch of its own
process; losses take theirs from that of all.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from mmcl.config import LEADS, EcgAugmentation, Preset, Profile
from mmcl.data.augmentation import augment_ecg
from mmcl.losses.gather import apart
from mmcl.training.batches import generator
from mmcl.training.schedule import scheduled
from mmcl.training.trainer import BEST, Trained


class Pretraining(Trained):
    """One objective: a subclass sets `model` when it is made and says in `step` what is minimised.

    Class attributes: `objective`, its name and that of its recipe in a `Profile`; `fields`, what its batches hold (see
    `StoredPairs`); `sizes`, the fields of `Profile` whose numbers it uses besides its recipe, so that a change of them
    trains anew; `chosen`, whose weights are kept in the end, those of the best validation loss (BEST) or of the last
    epoch (LAST). An ECG encoder is `model.encoder_ecg` (or `encoder`), a CMR encoder `model.encoder_imaging`.
    """

    objective: ClassVar[str]
    fields: ClassVar[tuple[str, ...]] = ("ecg",)
    sizes: ClassVar[tuple[str, ...]] = ("ecg", "encoder")
    chosen: ClassVar[str] = BEST
    model: nn.Module

    def __init__(self, profile: Profile, preset: Preset, seed: int):
        super().__init__()
        if not hasattr(profile, self.objective):
            raise ValueError(f"profile {profile.name!r}: expected a recipe of the objective {self.objective!r}")
        self.recipe = getattr(profile, self.objective)
        self.ecg, self.preset, self.seed = profile.ecg, preset, seed
        self.recorded: dict[str, tuple[int, dict[str, torch.Tensor]]] = {}
        # What no tensor tells, for `mmcl.load_encoder`.
        self.facts = {
            "heads": profile.encoder.heads,
            "leads": len(LEADS),
            "sampling_rate": profile.ecg.sampling_rate,
            "norms": 1 if preset.single_fc_norm else 2,
        }

    def step(self, stage: str, batch: dict[str, torch.Tensor], random: torch.Generator) -> torch.Tensor:
        """Loss of one `batch` as stored, a scalar, recorded as `loss`; `stage` is "train" or "validation"."""
        raise NotImplementedError

    def configure_optimizers(self) -> dict:
        """As published for MMCL: plain Adam, whose weight decay is an L2 penalty on every parameter."""
        return self.adam([parameter for parameter in self.model.parameters() if parameter.requires_grad])

    def adam(self, parameters: list) -> dict:
        """Adam with the recipe's learning rate, decay and schedule, on parameters or groups of them."""
        recipe = self.recipe
        adam = torch.optim.Adam(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
        return self.schedule(adam)

    def schedule(self, optimiser: torch.optim.Optimizer) -> dict:
        """Warm-up and cosine over this training's steps."""
        per_epoch = self.trainer.estimated_stepping_batches // self.trainer.max_epochs
        return scheduled(optimiser, self.recipe.warmup * per_epoch, self.recipe.epochs * per_epoch)

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["mmcl"] = self.facts

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        loss = self.step("train", batch, self.step_generator(batch_idx, training=True))
        if self.trainer.is_last_batch:
            self.tell("train")
        return loss

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        with apart():
            self.step("validation", batch, self.step_generator(batch_idx, training=False))

    def on_validation_epoch_end(self) -> None:
        self.tell("validation")

    def step_generator(self, batch_idx: int, training: bool) -> torch.Generator:
        """Generator of one step; in validation it is the same in every epoch, so that epochs compare."""
        epoch = self.current_epoch + 1 if training else 0
        return generator(self.device, self.seed, epoch, batch_idx, self.global_rank)

    def augment(self, ecg: torch.Tensor, augmentation: EcgAugmentation, random: torch.Generator) -> torch.Tensor:
        """A random window of each record, augmented: (batch, 12, record) -> (batch, 12, window)."""
        return augment_ecg(ecg, self.ecg.window, augmentation, self.preset.positive_rescale, random)

    def record(self, stage: str, batch_size: int, **scores: torch.Tensor) -> None:
        """Add to the epoch's scores, which `tell` logs: sums on the device, for a log in each step takes as long as
        a small model's step.
        """
        count, sums = self.recorded.get(stage, (0, {}))
        added = {name: sums.get(name, 0.0) + value.detach() * batch_size for name, value in scores.items()}
        self.recorded[stage] = (count + batch_size, added)

    def tell(self, stage: str) -> None:
        """Log epoch means as `<stage>_<name>`, over all processes."""
        count, sums = self.recorded.pop(stage, (0, {}))
        means = {f"{stage}_{name}": value / count for name, value in sums.items()}
        self.log_dict(means, on_step=False, on_epoch=True, sync_dist=True, batch_size=count)

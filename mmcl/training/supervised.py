"""The supervised model: an encoder with a linear head on one task, its loss, scores and predictions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from scipy.special import logit
from torch import nn

from mmcl.config import FinetuneRecipe, Preset, Profile
from mmcl.data.augmentation import augment_cmr, augment_ecg, first_crop, resize, tiled_crops
from mmcl.data.store import Store
from mmcl.evaluation.metrics import auroc, pearson_r
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.precision import at_least_single
from mmcl.training.batches import generator
from mmcl.training.pretraining import CMR_ARMS
from mmcl.training.schedule import layer_scale, parameter_groups, scheduled
from mmcl.training.tasks import Task, column_means
from mmcl.training.trainer import Trained

MAX_CASE_WEIGHT = 20.0
"""Limit on how much more a case counts than a control, when a disease is rare among few labels."""


class Supervised(Trained):
    """An encoder and a linear head on one task; missing labels count neither in the loss nor in the score.

    Diseases: cross-entropy with cases weighted to balance controls; in balanced sets that weight is 1. Phenotypes:
    squared error in training standard deviations. `validation_score` is the mean AUROC or Pearson r. Without
    `mask_missing`, the published form, missing phenotypes count in loss and score with prediction and label 0; without
    `crop_in_evaluation` the CMR encoder learns from and sees whole frames.
    `recipe` holds one learning rate.
    """

    def __init__(self, arm: str, task: Task, profile: Profile, preset: Preset, recipe: FinetuneRecipe, seed: int):
        super().__init__()
        self.recipe, self.profile, self.preset, self.seed = recipe, profile, preset, seed
        self.is_risk, self.modality = task.is_risk, "cmr" if arm in ("cmr", *CMR_ARMS) else "ecg"
        if self.modality == "ecg":
            self.field = "ecg"
            self.encoder = EcgEncoder(
                profile.ecg, profile.encoder, recipe.pooling, recipe.drop_path, single_fc_norm=preset.single_fc_norm
            )
        else:
            self.field = "cmr" if preset.crop_in_evaluation else "frame"
            self.encoder = CmrEncoder(profile.cmr_encoder)
        self.head = nn.Linear(self.encoder.width, len(task.targets))
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        known = task.labels[task.train]
        self.register_buffer("centre", _float(np.nan_to_num(_quiet(np.nanmean, known))))
        spread = np.nan_to_num(_quiet(np.nanstd, known), nan=1.0)
        self.register_buffer("spread", _float(np.where(spread > 0, spread, 1.0)))
        cases = self.centre.clamp(1e-6, 1 - 1e-6)
        self.register_buffer("case_weight", ((1 - cases) / cases).clamp(1 / MAX_CASE_WEIGHT, MAX_CASE_WEIGHT))
        if self.is_risk:
            learnt_at, prevalence = (np.clip(p, 1e-6, 1 - 1e-6) for p in (column_means(known), task.expected))
            # Nothing unless the labels are a balanced set, which has more cases than people have.
            self.register_buffer("prior_shift", _float(logit(prevalence) - logit(learnt_at)))
        self.outputs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Model input of the arm's modality -> (batch, targets): logits, or phenotypes in training deviations."""
        return at_least_single(self.head(self.encoder(x)))

    def loss(self, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Mean over known labels, or over all without `mask_missing`; `label` (batch, targets) in its own units, NaN
        where missing.
        """
        known = label.isfinite()
        label = label.nan_to_num()
        if self.is_risk:
            soft = label * (1 - self.recipe.label_smoothing) + 0.5 * self.recipe.label_smoothing
            error = F.binary_cross_entropy_with_logits(output, soft, reduction="none")
            error = error * torch.where(label > 0, self.case_weight, 1.0)
        else:
            error = (output - (label - self.centre) / self.spread) ** 2
            if not self.preset.mask_missing:
                return (error * known).mean()
        return (error * known).sum() / known.sum().clamp(min=1)

    def augmented(self, batch: dict[str, torch.Tensor], epoch: int, step: int, rank: int) -> torch.Tensor:
        """Model input in training; what is drawn depends on the seed and on `epoch`, `step` and `rank` alone."""
        stored = batch[self.field]
        random = generator(stored.device, self.seed, epoch + 1, step, rank)
        if self.modality == "ecg":
            positive = self.preset.positive_rescale
            return augment_ecg(stored, self.profile.ecg.window, self.recipe.augmentation, positive, random)
        return augment_cmr(stored, self.profile.cmr, self.profile.mmcl.cmr_augmentation, random)

    def plain(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Model input in validation."""
        if self.modality == "ecg":
            return first_crop(batch["ecg"], self.profile.ecg.window)
        return resize(batch[self.field], self.profile.cmr)

    def scores(self, output: torch.Tensor, label: torch.Tensor) -> dict[str, float]:
        """`validation_loss` and `validation_score` of the outputs and labels (rows, targets) of all validation rows."""
        if self.is_risk:
            score = auroc(label.cpu().numpy(), output.cpu().numpy())
        elif self.preset.mask_missing:
            score = pearson_r(label.cpu().numpy(), output.cpu().numpy())
        else:
            scaled = output * self.spread + self.centre
            score = pearson_r(label.cpu().numpy(), scaled.cpu().numpy(), missing="zero")
        mean = float(_quiet(np.nanmean, score[:, None])[0])
        # A constant prediction has no score: it ranks last.
        return {
            "validation_loss": float(self.loss(output, label)),
            "validation_score": mean if mean == mean else -1.0,
        }

    def optimisation(self, parameters: Mapping[str, nn.Parameter], per_epoch: int) -> dict:
        """Optimiser and schedule, of `per_epoch` steps an epoch, of `parameters` that have the names of this model's:
        its own, or stacks of those of several models.
        """
        recipe = self.recipe
        (learning_rate,) = recipe.learning_rates
        groups = parameter_groups(
            self.named_parameters(),
            learning_rate,
            recipe.weight_decay,
            lambda name: layer_scale(name, self.profile.encoder.depth, recipe.layer_decay),
        )
        names = {parameter: name for name, parameter in self.named_parameters()}
        for group in groups:
            group["params"] = [parameters[names[parameter]] for parameter in group["params"]]
        optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=True)
        return scheduled(optimiser, recipe.warmup * per_epoch, recipe.epochs * per_epoch)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        x = self.augmented(batch, self.current_epoch, batch_idx, self.global_rank)
        loss = self.loss(self(x), batch["label"])
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=len(x))
        return loss

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        self.outputs.append((self(self.plain(batch)), batch["label"]))

    def on_validation_epoch_end(self) -> None:
        output, label = (torch.cat(parts) for parts in zip(*self.outputs, strict=True))
        self.outputs.clear()
        self.log_dict(self.scores(output, label), sync_dist=True)

    def configure_optimizers(self) -> dict:
        return self.optimisation(dict(self.named_parameters()), steps_per_epoch(self.trainer))

    @torch.no_grad()
    def predict_rows(self, store: Store, rows: np.ndarray, batch: int = 256) -> np.ndarray:
        """(rows, targets) float64: probability of disease at the training prevalence, or phenotypes in their own units.

        An ECG's output is the mean over the windows that tile it (`corrected`) or that of its first window (`paper`).
        """
        scores = []
        for start in range(0, len(rows), batch):
            chosen = rows[start : start + batch]
            if self.modality == "cmr":
                images = store.images(self.preset.crop_in_evaluation)
                image = torch.from_numpy(images[chosen]).to(self.device)
                output = self(resize(image, self.profile.cmr))
            else:
                output = self._over_windows(torch.from_numpy(store.ecg[chosen]).to(self.device))
            if self.is_risk:
                # Weighting cases shifts every logit by the log of the weight, and a balanced set by the difference in
                # prior log odds; undone, outputs are calibrated again.
                output = (output - self.case_weight.log() + self.prior_shift).sigmoid()
            else:
                output = output * self.spread + self.centre
            scores.append(output.double().cpu().numpy())
        return np.concatenate(scores)

    def _over_windows(self, records: torch.Tensor) -> torch.Tensor:
        window = self.profile.ecg.window
        crops = tiled_crops(records, window) if self.preset.tile_crops else first_crop(records, window)[:, None]
        return self(crops.flatten(0, 1)).unflatten(0, crops.shape[:2]).mean(dim=1)


def steps_per_epoch(trainer: pl.Trainer) -> int:
    """Steps of the optimiser in one epoch of a training that has begun."""
    return trainer.estimated_stepping_batches // trainer.max_epochs


def _float(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def _quiet(function, values: np.ndarray) -> np.ndarray:
    """A NaN-aware mean or deviation over the first axis, without a warning for a column that is all NaN."""
    result = np.full(values.shape[1], np.nan)
    known = np.isfinite(values).any(axis=0)
    result[known] = function(values[:, known], axis=0)
    return result

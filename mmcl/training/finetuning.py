"""Supervised training of an encoder with a linear head, from random or pre-trained weights, and its predictions.

As in pre-training, what is asked for is returned when it is finished and trained when it is not. Arms are those of
pre-training, `scratch` (the same ECG encoder from random weights) and `cmr` (the CMR encoder from random weights, an
upper reference).
"""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from scipy.special import logit
from torch import nn

from mmcl.config import FinetuneRecipe, Preset, Profile, fingerprint
from mmcl.data.augmentation import augment_cmr, augment_ecg, first_crop, resize, tiled_crops
from mmcl.data.store import Store
from mmcl.evaluation.metrics import auroc, pearson_r
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.ecg_encoder import EcgEncoder, load_pretrained
from mmcl.provenance import code_fingerprint, read_json, write_json
from mmcl.setting import Setting
from mmcl.training.batches import Batches, StoredPairs, generator
from mmcl.training.experiments import ARMS, arm_setting
from mmcl.training.pretraining import CMR_ARMS, cmr_encoder_weights, ecg_encoder_weights, pretrain, summary
from mmcl.training.schedule import layer_scale, parameter_groups, scheduled
from mmcl.training.stopping import early_stopping
from mmcl.training.tasks import Fitted, Outcome, Task, column_means, open_task
from mmcl.training.trainer import BEST, make_trainer

SUPERVISED = ("scratch", "cmr")
"""Arms that use no pre-training."""

MAX_CASE_WEIGHT = 20.0
"""Limit on how much more a case counts than a control, when a disease is rare among few labels."""


class Supervised(pl.LightningModule):
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
        return self.head(self.encoder(x))

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

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        random = generator(self.device, self.seed, self.current_epoch + 1, batch_idx, self.global_rank)
        if self.modality == "ecg":
            positive = self.preset.positive_rescale
            x = augment_ecg(batch["ecg"], self.profile.ecg.window, self.recipe.augmentation, positive, random)
        else:
            x = augment_cmr(batch[self.field], self.profile.cmr.image_size, self.profile.mmcl.cmr_augmentation, random)
        loss = self.loss(self(x), batch["label"])
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=len(x))
        return loss

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        if self.modality == "ecg":
            output = self(first_crop(batch["ecg"], self.profile.ecg.window))
        else:
            output = self(resize(batch[self.field], self.profile.cmr.image_size))
        self.outputs.append((output, batch["label"]))

    def on_validation_epoch_end(self) -> None:
        output, label = (torch.cat(parts) for parts in zip(*self.outputs, strict=True))
        self.outputs.clear()
        if self.is_risk:
            score = auroc(label.cpu().numpy(), output.cpu().numpy())
        elif self.preset.mask_missing:
            score = pearson_r(label.cpu().numpy(), output.cpu().numpy())
        else:
            scaled = output * self.spread + self.centre
            score = pearson_r(label.cpu().numpy(), scaled.cpu().numpy(), missing="zero")
        mean = float(_quiet(np.nanmean, score[:, None])[0])
        loss = self.loss(output, label)
        # A constant prediction has no score: it ranks last.
        self.log_dict({"validation_loss": loss, "validation_score": mean if mean == mean else -1.0}, sync_dist=True)

    def configure_optimizers(self) -> dict:
        recipe = self.recipe
        (learning_rate,) = recipe.learning_rates
        groups = parameter_groups(
            self.named_parameters(),
            learning_rate,
            recipe.weight_decay,
            lambda name: layer_scale(name, self.profile.encoder.depth, recipe.layer_decay),
        )
        per_epoch = self.trainer.estimated_stepping_batches // self.trainer.max_epochs
        optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.999))
        return scheduled(optimiser, recipe.warmup * per_epoch, recipe.epochs * per_epoch)

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
                output = self(resize(image, self.profile.cmr.image_size))
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


def finetune(arm: str, task: str, few: float | None, seed: int, setting: Setting) -> Outcome:
    """Validation and test predictions of one supervised training; trained now unless finished.

    `few` restricts the training labels, see `mmcl.training.tasks.open_task`; None takes all. `seed` is that of the
    fine-tuning; the pre-training's is the run's. Balanced sets make one model a disease. The record of the outcome
    holds, for each model, the learning rate, its best validation score, and with several learning rates what each
    scored on validation subjects.
    """
    if arm not in (*ARMS, *SUPERVISED):
        raise ValueError(f"unknown arm {arm!r}; expected one of {', '.join((*ARMS, *SUPERVISED))}")
    setting = arm_setting(arm, setting)
    run, profile, preset, downstream = setting.run, setting.profile, setting.preset, setting.profile.downstream
    store = Store.open(run.store)
    labelled = open_task(task, store, few, seed, downstream.balance)
    recipe = downstream.scratch if arm in SUPERVISED else downstream.finetune
    start = pretrain(arm, setting) if arm in ARMS else None
    outcome = Outcome(run.predictions / task, arm, "finetune", str(few or "all"), seed)

    data = [store.meta["checksums"].get(name) for name in ("ecg.npy", "cmr.npy", "subjects.csv")]
    if arm == "cmr" and not preset.crop_in_evaluation:
        store.images(cropped=False)  # says what is missing where the store was made for another preset
        data.append(store.meta["checksums"]["frame.npy"])
    sizes = (profile.ecg, profile.cmr, profile.encoder, profile.cmr_encoder, profile.mmcl.cmr_augmentation)
    origin = summary(start)["fingerprint"] if start else None
    code = code_fingerprint("mmcl.training.finetuning")
    same = fingerprint(arm, task, few, preset, recipe, downstream.balance, sizes, data, origin, code)
    mark = fingerprint(same, seed, downstream.seeds[0], downstream.calibration)

    def trained(part: Task, rate: float, with_seed: int, label: str) -> tuple[Supervised, float]:
        """A model at its best validation score, and that score."""
        pl.seed_everything(with_seed, verbose=False)
        longer = _long_enough(dataclasses.replace(recipe, learning_rates=(rate,)), len(part.train))
        module = Supervised(arm, part, profile, preset, longer, with_seed)
        if start is not None and module.modality == "cmr":
            module.encoder.load_state_dict(cmr_encoder_weights(start))
        elif start is not None:
            load_pretrained(module.encoder, ecg_encoder_weights(start), both_axes=preset.interpolate_both_axes)
        return module, _fit(module, part, run.folder / "finetuning" / label, setting.device)

    def choose(number: int, name: str) -> tuple[float, dict[str, float]]:
        """Of several learning rates the best on validation, with the first seed and its labels; and all scores."""
        if len(recipe.learning_rates) == 1:
            return recipe.learning_rates[0], {}
        part = open_task(task, store, few, downstream.seeds[0], downstream.balance).parts()[number]
        label = f"{task}-{name}-{outcome.labels}-rates"
        path = run.folder / "finetuning" / f"{label}.json"
        found = read_json(path) if path.exists() else {}
        scores = found["scores"] if found.get("fingerprint") == same else {}
        for rate in recipe.learning_rates:
            if f"{rate:g}" not in scores:
                scores[f"{rate:g}"] = trained(part, rate, downstream.seeds[0], label)[1]
                write_json(path, {"fingerprint": same, "scores": scores})
        return max(recipe.learning_rates, key=lambda rate: scores[f"{rate:g}"]), scores

    def train() -> Fitted:
        columns, models = [], {}
        for number, part in enumerate(labelled.parts()):
            name = f"{arm}-{part.targets[0]}" if len(part.targets) == 1 else arm
            what = ", ".join(part.targets) if part.is_risk else part.name
            known = part.labels[part.train]
            if part.is_risk and len(part.targets) == 1 and np.unique(known[np.isfinite(known)]).size < 2:
                # No case among the labels: nothing but the prevalence can be told.
                columns.append([np.tile(part.expected, (len(rows), 1)) for rows in (part.validation, part.test)])
                models[what] = {"labels": len(part.train)}
                continue
            rate, scores = choose(number, name)
            module, best = trained(part, rate, seed, f"{task}-{name}-finetune-{outcome.labels}-{seed}")
            columns.append([module.predict_rows(store, rows) for rows in (part.validation, part.test)])
            models[what] = {"labels": len(part.train), "learning_rate": rate, "validation_score": best}
            if scores:
                models[what]["validation_scores_by_learning_rate"] = scores
        validation, test = (np.concatenate(parts, axis=1) for parts in zip(*columns, strict=True))
        return Fitted(validation, test, {"models": models})

    return outcome.once(mark, labelled, train, downstream.calibration)


def _long_enough(recipe: FinetuneRecipe, labels: int) -> FinetuneRecipe:
    """`recipe` with epochs, warm-up and patience stretched so that its steps reach `min_steps`."""
    per_epoch = max(1, labels // recipe.batch)
    stretch = max(1.0, recipe.min_steps / (recipe.epochs * per_epoch))
    longer = {name: math.ceil(getattr(recipe, name) * stretch) for name in ("epochs", "warmup", "patience")}
    return dataclasses.replace(recipe, **longer)


def _fit(module: Supervised, task: Task, folder: Path, device: torch.device) -> float:
    """Train with early stopping; leave `module` with its best weights, in evaluation mode, on `device`.

    Returns the validation score of these weights.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    recipe = module.recipe
    (folder / BEST).unlink(missing_ok=True)
    stopping = early_stopping(recipe, module.preset)
    trainer = make_trainer(
        folder, recipe.epochs, recipe.clip, device, "validation_score", "max", (stopping,), keep_last=False
    )
    train, validation = (
        StoredPairs(task.store, rows, (module.field,), task.labels[rows]) for rows in (task.train, task.validation)
    )
    trainer.fit(module, Batches(train, validation, recipe.batch, module.seed))
    module.load_state_dict(torch.load(folder / BEST, map_location="cpu", weights_only=True)["state_dict"])
    module.to(device).eval()
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        (folder / BEST).unlink()
    return float(trainer.checkpoint_callback.best_model_score)


def _float(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def _quiet(function, values: np.ndarray) -> np.ndarray:
    """A NaN-aware mean or deviation over the first axis, without a warning for a column that is all NaN."""
    result = np.full(values.shape[1], np.nan)
    known = np.isfinite(values).any(axis=0)
    result[known] = function(values[:, known], axis=0)
    return result

"""Supervised training of an encoder with a linear head, from random or pre-trained weights, and its predictions.

As in pre-training, what is asked for is returned when it is finished and trained when it is not. Arms are those of
pre-training, `scratch`
(the same ECG encoder from random weights) and `cmr` (the CMR encoder from random weights, an upper reference).
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
from pytorch_lightning.callbacks import EarlyStopping
from torch import nn

from mmcl.config import FinetuneRecipe, Preset, Profile, fingerprint
from mmcl.data.augmentation import augment_cmr, augment_ecg, first_crop, resize, tiled_crops
from mmcl.data.store import Store
from mmcl.evaluation.metrics import auroc, pearson_r
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.ecg_encoder import EcgEncoder, load_pretrained
from mmcl.provenance import code_fingerprint
from mmcl.setting import Setting
from mmcl.training.batches import Batches, StoredPairs, generator
from mmcl.training.pretraining import ARMS, ecg_encoder_weights, pretrain, summary
from mmcl.training.schedule import layer_scale, parameter_groups, scheduled
from mmcl.training.tasks import Outcome, Task, open_task
from mmcl.training.trainer import BEST, make_trainer

SUPERVISED = ("scratch", "cmr")
"""Arms that use no pre-training."""

MAX_CASE_WEIGHT = 20.0
"""Limit on how much more a case counts than a control, when a disease is rare among few labels."""


class Supervised(pl.LightningModule):
    """An encoder and a linear head on one task; missing labels count neither in the loss nor in the score.

    Diseases: cross-entropy with cases weighted to balance controls, as the published balanced training sets do.
    Phenotypes: squared error in training standard deviations. `validation_score` is the mean AUROC or Pearson r.
    """

    def __init__(self, arm: str, task: Task, profile: Profile, preset: Preset, recipe: FinetuneRecipe, seed: int):
        super().__init__()
        self.recipe, self.profile, self.preset, self.seed = recipe, profile, preset, seed
        self.is_risk, self.modality = task.is_risk, "cmr" if arm == "cmr" else "ecg"
        if self.modality == "ecg":
            self.encoder = EcgEncoder(profile.ecg, profile.encoder, recipe.pooling, recipe.drop_path)
        else:
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
        self.outputs: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Model input of the arm's modality -> (batch, targets): logits, or phenotypes in training deviations."""
        return self.head(self.encoder(x))

    def loss(self, output: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Mean over known labels; `label` (batch, targets) in its own units, NaN where missing."""
        known = label.isfinite()
        label = label.nan_to_num()
        if self.is_risk:
            soft = label * (1 - self.recipe.label_smoothing) + 0.5 * self.recipe.label_smoothing
            error = F.binary_cross_entropy_with_logits(output, soft, reduction="none")
            error = error * torch.where(label > 0, self.case_weight, 1.0)
        else:
            error = (output - (label - self.centre) / self.spread) ** 2
        return (error * known).sum() / known.sum().clamp(min=1)

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        random = generator(self.device, self.seed, self.current_epoch + 1, batch_idx, self.global_rank)
        if self.modality == "ecg":
            positive = self.preset.positive_rescale
            x = augment_ecg(batch["ecg"], self.profile.ecg.window, self.recipe.augmentation, positive, random)
        else:
            x = augment_cmr(batch["cmr"], self.profile.cmr.image_size, self.profile.mmcl.cmr_augmentation, random)
        loss = self.loss(self(x), batch["label"])
        self.log("train_loss", loss.detach(), on_step=False, on_epoch=True, sync_dist=True, batch_size=len(x))
        return loss

    def validation_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> None:
        if self.modality == "ecg":
            output = self(first_crop(batch["ecg"], self.profile.ecg.window))
        else:
            output = self(resize(batch["cmr"], self.profile.cmr.image_size))
        self.outputs.append((output, batch["label"]))

    def on_validation_epoch_end(self) -> None:
        output, label = (torch.cat(parts) for parts in zip(*self.outputs, strict=True))
        self.outputs.clear()
        score = (auroc if self.is_risk else pearson_r)(label.cpu().numpy(), output.cpu().numpy())
        mean = float(_quiet(np.nanmean, score[:, None])[0])
        loss = self.loss(output, label)
        # A constant prediction has no score: it ranks last.
        self.log_dict({"validation_loss": loss, "validation_score": mean if mean == mean else -1.0}, sync_dist=True)

    def configure_optimizers(self) -> dict:
        recipe = self.recipe
        groups = parameter_groups(
            self.named_parameters(),
            recipe.learning_rate,
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
                image = torch.from_numpy(store.cmr[chosen]).to(self.device)
                output = self(resize(image, self.profile.cmr.image_size))
            else:
                output = self._over_windows(torch.from_numpy(store.ecg[chosen]).to(self.device))
            if self.is_risk:
                # Weighting cases shifts every logit by the log of the weight; undone, outputs are calibrated again.
                output = (output - self.case_weight.log()).sigmoid()
            else:
                output = output * self.spread + self.centre
            scores.append(output.double().cpu().numpy())
        return np.concatenate(scores)

    def _over_windows(self, records: torch.Tensor) -> torch.Tensor:
        window = self.profile.ecg.window
        crops = tiled_crops(records, window) if self.preset.tile_crops else first_crop(records, window)[:, None]
        return self(crops.flatten(0, 1)).unflatten(0, crops.shape[:2]).mean(dim=1)


def finetune(arm: str, task: str, few: int | None, seed: int, setting: Setting) -> Outcome:
    """Validation and test predictions of one supervised training; trained now unless finished.

    `few` restricts the training labels, None takes all. `seed` is that of the fine-tuning; the pre-training's is the
    run's.
    """
    if arm not in (*ARMS, *SUPERVISED):
        raise ValueError(f"unknown arm {arm!r}; expected one of {', '.join((*ARMS, *SUPERVISED))}")
    run, profile, preset = setting.run, setting.profile, setting.preset
    store = Store.open(run.store)
    labelled = open_task(task, store, few, seed)
    recipe = profile.downstream.scratch if arm in SUPERVISED else profile.downstream.finetune
    recipe = _long_enough(recipe, len(labelled.train))
    start = pretrain(arm, setting) if arm in ARMS else None
    outcome = Outcome(run.predictions / task, arm, "finetune", str(few or "all"), seed)

    data = [store.meta["checksums"][name] for name in ("ecg.npy", "cmr.npy", "subjects.csv")]
    sizes = (profile.ecg, profile.cmr, profile.encoder, profile.cmr_encoder, profile.mmcl.cmr_augmentation)
    origin = summary(start)["fingerprint"] if start else None
    code = code_fingerprint("mmcl.training.finetuning")
    mark = fingerprint(arm, task, few, seed, preset, recipe, sizes, data, origin, code)

    def train() -> tuple[np.ndarray, np.ndarray]:
        pl.seed_everything(seed, verbose=False)
        module = Supervised(arm, labelled, profile, preset, recipe, seed)
        if start is not None:
            load_pretrained(module.encoder, ecg_encoder_weights(start))
        _fit(module, labelled, run.folder / "finetuning" / f"{task}-{outcome.stem}", setting.device)
        return tuple(module.predict_rows(store, rows) for rows in (labelled.validation, labelled.test))

    return outcome.once(mark, labelled, train)


def _long_enough(recipe: FinetuneRecipe, labels: int) -> FinetuneRecipe:
    """`recipe` with epochs, warm-up and patience stretched so that its steps reach `min_steps`."""
    per_epoch = max(1, labels // recipe.batch)
    stretch = max(1.0, recipe.min_steps / (recipe.epochs * per_epoch))
    longer = {name: math.ceil(getattr(recipe, name) * stretch) for name in ("epochs", "warmup", "patience")}
    return dataclasses.replace(recipe, **longer)


def _fit(module: Supervised, task: Task, folder: Path, device: torch.device) -> None:
    """Train with early stopping and leave `module` with its best weights, in evaluation mode, on `device`."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    recipe = module.recipe
    (folder / BEST).unlink(missing_ok=True)
    stopping = EarlyStopping("validation_score", mode="max", patience=recipe.patience, min_delta=0.0)
    trainer = make_trainer(
        folder, recipe.epochs, recipe.clip, device, "validation_score", "max", (stopping,), keep_last=False
    )
    train, validation = (
        StoredPairs(task.store, rows, (module.modality,), task.labels[rows]) for rows in (task.train, task.validation)
    )
    trainer.fit(module, Batches(train, validation, recipe.batch, module.seed))
    module.load_state_dict(torch.load(folder / BEST, map_location="cpu", weights_only=True)["state_dict"])
    module.to(device).eval()
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        (folder / BEST).unlink()


def _float(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def _quiet(function, values: np.ndarray) -> np.ndarray:
    """A NaN-aware mean or deviation over the first axis, without a warning for a column that is all NaN."""
    result = np.full(values.shape[1], np.nan)
    known = np.isfinite(values).any(axis=0)
    result[known] = function(values[:, known], axis=0)
    return result

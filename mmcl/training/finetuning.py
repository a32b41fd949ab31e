"""Supervised training of an encoder with a linear head, from random or pre-trained weights, and its predictions.

As in pre-training, what is asked for is returned when it is finished and trained when it is not. Arms are those of
pre-training, `scratch` (the same ECG encoder from random weights) and `cmr` (the CMR encoder from random weights, an
upper reference).
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch

from mmcl.config import FinetuneRecipe, fingerprint
from mmcl.data.store import Store
from mmcl.models.ecg_encoder import load_pretrained
from mmcl.provenance import code_fingerprint, is_finished, read_json, write_json
from mmcl.setting import Setting
from mmcl.training.batches import Batches, StoredPairs
from mmcl.training.experiments import ARMS, arm_setting
from mmcl.training.pretraining import cmr_encoder_weights, ecg_encoder_weights, pretrain, summary
from mmcl.training.side_by_side import fit_side_by_side, how_many
from mmcl.training.stopping import early_stopping
from mmcl.training.supervised import Supervised
from mmcl.training.tasks import Fitted, Outcome, Task, open_task
from mmcl.training.trainer import BEST, make_trainer

SUPERVISED = ("scratch", "cmr")
"""Arms that use no pre-training."""


def finetune(arm: str, task: str, few: float | None, seed: int, setting: Setting) -> Outcome:
    """Validation and test predictions of one supervised training; trained now unless finished.

    `few` restricts the training labels, see `mmcl.training.tasks.open_task`; None takes all. `seed` is that of the
    fine-tuning; the pre-training's is the run's. Balanced sets make one model a disease. The record of the outcome
    holds, for each model, the learning rate, its best validation score, and with several learning rates what each
    scored on validation subjects.
    """
    return finetune_seeds(arm, task, few, (seed,), setting)[seed]


def finetune_seeds(
    arm: str, task: str, few: float | None, seeds: Sequence[int], setting: Setting
) -> dict[int, Outcome]:
    """What `finetune` returns of each of `seeds`; those not finished are trained now, several side by side.

    How many at once is `side_by_side` of the profile, see `mmcl.training.side_by_side.how_many`. Which paths a seed
    drops (`drop_path`) depends on those that it is trained with; nothing else does.
    """
    if arm not in (*ARMS, *SUPERVISED):
        raise ValueError(f"unknown arm {arm!r}; expected one of {', '.join((*ARMS, *SUPERVISED))}")
    setting = arm_setting(arm, setting)
    run, profile, preset, downstream = setting.run, setting.profile, setting.preset, setting.profile.downstream
    store = Store.open(run.store)
    labelled = {seed: open_task(task, store, few, seed, downstream.balance) for seed in seeds}
    recipe = downstream.scratch if arm in SUPERVISED else downstream.finetune
    start = pretrain(arm, setting) if arm in ARMS else None
    labels = str(few or "all")
    outcomes = {seed: Outcome(run.predictions / task, arm, "finetune", labels, seed) for seed in seeds}

    data = [store.meta["checksums"].get(name) for name in ("ecg.npy", "cmr.npy", "subjects.csv")]
    if arm == "cmr" and not preset.crop_in_evaluation:
        store.images(cropped=False)  # says what is missing where the store was made for another preset
        data.append(store.meta["checksums"]["frame.npy"])
    sizes = (profile.ecg, profile.cmr, profile.encoder, profile.cmr_encoder, profile.mmcl.cmr_augmentation)
    origin = summary(start)["fingerprint"] if start else None
    code = code_fingerprint("mmcl.training.finetuning")
    same = fingerprint(arm, task, few, preset, recipe, downstream.balance, sizes, data, origin, code)
    marks = {seed: fingerprint(same, seed, downstream.seeds[0], downstream.calibration) for seed in seeds}

    def untrained(part: Task, seed: int, rate: float) -> Supervised:
        pl.seed_everything(seed, verbose=False)
        longer = _long_enough(dataclasses.replace(recipe, learning_rates=(rate,)), len(part.train))
        model = Supervised(arm, part, profile, preset, longer, seed)
        if start is not None and model.modality == "cmr":
            model.encoder.load_state_dict(cmr_encoder_weights(start))
        elif start is not None:
            load_pretrained(model.encoder, ecg_encoder_weights(start), both_axes=preset.interpolate_both_axes)
        return model

    def trained(parts: dict[int, Task], rate: float, label: str) -> dict[int, tuple[Supervised, float]]:
        """Of each seed a model at its best validation score, and that score."""
        models = [untrained(part, seed, rate) for seed, part in parts.items()]
        folders = [run.folder / "finetuning" / f"{label}-{seed}" for seed in parts]
        scores = fit(models, list(parts.values()), folders, setting.device)
        return dict(zip(parts, zip(models, scores, strict=True), strict=True))

    def choose(number: int, name: str) -> tuple[float, dict[str, float]]:
        """Of several learning rates the best on validation, with the first seed and its labels; and all scores."""
        if len(recipe.learning_rates) == 1:
            return recipe.learning_rates[0], {}
        first = downstream.seeds[0]
        part = open_task(task, store, few, first, downstream.balance).parts()[number]
        label = f"{task}-{name}-{labels}-rates"
        path = run.folder / "finetuning" / f"{label}.json"
        found = read_json(path) if path.exists() else {}
        scores = found["scores"] if found.get("fingerprint") == same else {}
        for rate in recipe.learning_rates:
            if f"{rate:g}" not in scores:
                scores[f"{rate:g}"] = trained({first: part}, rate, label)[first][1]
                write_json(path, {"fingerprint": same, "scores": scores})
        return max(recipe.learning_rates, key=lambda rate: scores[f"{rate:g}"]), scores

    def train(group: list[int]) -> dict[int, Fitted]:
        columns, models = {seed: [] for seed in group}, {seed: {} for seed in group}
        for number, each in enumerate(zip(*(labelled[seed].parts() for seed in group), strict=True)):
            parts = dict(zip(group, each, strict=True))
            learnable = {seed: part for seed, part in parts.items() if _learnable(part)}
            targets = each[0].targets
            name = f"{arm}-{targets[0]}" if len(targets) == 1 else arm
            what = ", ".join(targets) if each[0].is_risk else task
            if learnable:
                rate, scores = choose(number, name)
                fitted = trained(learnable, rate, f"{task}-{name}-finetune-{labels}")
            for seed, part in parts.items():
                models[seed][what] = {"labels": len(part.train)}
                splits = (part.validation, part.test)
                if seed not in learnable:
                    # No case among the labels: nothing but the prevalence can be told.
                    columns[seed].append([np.tile(part.expected, (len(rows), 1)) for rows in splits])
                    continue
                model, best = fitted[seed]
                columns[seed].append([model.predict_rows(store, rows) for rows in splits])
                models[seed][what] |= {"learning_rate": rate, "validation_score": best}
                if scores:
                    models[seed][what]["validation_scores_by_learning_rate"] = scores
        joined = {
            seed: (np.concatenate(parts, axis=1) for parts in zip(*own, strict=True)) for seed, own in columns.items()
        }
        return {seed: Fitted(*splits, {"models": models[seed]}) for seed, splits in joined.items()}

    missing = [seed for seed in outcomes if not is_finished(outcomes[seed].record, marks[seed])]
    if missing:
        example = Supervised(arm, labelled[missing[0]], profile, preset, recipe, missing[0])
        at_once = how_many(example, downstream.side_by_side, setting.device)
    while missing:
        group, missing = missing[:at_once], missing[at_once:]
        for seed, fitted in train(group).items():
            outcomes[seed].once(marks[seed], labelled[seed], lambda fitted=fitted: fitted, downstream.calibration)
    return outcomes


def _learnable(task: Task) -> bool:
    """False for one disease of which the training labels hold no case, or no control."""
    known = task.labels[task.train]
    return not (task.is_risk and len(task.targets) == 1 and np.unique(known[np.isfinite(known)]).size < 2)


def _long_enough(recipe: FinetuneRecipe, labels: int) -> FinetuneRecipe:
    """`recipe` with epochs, warm-up and patience stretched so that its steps reach `min_steps`."""
    per_epoch = max(1, labels // recipe.batch)
    stretch = max(1.0, recipe.min_steps / (recipe.epochs * per_epoch))
    longer = {name: math.ceil(getattr(recipe, name) * stretch) for name in ("epochs", "warmup", "patience")}
    return dataclasses.replace(recipe, **longer)


def fit(models: list[Supervised], tasks: list[Task], folders: list[Path], device: torch.device) -> list[float]:
    """Train each of `models` on its task with early stopping, several side by side; the log goes to its folder.

    Leaves them with their best weights, in evaluation mode, on `device`, and returns the validation scores of these.
    """
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    batches = [_batches(model, task) for model, task in zip(models, tasks, strict=True)]
    if len(models) == 1:
        scores = [_fit_alone(models[0], batches[0], folders[0], device)]
    else:
        scores = fit_side_by_side(models, batches, folders, device)
    for model in models:
        model.to(device).eval()
    return scores


def _batches(model: Supervised, task: Task) -> Batches:
    train, validation = (
        StoredPairs(task.store, rows, (model.field,), task.labels[rows]) for rows in (task.train, task.validation)
    )
    return Batches(train, validation, model.recipe.batch, model.seed, whole_validation=True)


def _fit_alone(model: Supervised, batches: Batches, folder: Path, device: torch.device) -> float:
    recipe = model.recipe
    (folder / BEST).unlink(missing_ok=True)
    stopping = early_stopping(recipe, model.preset)
    compute = model.profile.compute
    trainer = make_trainer(
        folder, recipe.epochs, recipe.clip, device, "validation_score", "max", compute, (stopping,), keep_last=False
    )
    trainer.fit(model, batches)
    model.load_state_dict(torch.load(folder / BEST, map_location="cpu", weights_only=True)["state_dict"])
    trainer.strategy.barrier()
    if trainer.is_global_zero:
        (folder / BEST).unlink()
    return float(trainer.checkpoint_callback.best_model_score)

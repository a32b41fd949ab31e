"""Pre-trained weights on request: finished ones are returned, interrupted ones resumed, others trained.

Notebooks and the command line (`python -m mmcl pretrain ARM`, also under torchrun or SLURM) share this one function.
What an arm is, `mmcl.training.experiments` says.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file, save_file

from mmcl.config import Preset, Profile, fingerprint, look_up
from mmcl.data.store import Store
from mmcl.models.ecg_encoder import load_pretrained
from mmcl.provenance import code_fingerprint, is_finished, read_json, write_json
from mmcl.setting import Setting
from mmcl.training.batches import Batches, StoredPairs
from mmcl.training.compute import compile_model
from mmcl.training.experiments import ARMS, arm_numbers, arm_setting, stages
from mmcl.training.kept_epochs import KeepEpochs, kept_epochs
from mmcl.training.objectives import OBJECTIVES, Pretraining
from mmcl.training.trainer import BEST, LAST, METRICS, make_trainer

CMR_ARMS = tuple(arm for arm, spec in ARMS.items() if "ecg" not in OBJECTIVES[spec.objective].fields)
"""Arms that have a CMR encoder alone."""

WEIGHTS = "weights.safetensors"
FINISHED = "finished.json"


def pretrain(arm: str, setting: Setting) -> Path:
    """Folder with the finished weights of `arm`, trained now if need be.

    The folder holds `weights.safetensors` (the whole model, at its best validation loss unless the objective chooses
    the last epoch), `last.ckpt`, `best.ckpt`, `metrics.csv`, the weights of the epochs that the recipe keeps and, once
    training has ended, `finished.json` with the fingerprint of code, numbers and data. Weights with another fingerprint
    are trained anew; an interrupted training goes on from its last epoch.
    """
    told = look_up(ARMS, arm, "arm")
    setting = arm_setting(arm, setting)
    run, profile, preset = setting.run, setting.profile, setting.preset
    folder = run.checkpoints / arm
    store = Store.open(run.store)
    mark = pretraining_mark(arm, setting, store.meta["checksums"])
    if is_finished(folder / FINISHED, mark):
        return folder
    start = pretrain(told.start, setting) if told.start else None

    folder.mkdir(parents=True, exist_ok=True)
    if not is_finished(folder / "started.json", mark):
        for stale in (FINISHED, LAST, BEST, WEIGHTS, METRICS, *kept_epochs(folder).values()):
            (folder / stale).unlink(missing_ok=True)
        write_json(folder / "started.json", {"fingerprint": mark})

    seed = run.seed + told.seed
    pl.seed_everything(seed, verbose=False)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    module = new_module(arm, profile, preset, seed)
    if start is not None:
        load_pretrained(module.model.encoder_ecg, ecg_encoder_weights(start))
    recipe = module.recipe
    rows = training_rows(store, told.pairs, run.seed), store.indices("validation")
    train, validation = (StoredPairs(store, chosen, module.fields) for chosen in rows)
    compile_model(module.model, profile.compute, setting.device)
    keep, device = KeepEpochs(folder, getattr(recipe, "keep_epochs", ())), setting.device
    trainer = make_trainer(
        folder, recipe.epochs, recipe.clip, device, "validation_loss", "min", profile.compute, (keep,)
    )
    last = folder / LAST
    trainer.fit(
        module,
        Batches(train, validation, recipe.batch, seed),
        ckpt_path=last if last.exists() else None,
        weights_only=True,
    )
    if trainer.is_global_zero:
        _finish(folder, arm, mark, module)
    trainer.strategy.barrier()
    return folder


def pretraining_mark(arm: str, setting: Setting, checksums: Mapping[str, str]) -> str:
    """Fingerprint of what the weights of `arm` are made from: code, the numbers of all its stages, and data, told by
    the checksums in a store's `meta`.
    """
    own = arm_setting(arm, setting)
    objectives = {ARMS[stage].objective for stage in stages(arm)}
    names = objectives.union(*(OBJECTIVES[objective].sizes for objective in objectives), ["compute"])
    numbers = {name: dataclasses.asdict(getattr(own.profile, name)) for name in names}
    data = {name: checksums.get(name) for name in ("ecg.npy", "cmr.npy", "subjects.csv")}
    classes = sorted(OBJECTIVES[objective].__module__ for objective in objectives)
    code = code_fingerprint("mmcl.training.pretraining", *(name for name in classes if name.startswith("mmcl.")))
    seed = setting.run.seed + ARMS[arm].seed
    return fingerprint(arm, seed, own.preset, numbers, ARMS[arm].pairs, data, code)


def training_rows(store: Store, pairs: float | None, seed: int) -> np.ndarray:
    """Rows of the training subjects, ascending; with `pairs` those of so many random subjects, or of a share below 1.

    Fewer subjects of one seed are among more. ValueError where the store has fewer than `pairs`.
    """
    rows = store.indices("train")
    if pairs is None:
        return rows
    subjects = store.subjects["subject"].to_numpy()[rows]
    everybody = np.unique(subjects)
    count = max(1, round(pairs * len(everybody))) if pairs < 1 else int(pairs)
    if count > len(everybody):
        raise ValueError(f"{store.folder}: {len(everybody)} training subjects; expected {count} for pre-training")
    chosen = np.random.default_rng([seed, 0]).permutation(everybody)[:count]
    return rows[np.isin(subjects, chosen)]


def new_module(arm: str, profile: Profile, preset: Preset, seed: int) -> Pretraining:
    """The untrained Lightning module of an arm, with what it changes of `profile` and `preset`."""
    return OBJECTIVES[look_up(ARMS, arm, "arm").objective](*arm_numbers(arm, profile, preset), seed)


def load_module(folder: Path, arm: str, profile: Profile, preset: Preset, weights: str = WEIGHTS) -> Pretraining:
    """The trained module of an arm, in evaluation mode, on the CPU; `weights` is a file in `folder`."""
    module = new_module(arm, profile, preset, seed=0)
    module.model.load_state_dict(load_file(folder / weights))
    return module.eval()


def ecg_encoder_weights(folder: Path) -> dict[str, torch.Tensor]:
    """State dict of the ECG encoder in a folder made by `pretrain`, in the released layout."""
    state = load_file(folder / WEIGHTS)
    for prefix in ("encoder_ecg.", "encoder."):
        chosen = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if chosen:
            return chosen
    raise ValueError(f"{folder / WEIGHTS}: holds no ECG encoder")


def cmr_encoder_weights(folder: Path) -> dict[str, torch.Tensor]:
    """State dict of the CMR encoder in a folder made by `pretrain`, in the names of `CmrEncoder`."""
    prefix = "encoder_imaging."
    chosen = {k.removeprefix(prefix): value for k, value in load_file(folder / WEIGHTS).items() if k.startswith(prefix)}
    if not chosen:
        raise ValueError(f"{folder / WEIGHTS}: holds no CMR encoder")
    return chosen


def history(folder: Path) -> pd.DataFrame:
    """One row per epoch, from `metrics.csv`; index `epoch`, columns such as `train_loss` and `validation_loss`."""
    return pd.read_csv(folder / METRICS, index_col="epoch")


def _finish(folder: Path, arm: str, mark: str, module: Pretraining) -> None:
    """Write the chosen weights without anything that needs unpickling, then say that the training has ended."""
    state = torch.load(folder / module.chosen, map_location="cpu", weights_only=True)["state_dict"]
    weights = {name.removeprefix("model."): value.contiguous() for name, value in state.items()}
    save_file(weights, folder / f"{WEIGHTS}.partial", {name: str(value) for name, value in module.facts.items()})
    (folder / f"{WEIGHTS}.partial").replace(folder / WEIGHTS)
    record = history(folder)
    best = int(record["validation_loss"].idxmin() if module.chosen == BEST else record.index[-1])
    scores = {name: float(value) for name, value in record.loc[best].items()}
    told = {"fingerprint": mark, "arm": arm, "epochs": module.recipe.epochs, "best_epoch": best}
    write_json(folder / FINISHED, told | scores)


def summary(folder: Path) -> dict:
    """What `finished.json` says: arm, epochs, best epoch and its scores."""
    return read_json(folder / FINISHED)

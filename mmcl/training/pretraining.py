"""Pre-trained weights on request: finished ones are returned, interrupted ones resumed, others trained.

Notebooks and the command line (`python -m mmcl pretrain ARM`, also under torchrun or SLURM) share this one function.
Training arms:

| arm | objective | starts from |
|---|---|---|
| `mdm` | masked data modelling | random weights |
| `mmcl` | multimodal contrastive learning | random weights |
| `mdm+mmcl` | multimodal contrastive learning | the encoder of `mdm` |
"""

from __future__ import annotations

import logging
from pathlib import Path

import pandas as pd
import pytorch_lightning as pl
import torch
from safetensors.torch import load_file, save_file

from mmcl.config import LEADS, Preset, Profile, fingerprint
from mmcl.data.store import Store
from mmcl.models.ecg_encoder import load_pretrained
from mmcl.provenance import code_fingerprint, is_finished, read_json, write_json
from mmcl.setting import Setting
from mmcl.training.batches import Batches, StoredPairs
from mmcl.training.modules import Contrastive, MaskedModelling, Pretraining
from mmcl.training.trainer import BEST, LAST, METRICS, make_trainer

ARMS = {"mdm": ("mdm", None), "mmcl": ("mmcl", None), "mdm+mmcl": ("mmcl", "mdm")}
"""Arm -> (objective, arm whose encoder it starts from)."""

WEIGHTS = "weights.safetensors"
FINISHED = "finished.json"


def pretrain(arm: str, setting: Setting) -> Path:
    """Folder with the finished weights of `arm`, trained now if need be.

    The folder holds `weights.safetensors` (the whole module at its best validation loss), `last.ckpt`, `best.ckpt`,
    `metrics.csv` and, once training has ended, `finished.json` with the fingerprint of code, numbers and data. Weights
    with another fingerprint are trained anew; an interrupted training goes on from its last epoch.
    """
    if arm not in ARMS:
        raise ValueError(f"unknown arm {arm!r}; expected one of {', '.join(ARMS)}")
    run, profile, preset = setting.run, setting.profile, setting.preset
    folder = run.checkpoints / arm
    store = Store.open(run.store)
    mark = _fingerprint(arm, setting, store)
    if is_finished(folder / FINISHED, mark):
        return folder
    start = pretrain(ARMS[arm][1], setting) if ARMS[arm][1] else None

    folder.mkdir(parents=True, exist_ok=True)
    if not is_finished(folder / "started.json", mark):
        for stale in (FINISHED, LAST, BEST, WEIGHTS, METRICS):
            (folder / stale).unlink(missing_ok=True)
        write_json(folder / "started.json", {"fingerprint": mark})

    pl.seed_everything(run.seed, verbose=False)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    module = new_module(arm, profile, preset, run.seed)
    if start is not None:
        load_pretrained(module.model.encoder_ecg, ecg_encoder_weights(start))
    recipe = module.recipe
    fields = ("ecg",) if arm == "mdm" else ("ecg", "cmr")
    train, validation = (StoredPairs(store, store.indices(split), fields) for split in ("train", "validation"))
    trainer = make_trainer(folder, recipe.epochs, recipe.clip, setting.device, "validation_loss", "min")
    last = folder / LAST
    trainer.fit(
        module,
        Batches(train, validation, recipe.batch, run.seed),
        ckpt_path=last if last.exists() else None,
        weights_only=True,
    )
    if trainer.is_global_zero:
        _finish(folder, arm, mark, recipe.epochs, profile)
    trainer.strategy.barrier()
    return folder


def new_module(arm: str, profile: Profile, preset: Preset, seed: int) -> Pretraining:
    """The untrained Lightning module of an arm."""
    return (MaskedModelling if ARMS[arm][0] == "mdm" else Contrastive)(profile, preset, seed)


def load_module(folder: Path, arm: str, profile: Profile, preset: Preset) -> Pretraining:
    """The trained module of an arm, in evaluation mode, on the CPU."""
    module = new_module(arm, profile, preset, seed=0)
    module.model.load_state_dict(load_file(folder / WEIGHTS))
    return module.eval()


def ecg_encoder_weights(folder: Path) -> dict[str, torch.Tensor]:
    """State dict of the ECG encoder in a folder made by `pretrain`, in the released layout."""
    state = load_file(folder / WEIGHTS)
    for prefix in ("encoder_ecg.", "encoder."):
        chosen = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if chosen:
            return chosen
    raise ValueError(f"{folder / WEIGHTS}: holds no ECG encoder")


def history(folder: Path) -> pd.DataFrame:
    """One row per epoch, from `metrics.csv`; index `epoch`, columns such as `train_loss` and `validation_loss`."""
    return pd.read_csv(folder / METRICS, index_col="epoch")


def _fingerprint(arm: str, setting: Setting, store: Store) -> str:
    profile = setting.profile
    objective, start = ARMS[arm]
    recipes = [profile.mdm, profile.decoder] if "mdm" in (objective, start) else []
    if objective == "mmcl":
        recipes += [profile.mmcl, profile.cmr_encoder, profile.cmr]
    data = {name: store.meta["checksums"][name] for name in ("ecg.npy", "cmr.npy", "subjects.csv")}
    code = code_fingerprint("mmcl.training.pretraining")
    return fingerprint(arm, setting.run.seed, setting.preset, profile.ecg, profile.encoder, recipes, data, code)


def _finish(folder: Path, arm: str, mark: str, epochs: int, profile: Profile) -> None:
    """Write the best weights without anything that needs unpickling, then say that the training has ended."""
    state = torch.load(folder / BEST, map_location="cpu", weights_only=True)["state_dict"]
    weights = {name.removeprefix("model."): value.contiguous() for name, value in state.items()}
    # What no tensor tells, for `mmcl.load_encoder`.
    facts = {"heads": profile.encoder.heads, "leads": len(LEADS), "sampling_rate": profile.ecg.sampling_rate}
    save_file(weights, folder / f"{WEIGHTS}.partial", {name: str(value) for name, value in facts.items()})
    (folder / f"{WEIGHTS}.partial").replace(folder / WEIGHTS)
    record = history(folder)
    best = int(record["validation_loss"].idxmin())
    scores = {name: float(value) for name, value in record.loc[best].items()}
    write_json(folder / FINISHED, {"fingerprint": mark, "arm": arm, "epochs": epochs, "best_epoch": best, **scores})


def summary(folder: Path) -> dict:
    """What `finished.json` says: arm, epochs, best epoch and its scores."""
    return read_json(folder / FINISHED)

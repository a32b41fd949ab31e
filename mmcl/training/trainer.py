"""The Lightning trainer that every training uses: checkpoints (last and best), CSV log, progress, devices."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, TQDMProgressBar

from mmcl.config import ComputeConfig
from mmcl.provenance import write_text
from mmcl.training.compute import lightning_precision

LAST, BEST, METRICS = "last.ckpt", "best.ckpt", "metrics.csv"


class Trained(pl.LightningModule):
    """What is trained by `make_trainer`: its gradients are clipped by their whole norm.

    Lightning's own clipping refuses fused optimisers under mixed precision, for the sake of a scaler that bfloat16 has
    no use for.
    """

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        if gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)


class EpochLog(Callback):
    """One row per epoch in `metrics.csv`, and a printed line where nobody watches a bar (a notebook, a log file).

    A resumed training keeps the rows of the epochs that it does not repeat.
    """

    def __init__(self, file: Path, name: str, printing: bool):
        self.file, self.name, self.printing = file, name, printing

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        epoch, total = trainer.current_epoch, trainer.max_epochs
        scores = {name: value.item() for name, value in sorted(trainer.callback_metrics.items())}
        row = pd.DataFrame([{"epoch": epoch, "learning_rate": trainer.optimizers[0].param_groups[-1]["lr"], **scores}])
        if epoch and self.file.exists():
            earlier = pd.read_csv(self.file)
            row = pd.concat([earlier[earlier["epoch"] < epoch], row])
        write_text(self.file, row.to_csv(index=False))
        if self.printing and ((epoch + 1) % max(1, total // 10) == 0 or epoch in (0, total - 1)):
            print(f"{self.name} epoch {epoch + 1}/{total}", *(f"{k} {v:.4f}" for k, v in scores.items()), flush=True)


def make_trainer(
    folder: Path,
    epochs: int,
    clip: float,
    device: torch.device,
    monitor: str,
    mode: str,
    compute: ComputeConfig,
    callbacks: tuple[Callback, ...] = (),
    keep_last: bool = True,
) -> pl.Trainer:
    """A trainer that writes `last.ckpt`, `best.ckpt` (by `monitor`) and `metrics.csv` into `folder`.

    Processes and nodes are taken from torchrun or SLURM when they started this one, else one device is used.
    """
    # Warnings that tell a user of a compendium nothing: loaders without workers are meant, so is a short log interval.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*number of training batches.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*treespec.*")
    best = ModelCheckpoint(
        folder,
        filename="best",
        monitor=monitor,
        mode=mode,
        save_last=keep_last,
        enable_version_counter=False,
        auto_insert_metric_name=False,
        save_on_train_epoch_end=True,
    )
    watched = sys.stderr.isatty()
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("SLURM_NTASKS_PER_NODE", "1")))
    nodes = int(os.environ.get("SLURM_NNODES", "1"))
    if "WORLD_SIZE" in os.environ:
        nodes = max(1, int(os.environ["WORLD_SIZE"]) // processes)
    log = EpochLog(folder / METRICS, folder.name, printing=not watched)
    bars = [TQDMProgressBar(refresh_rate=20 if device.type == "cuda" else 1)] if watched else []
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=processes,
        num_nodes=nodes,
        strategy="ddp" if processes * nodes > 1 else "auto",
        max_epochs=epochs,
        precision=lightning_precision(compute, device),
        gradient_clip_val=clip,
        logger=False,
        callbacks=[log, *bars, *callbacks, best],
        enable_progress_bar=watched,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )

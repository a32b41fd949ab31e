"""A training as `pretrain` and `finetune` run it, stopped in turn for as many steps of its published form."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from mmcl.config import ComputeConfig
from mmcl.data.store import Store
from mmcl.training.batches import Batches, StoredPairs
from mmcl.training.compute import compile_model
from mmcl.training.objectives import Pretraining
from mmcl.training.trainer import make_trainer
from tests.benchmarks.reference.training import Published
from tests.benchmarks.timing import Comparison, seconds, wait

PREFETCHED = 2
"""Batches that each worker process of a loader makes ahead."""


class Turns(Callback):
    """Times every `steps` steps of a training, loading included, in turn with `reference`, which `prepare` precedes.

    The order is fast, reference, reference, fast, ..., so that pairs alternate; the first turn warms up and does not
    count. `items` subjects are seen in a turn. After `rounds` pairs training stops.
    """

    def __init__(
        self,
        comparison: Comparison,
        prepare: Callable[[], object],
        reference: Callable[[], object],
        items: int,
        steps: int,
        rounds: int,
    ):
        self.comparison, self.prepare, self.reference, self.items = comparison, prepare, reference, items
        self.steps, self.rounds = steps, rounds
        self.done, self.start = 0, 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_) -> None:
        self.done += 1
        turn, rest = divmod(self.done, self.steps)
        if rest:
            return
        wait(module.device)
        if turn > 1:
            self.comparison.fast.append((time.perf_counter() - self.start) / self.items)
        times = self.comparison.reference
        calls = 1 if turn == 1 else 2 * (turn % 2 == 0)
        for _ in range(min(calls, self.rounds - len(times))):
            self.prepare()
            passed = seconds(self.reference, module.device) / self.items
            if turn > 1:
                times.append(passed)
        trainer.should_stop = turn > self.rounds
        self.start = time.perf_counter()


def compare_training(
    comparison: Comparison,
    module: pl.LightningModule,
    published: Published,
    store: Store,
    labels: np.ndarray | None,
    batch: int,
    steps: int,
    rounds: int,
    folder: Path,
    monitor: str = "validation_loss",
) -> Comparison:
    """Fill `comparison` from a training of `module` in `folder`, and from `published`, on the same subjects.

    The reference's loader has worker processes beside a GPU; on a CPU, where they would only take the cores from the
    network, it augments in this process.
    """
    device = published.device
    subjects = some_subjects(module, store, labels, batch * steps * (rounds + 2))
    workers = 0 if device.type == "cpu" else os.cpu_count() or 1
    loader = published.loader(subjects[0], batch, workers)
    stream = (one for _ in iter(int, 1) for one in loader)

    def reference() -> None:
        for _ in range(steps):
            published.step(next(stream))

    def ahead() -> None:
        """What workers made while they were not timed is not counted."""
        for _ in range(PREFETCHED * workers):
            next(stream)

    turns = Turns(comparison, ahead, reference, batch * steps, steps, rounds)
    fit(module, subjects, batch, folder, device, turns, monitor)
    return comparison


def some_subjects(
    module: pl.LightningModule, store: Store, labels: np.ndarray | None, count: int
) -> tuple[StoredPairs, StoredPairs]:
    """`count` training subjects, again and again the same where the store has fewer, so that one epoch is enough; and
    those of validation."""
    fields = tuple(getattr(module, "fields", ("ecg",)))
    train, validation = (
        StoredPairs(store, rows, fields, None if labels is None else labels[rows])
        for rows in (np.resize(store.indices("train"), count), store.indices("validation"))
    )
    return train, validation


def fit(
    module: pl.LightningModule,
    subjects: tuple[StoredPairs, StoredPairs],
    batch: int,
    folder: Path,
    device: torch.device,
    callback: Callback,
    monitor: str = "validation_loss",
) -> None:
    """Train as `pretrain` does, computed as by default, watched by `callback`."""
    recipe, compute = module.recipe, ComputeConfig()
    if isinstance(module, Pretraining):
        compile_model(module.model, compute, device)
    mode = "min" if monitor.endswith("loss") else "max"
    trainer = make_trainer(
        folder, recipe.epochs, recipe.clip, device, monitor, mode, compute, (callback,), keep_last=False
    )
    trainer.fit(module, Batches(*subjects, batch, module.seed))

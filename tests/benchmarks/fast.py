"""A training as `pretrain` and `finetune` run it, stopped in turn for as many steps of the reference path."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from mmcl.training.batches import Batches, StoredPairs
from mmcl.training.trainer import make_trainer
from tests.benchmarks.timing import Comparison, seconds, wait


class Turns(Callback):
    """Times every `steps` steps of a training, from the end of one to the end of the last, and as many of `reference`.

    The order is fast, reference, reference, fast, ..., `rounds` pairs after `warmup` steps; then training stops.
    """

    def __init__(self, comparison: Comparison, reference: Callable[[], object], items: int, steps: int, rounds: int):
        self.comparison, self.reference, self.items = comparison, reference, items
        self.steps, self.rounds = steps, rounds
        self.count, self.start = 0, 0.0

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.count = -self.steps  # the first turn warms up and counts not

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_) -> None:
        self.count += 1
        if self.count % self.steps or trainer.should_stop:
            return
        comparison, device = self.comparison, module.device
        wait(device)
        if self.count == 0:
            self.reference()
        else:
            comparison.fast.append((time.perf_counter() - self.start) / self.items / self.steps)
        while len(comparison.reference) < min(self.rounds, (len(comparison.fast) + 1) // 2 * 2 - len(comparison.fast) % 2):
            pass
        self.start = time.perf_counter()

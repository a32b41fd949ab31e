"""Cost of pre-training as the cohort grows: `python -m tests.benchmarks.scaling STORE SUBJECTS EPOCHS DEVICE FOLDER`.

In a process of its own, for its largest memory is asked for. Prints the seconds of each epoch of MDM and MMCL in the
smoke profile's sizes, and the bytes of memory besides the data.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from mmcl.config import preset
from mmcl.data.store import Store
from mmcl.profiles import profile
from mmcl.training.batches import StoredPairs
from mmcl.training.pretraining import new_module
from tests.benchmarks.fast import fit
from tests.benchmarks.timing import wait

ARMS = ("mdm", "mmcl")


class Epochs(Callback):
    """Seconds of each epoch's training."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        wait(module.device)
        self.seconds.append(time.perf_counter() - self.start)


def largest_memory(device: torch.device) -> int:
    """Largest bytes of the device's memory, or of the process where the device is the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text().split()
    return 1024 * int(status[status.index("VmHWM:") + 1])


def main(folder: str, subjects: str, epochs: str, device: str, work: str) -> None:
    store, where, times = Store.open(Path(folder)), torch.device(device), {}
    rows = store.indices("train")[: int(subjects)]
    for arm in ARMS:
        sizes = profile("smoke")
        recipe = dataclasses.replace(getattr(sizes, arm), epochs=int(epochs))
        module = new_module(arm, dataclasses.replace(sizes, **{arm: recipe}), preset("corrected"), 0)
        clock = Epochs()
        pairs = tuple(StoredPairs(store, chosen, module.fields) for chosen in (rows, store.indices("validation")))
        fit(module, pairs, recipe.batch, Path(work) / arm, where, clock)
        times[arm] = clock.seconds
    data = sum(array[:1].nbytes for array in (store.ecg, store.cmr)) * len(rows)
    print(json.dumps({"seconds": times, "data": data, "besides": largest_memory(where) - data}))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Batches from the store, on the device that trains: which rows a process takes in each step, and how they get there.

On a GPU whole arrays of the store are put into its memory once, if they fit, and a batch is an index into them. Where
they do not fit, and on the CPU, a thread reads the next batches while the present one is computed, into page-locked
memory that a stream of its own copies from.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch

from mmcl.data.store import Store

AHEAD = 2
"""Batches that are read before they are asked for."""

CHUNK = 256
"""Rows of an array that are copied to a GPU at once."""

SPARE = 0.25
"""Share of a GPU's memory that arrays of the store leave to what is computed from them."""

Batch = dict[str, torch.Tensor]


class StoredPairs:
    """Subjects `indices` of a store. A batch holds `fields` ("ecg", "cmr") as stored, and rows of `labels` if given.

    ecg: (batch, 12, record) float16; cmr: (batch, 3, crop, crop) uint8; subject: (batch,) int64, equal for all visits
    of one; label: (batch, targets) float32. ValueError when the store lacks a field.
    """

    def __init__(
        self,
        store: Store,
        indices: np.ndarray,
        fields: Sequence[str] = ("ecg", "cmr"),
        labels: np.ndarray | None = None,
    ):
        self.arrays = {name: _subject_numbers(store) if name == "subject" else getattr(store, name) for name in fields}
        lacking = [name for name, array in self.arrays.items() if array is None]
        if lacking:
            raise ValueError(f"{store.folder}: expected {', '.join(fields)}, found no {', '.join(lacking)}")
        self.indices = np.asarray(indices)
        self.labels = None if labels is None else torch.as_tensor(labels, dtype=torch.float32)
        self.origin = tuple(sorted(store.meta["checksums"].items()))

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, positions: torch.Tensor, pinned: bool = False) -> Batch:
        """The batch of `positions` (batch,) among `indices`, in (page-locked) host memory."""
        rows = self.indices[positions.numpy()]
        batch = {name: _take(array, rows, pinned) for name, array in self.arrays.items()}
        if self.labels is not None:
            batch["label"] = self.labels[positions]
        return batch


class Order:
    """Rows that one of `world` processes takes in each step of an epoch, as positions 0 to n - 1.

    In training an epoch is a permutation drawn from `seed` and epoch alone, cut into global batches of `batch`, of
    which each process takes an equal share: no row comes twice, and which rows a step sees does not depend on the
    number of processes, so that a training may go on with another number. What is left over at the end, less than a
    batch, waits for another epoch, for a smaller batch would give a contrastive loss fewer negatives; a set smaller
    than a batch is one batch.

    In validation every row comes once, in batches of almost equal size that do not depend on the number of processes
    either: on them depends a contrastive loss, by which epochs are compared. They are shared where all processes get
    equally many, as the communication between them needs; else each process sees them all.

    ValueError when there are no rows or fewer than processes, or a batch cannot be shared evenly.
    """

    def __init__(self, n: int, batch: int, seed: int, training: bool, rank: int = 0, world: int = 1):
        split = "training" if training else "validation"
        if not n:
            raise ValueError(f"the store has no {split} subjects; see its splits, and what was left out")
        if batch % world:
            raise ValueError(f"a batch of {batch} cannot be shared evenly by {world} processes")
        if n < world:
            raise ValueError(f"{n} {split} subjects cannot be shared by {world} processes; expected one each at least")
        self.n, self.seed, self.training, self.rank, self.world = n, seed, training, rank, world
        self.size = min(batch, n - n % world)
        if not training and math.ceil(n / batch) % world:
            self.rank, self.world = 0, 1
        self.steps = n // self.size if training else math.ceil(n / batch) // self.world

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int) -> list[torch.Tensor]:
        """Positions (batch,) int64 of this process in each step of epoch `number`."""
        if not self.training:
            return list(torch.arange(self.n).tensor_split(self.steps * self.world)[self.rank :: self.world])
        drawn = torch.randperm(self.n, generator=torch.Generator().manual_seed(self.seed + number))
        return list(drawn[: self.steps * self.size].view(self.steps, self.size)[:, self.rank :: self.world])


class Loader:
    """Batches of `pairs` in an `order`, on `device`: an iterable for a Lightning trainer.

    `epoch` tells, when an iteration begins, which epoch it is. `resident` says whether the arrays are put into the
    device's memory; None decides: on a GPU, if they fit.
    """

    def __init__(
        self,
        pairs: StoredPairs,
        order: Order,
        device: torch.device,
        epoch: Callable[[], int] = lambda: 0,
        resident: bool | None = None,
    ):
        self.pairs, self.order, self.device, self.epoch = pairs, order, device, epoch
        self.resident = fits(pairs, device) if resident is None else resident

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        # Asked as the first batch is: Lightning makes the iterator of a resumed training before it knows the epoch.
        steps = self.order.epoch(self.epoch())
        yield from self._indexed(steps) if self.resident else self._streamed(steps)

    def _indexed(self, steps: list[torch.Tensor]) -> Iterator[Batch]:
        arrays = {name: _on_device(self.pairs, name, self.device) for name in self.pairs.arrays}
        indices = torch.as_tensor(self.pairs.indices, device=self.device)
        labels = None if self.pairs.labels is None else self.pairs.labels.to(self.device)
        # The epoch's order goes over in one copy: one in each step would wait for the device.
        for positions in torch.cat(steps).to(self.device).split([len(positions) for positions in steps]):
            rows = indices[positions]
            batch = {name: array[rows] for name, array in arrays.items()}
            yield batch if labels is None else batch | {"label": labels[positions]}

    def _streamed(self, steps: list[torch.Tensor]) -> Iterator[Batch]:
        on_gpu = self.device.type == "cuda"
        copying = torch.cuda.Stream(self.device) if on_gpu else None

        def load(positions: torch.Tensor) -> tuple[Batch, torch.cuda.Event | None]:
            batch = self.pairs.read(positions, pinned=on_gpu)
            if copying is None:
                return batch, None
            with torch.cuda.stream(copying):
                batch = {name: values.to(self.device, non_blocking=True) for name, values in batch.items()}
                return batch, copying.record_event()

        with ThreadPoolExecutor(1, thread_name_prefix="batches") as reader:
            waiting: deque = deque()
            for positions in steps:
                waiting.append(reader.submit(load, positions))
                if len(waiting) > AHEAD:
                    yield self._arrived(*waiting.popleft().result())
            while waiting:
                yield self._arrived(*waiting.popleft().result())

    def _arrived(self, batch: Batch, copied: torch.cuda.Event | None) -> Batch:
        """`batch` for the stream that computes, which waits for the copy; the host does not."""
        if copied is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_event(copied)
            for values in batch.values():
                values.record_stream(computing)
        return batch


class Batches(pl.LightningDataModule):
    """Training and validation batches of size `batch` per step over all processes, on the device of the trainer.

    Their order is a function of `seed` and epoch alone (see `Order`), so a resumed run sees what an uninterrupted one
    would have seen. With `whole_validation` every process sees all validation subjects, for scores that no mean over
    processes gives, such as an AUROC.
    """

    def __init__(
        self, train: StoredPairs, validation: StoredPairs, batch: int, seed: int, whole_validation: bool = False
    ):
        super().__init__()
        self.train, self.validation, self.batch, self.seed = train, validation, batch, seed
        self.whole_validation = whole_validation

    def train_dataloader(self) -> Loader:
        return self._loader(self.train, training=True)

    def val_dataloader(self) -> Loader:
        return self._loader(self.validation, training=False)

    def _loader(self, pairs: StoredPairs, training: bool) -> Loader:
        rank, world = self.trainer.global_rank, self.trainer.world_size
        if self.whole_validation and not training:
            rank, world = 0, 1
        order = Order(len(pairs), self.batch, self.seed, training, rank, world)
        return Loader(pairs, order, self.trainer.strategy.root_device, lambda: self.trainer.current_epoch)


_RESIDENT: dict[tuple, torch.Tensor] = {}
"""Arrays in the memory of a GPU, by content: trainings of one process, one after another, share them."""


def fits(pairs: StoredPairs, device: torch.device) -> bool:
    """Whether the arrays of `pairs` are on the GPU `device`, or fit there beside what is; never on the CPU.

    What it holds of other stores gives way.
    """
    if device.type != "cuda":
        return False
    for key in [key for key in _RESIDENT if key[0] != pairs.origin]:
        del _RESIDENT[key]
    missing = sum(a.nbytes for name, a in pairs.arrays.items() if (pairs.origin, name, device) not in _RESIDENT)
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info(device)
    return missing + SPARE * total <= free or not missing


def _on_device(pairs: StoredPairs, name: str, device: torch.device) -> torch.Tensor:
    key = (pairs.origin, name, device)
    if key not in _RESIDENT:
        array = pairs.arrays[name]
        whole = torch.empty(array.shape, dtype=_dtype(array), device=device)
        for start in range(0, len(array), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(array)))
            whole[start : start + CHUNK].copy_(_take(array, rows, device.type == "cuda"), non_blocking=True)
        _RESIDENT[key] = whole
    return _RESIDENT[key]


def _take(array: np.ndarray, rows: np.ndarray, pinned: bool) -> torch.Tensor:
    """Rows of a memory map in (page-locked) memory, copied once."""
    taken = torch.empty((len(rows), *array.shape[1:]), dtype=_dtype(array), pin_memory=pinned)
    # Without a mode NumPy would copy twice; the rows are those of the store.
    np.take(array, rows, axis=0, out=taken.numpy(), mode="clip")
    return taken


def _dtype(array: np.ndarray) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype


def _subject_numbers(store: Store) -> np.ndarray:
    return pd.factorize(store.subjects["subject"])[0].astype(np.int64)


def generator(device: torch.device, *key: int) -> torch.Generator:
    """A generator on `device` seeded by `key`, e.g. (seed, epoch, step, rank)."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator(device=device).manual_seed(seed)

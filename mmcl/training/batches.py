"""Batches from the store: one read of the memory map per batch, shuffled by seed and epoch, sharded across
processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from mmcl.data.store import Store


class StoredPairs(Dataset):
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

    def __len__(self) -> int:
        return len(self.indices)

    def __getitems__(self, positions: list[int]) -> dict[str, torch.Tensor]:
        rows = self.indices[positions]
        batch = {name: torch.from_numpy(np.ascontiguousarray(array[rows])) for name, array in self.arrays.items()}
        if self.labels is not None:
            batch["label"] = self.labels[positions]
        return batch


class Batches(pl.LightningDataModule):
    """Training and validation batches of size `batch` per step over all processes.

    The order is a function of `seed` and epoch alone, so a resumed run sees what an uninterrupted one would have seen.
    """

    def __init__(self, train: StoredPairs, validation: StoredPairs, batch: int, seed: int):
        super().__init__()
        self.train, self.validation, self.batch, self.seed = train, validation, batch, seed

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.train, training=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.validation, training=False)

    def _loader(self, pairs: StoredPairs, training: bool) -> DataLoader:
        world = self.trainer.world_size
        if not len(pairs):
            split = "training" if training else "validation"
            raise ValueError(f"the store has no {split} subjects; see its splits, and what was left out")
        if self.batch % world:
            raise ValueError(f"a batch of {self.batch} cannot be shared evenly by {world} processes")
        # A last smaller batch would give the contrastive loss fewer negatives; a set smaller than a batch is one batch.
        sampler = DistributedSampler(
            pairs,
            num_replicas=world,
            rank=self.trainer.global_rank,
            shuffle=training,
            seed=self.seed,
        )
        size = min(self.batch // world, len(sampler))
        return DataLoader(pairs, batch_size=size, sampler=sampler, drop_last=training, collate_fn=_as_it_is)


def _subject_numbers(store: Store) -> np.ndarray:
    return pd.factorize(store.subjects["subject"])[0].astype(np.int64)


def _as_it_is(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return batch


def generator(device: torch.device, *key: int) -> torch.Generator:
    """A generator on `device` seeded by `key`, e.g. (seed, epoch, step, rank)."""
    seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1)
    return torch.Generator(device=device).manual_seed(seed)

"""Stores of random numbers: speed asks for shapes, not for hearts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.config import DISEASES, Profile
from mmcl.data.store import Store
from mmcl.data.store_writer import StoreWriter
from tests.benchmarks.roofline import stored_batch

VALIDATION = 16
"""The last rows."""


def random_store(folder: Path, sizes: Profile, subjects: int) -> Store:
    """`subjects` in the shapes of a profile, all but the last `VALIDATION` for training; half have each disease."""
    arrays = {name: value.numpy() for name, value in stored_batch(sizes, subjects).items()}
    people = pd.DataFrame({"subject": [f"s{k:05d}" for k in range(subjects)], "visit": "2", "flags": ""})
    people["split"] = np.where(np.arange(subjects) < subjects - VALIDATION, "train", "validation")
    people = people.assign(**{name: np.arange(subjects) % 2 for name in DISEASES})
    shapes = {name: tuple(value.shape[1:]) for name, value in arrays.items()}
    with StoreWriter(folder, shapes, {"source": "random numbers"}) as writer:
        writer.append(people, **arrays)
    return Store.open(folder)

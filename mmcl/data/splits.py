"""Which subject is in training, validation and test: decided by subject, never by recording.

A subject's place is the rank of SHA-256("seed:subject"), so it depends neither on the order of the files nor on the
platform, and all recordings of a subject share it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np

SPLITS = ("train", "validation", "test")
"""Names of the splits, in the order of sizes and fractions."""

FRACTIONS = (0.70, 0.15, 0.15)
"""Shares of subjects in the published split: 28,030, 6,007 and 6,007 of 40,044."""


def split_by_sizes(subjects: Sequence[str], sizes: Sequence[int], seed: int) -> np.ndarray:
    """Split of every row, by exact numbers of subjects.

    `subjects` (rows,) may repeat a subject. `sizes` (3,) must add up to the number of different subjects.
    Returns an array of split names, (rows,). Raises ValueError for an empty cohort or sizes that do not add up.
    """
    unique = sorted(set(subjects))
    if not unique:
        raise ValueError("the cohort is empty: no subject to split")
    if len(sizes) != len(SPLITS) or min(sizes) < 0 or sum(sizes) != len(unique):
        raise ValueError(
            f"split sizes {tuple(sizes)} add up to {sum(sizes)}, but the cohort has {len(unique)} subjects"
        )
    ranked = sorted(unique, key=lambda subject: hashlib.sha256(f"{seed}:{subject}".encode()).digest())
    split = dict(zip(ranked, np.repeat(SPLITS, sizes), strict=True))
    return np.array([split[subject] for subject in subjects])


def split_by_fractions(subjects: Sequence[str], fractions: Sequence[float] = FRACTIONS, seed: int = 0) -> np.ndarray:
    """As `split_by_sizes`, with shares that add up to 1; borders between the splits are rounded down."""
    if len(fractions) != len(SPLITS) or min(fractions) < 0 or not math.isclose(sum(fractions), 1.0):
        raise ValueError(f"split fractions {tuple(fractions)}: expected three shares that add up to 1")
    count = len(set(subjects))
    first, second = (math.floor(count * share + 1e-9) for share in np.cumsum(fractions)[:2])
    return split_by_sizes(subjects, (first, second - first, count - second), seed)


def split_by_column(subjects: Sequence[str], values: Iterable[object]) -> np.ndarray:
    """Splits that a table prescribes: `values` (rows,) are train, validation (or val) and test, in any case.

    Raises ValueError naming the subject for another value, or for a subject in two splits.
    """
    names = {"val": "validation", "valid": "validation", "training": "train", **{name: name for name in SPLITS}}
    split = []
    for subject, value in zip(subjects, values, strict=True):
        name = names.get(str(value).strip().lower())
        if name is None:
            raise ValueError(f"subject {subject}: split {value!r}, expected one of {', '.join(SPLITS)}")
        split.append(name)
    if not split:
        raise ValueError("the cohort is empty: no subject to split")
    check_disjoint(subjects, split)
    return np.array(split)


def check_disjoint(subjects: Iterable[str], splits: Iterable[str]) -> None:
    """Raise ValueError naming the first subject that is found in two splits."""
    seen: dict[str, str] = {}
    for subject, split in zip(subjects, splits, strict=True):
        if seen.setdefault(subject, split) != split:
            raise ValueError(f"subject {subject} is in two splits, {seen[subject]} and {split}")

"""Which subject is in training, validation and test: decided by subject, never by recording.

A subject's place is the rank of SHA-256("seed:subject"), so it depends neither on the order of the files nor on the
platform, and all recordings of a subject share it. When subjects are added, those who have a split keep it, and the
new ones fill up the shares (`kept`).
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

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
    split = dict(zip(_ranked(unique, seed), np.repeat(SPLITS, sizes), strict=True))
    return np.array([split[subject] for subject in subjects])


def split_by_fractions(
    subjects: Sequence[str],
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    strata: Sequence[object] | None = None,
    kept: Mapping[str, str] | None = None,
) -> np.ndarray:
    """As `split_by_sizes`, with shares that add up to 1.

    Borders between the splits are rounded down. With `strata` (rows,), a value for each row of which a subject's first
    counts, every stratum is shared out so; its roundings go to the split that lacks most over all strata. `kept` says
    which subjects have a split already: they keep it, and the others fill up what is missing.
    """
    if len(fractions) != len(SPLITS) or min(fractions) < 0 or not math.isclose(sum(fractions), 1.0):
        raise ValueError(f"split fractions {tuple(fractions)}: expected three shares that add up to 1")
    stratum: dict[str, object] = {}
    for subject, value in zip(subjects, strata if strata is not None else [0] * len(subjects), strict=True):
        stratum.setdefault(subject, value)
    if not stratum:
        raise ValueError("the cohort is empty: no subject to split")
    split = {subject: kept[subject] for subject in stratum if subject in (kept or {})}
    members = defaultdict(list)
    for subject in _ranked(stratum, seed):
        members[str(stratum[subject])].append(subject)
    shares, total, counted = np.array(fractions), np.zeros(len(SPLITS)), 0
    for name in sorted(members):
        group = members[name]
        counted += len(group)
        here = np.array([sum(split.get(subject) == other for subject in group) for other in SPLITS], dtype=float)
        new = [subject for subject in group if subject not in split]
        sizes = _fill(here, total, len(new), shares, counted)
        split |= zip(new, np.repeat(SPLITS, sizes), strict=True)
        total += here + sizes
    return np.array([split[subject] for subject in subjects])


def split_by_column(
    subjects: Sequence[str], values: Iterable[object], meanings: Mapping[str, str] | None = None
) -> np.ndarray:
    """Splits that a table prescribes: `values` (rows,) are train, validation (or val) and test, in any case.

    `meanings` maps other values, as text, to these. Raises ValueError naming the subject for another value, or for a
    subject in two splits.
    """
    names = {"val": "validation", "valid": "validation", "training": "train", **{name: name for name in SPLITS}}
    names = names if not meanings else dict(meanings)
    split = []
    for subject, value in zip(subjects, values, strict=True):
        name = names.get(str(value).strip().lower())
        if name is None:
            raise ValueError(f"subject {subject}: split {value!r}, expected one of {', '.join(names)}")
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


def _ranked(subjects: Iterable[str], seed: int) -> list[str]:
    return sorted(set(subjects), key=lambda subject: hashlib.sha256(f"{seed}:{subject}".encode()).digest())


def _fill(here: np.ndarray, total: np.ndarray, new: int, shares: np.ndarray, counted: int) -> np.ndarray:
    """How many of `new` subjects of a stratum go to each split, so that the stratum comes nearest to its `shares`.

    `here` are the subjects of the stratum that have a split, `total` those of the strata before. Whole subjects are
    given by what the stratum lacks; the last, which no stratum can share out, by what the `counted` subjects lack.
    """
    wanted = shares * (here.sum() + new)
    sizes = np.floor(np.clip(wanted - here, 0, None) + 1e-9)
    while sizes.sum() > new:
        # Where some splits have too many already, the others together lack more than there is.
        sizes[np.argmax(here + sizes - wanted + (sizes == 0) * -np.inf)] -= 1
    while sizes.sum() < new:
        lacks = _whole_shares(counted, shares) - (total + here + sizes)
        allowed = (here + sizes < wanted + 1 - 1e-9) & (shares > 0)
        sizes[np.argmax(np.where(allowed, lacks, -np.inf))] += 1
    return sizes.astype(int)


def _whole_shares(count: int, shares: np.ndarray) -> np.ndarray:
    """`count` subjects by `shares`, borders between the splits rounded down."""
    return np.diff(np.floor(np.cumsum(shares)[:-1] * count + 1e-9), prepend=0, append=count)

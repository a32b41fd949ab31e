"""What is on record of simulated people: the date of their visit, and codes and dates of diagnoses and operations.

A heart is ill at its visit whatever the date of its diagnosis, which says when a hospital first wrote the disease down:
two in three have it on record before the visit, the others come to it afterwards. Dates and shares stand for no
measured ones; they let prevalent and incident disease be told apart.
"""

from __future__ import annotations

import numpy as np
import torch

from mmcl.simulation.random import uniform

CODES = {
    "CAD": ("I251", "I259", "I252", "I209", "I249"),
    "AF": ("I48", "I480", "I489"),
    "DM": ("E119", "E149", "E109"),
    "hypertension": ("I10",),
}
"""ICD-10 codes that a hospital record may hold for each disease, commonest first."""

DISEASE_OF = {code: name for name, codes in CODES.items() for code in codes}

FIRST_VISIT, LAST_VISIT = np.datetime64("2014-05-01"), np.datetime64("2020-03-13")
"""Imaging of UK Biobank from its beginning to its interruption."""

FIRST_RECORD, LAST_RECORD = np.datetime64("1997-01-01"), np.datetime64("2022-10-31")
"""Hospital records are followed between these days."""

KNOWN_BEFORE = 2 / 3
"""Share of diagnoses that are older than the visit."""


def draws(seed: int, subjects: np.ndarray, stream: str, count: int) -> np.ndarray:
    """Uniform numbers in (0, 1), (subjects, count), that belong to the subjects' indices in cohort `seed`."""
    return uniform(seed, torch.as_tensor(np.asarray(subjects, dtype=np.int64)), stream, count).numpy()


def pick(choices: tuple[str, ...], draw: float) -> str:
    """One of `choices` by a uniform number; squaring it makes the first the commonest."""
    return choices[int(draw**2 * len(choices))]


def between(first: np.datetime64, last: np.datetime64, share: np.ndarray) -> np.ndarray:
    """The days that lie `share` of the way from `first` to `last`; shapes broadcast."""
    return first + np.floor((last - first).astype(int) * share).astype("timedelta64[D]")


def visit_dates(seed: int, subjects: np.ndarray) -> np.ndarray:
    """Day of the imaging visit, datetime64[D] (subjects,)."""
    return between(FIRST_VISIT, LAST_VISIT, draws(seed, subjects, "date of visit", 1)[:, 0])


def diagnosis_dates(seed: int, subjects: np.ndarray) -> np.ndarray:
    """Day on which each of `CODES` is first on record, datetime64[D] (subjects, 4), whether the subject has it or not.

    None is the day of the visit itself.
    """
    visit = visit_dates(seed, subjects)[:, None]
    share = draws(seed, subjects, "date of diagnosis", 2 * len(CODES)).reshape(-1, len(CODES), 2)
    before = between(FIRST_RECORD, visit, share[..., 1])
    after = between(visit + 1, LAST_RECORD, share[..., 1])
    return np.where(share[..., 0] < KNOWN_BEFORE, before, after)

"""A preprocessed cohort on disk: memory-mapped arrays, a table of subjects, checksums and provenance.

A store is a folder of

| file | holds |
|---|---|
| `ecg.npy` | float16 (n, 12, record), z-scored, leads in the order of `mmcl.config.LEADS` |
| `cmr.npy` | uint8 (n, 3, crop, crop): end-systole, halfway, end-diastole; 255 is their 99th percentile |
| `frame.npy` | uint8 (n, 3, side, side): the whole frames of `cmr`, only where a preset evaluates on them |
| | (a byte a pixel; 5 GB for the published 40,000 subjects at 210 x 210) |
| `heart.npy` | uint8 (n, 3, crop, crop) segmentation labels of the same frames, where the cohort has them |
| `subjects.csv` | one row per entry of the arrays: subject, visit, split, flags, covariates, diseases, phenotypes |
| `quarantine.csv` | what was not used, and why |
| `store.json` | shapes, dtypes, SHA-256 of every other file, counts, provenance |

Nothing in it depends on the time of day, so equal input gives equal bytes. A cohort of one modality has a store without
the other's array.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.data.checksums import digest
from mmcl.data.quarantine import Rejection, read_quarantine
from mmcl.data.splits import SPLITS

FORMAT = "mmcl-store-1"
ARRAYS = {"ecg": 3, "cmr": 4, "heart": 4, "frame": 4}
"""Names of the arrays a store may hold, and their dimensions."""

SUBJECTS, QUARANTINE = "subjects.csv", "quarantine.csv"

_TEXT_COLUMNS = ("subject", "visit", "split", "flags")


@dataclass(frozen=True)
class Store:
    """An opened store; arrays are read-only memory maps, None where the cohort lacks them."""

    folder: Path
    ecg: np.ndarray | None
    cmr: np.ndarray | None
    labels: np.ndarray | None
    subjects: pd.DataFrame
    meta: dict
    frame: np.ndarray | None = None

    @classmethod
    def open(cls, folder: Path) -> Store:
        """Open `folder` after a cheap check of names, shapes and dtypes; `verify` checks every byte.

        Raises ValueError when the folder is missing, is no store, or disagrees with its own `store.json`.
        """
        folder = Path(folder)
        meta = _read_meta(folder)
        arrays = {name: _open_array(folder, name, entry, meta["rows"]) for name, entry in meta["arrays"].items()}
        subjects = _read_subjects(folder / SUBJECTS, meta["rows"])
        named = (arrays.get(name) for name in ("ecg", "cmr", "heart"))
        return cls(folder, *named, subjects, meta, arrays.get("frame"))

    def __len__(self) -> int:
        return self.meta["rows"]

    def indices(self, split: str, one_each: bool = False) -> np.ndarray:
        """Ascending int64 positions of a split's rows; `split` is train, validation or test.

        With `one_each` only the first row of every subject, where some have several visits or recordings: what is
        counted in an interval over subjects, and paired across modalities, has to be independent.
        """
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; expected one of {', '.join(SPLITS)}")
        chosen = self.subjects["split"].to_numpy() == split
        if one_each:
            chosen &= ~self.subjects["subject"].duplicated().to_numpy()
        return np.flatnonzero(chosen)

    def images(self, cropped: bool = True) -> np.ndarray:
        """What a CMR encoder sees downstream: `cmr`, the heart crops, or not `cropped` (preset `paper`) whole frames.

        ValueError when the store does not hold them.
        """
        name = "cmr" if cropped else "frame"
        array = getattr(self, name)
        if array is None:
            choice = "" if cropped else " (a store keeps whole frames only without the choice crop_in_evaluation)"
            raise ValueError(f"{self.folder}: holds no {name}.npy{choice}")
        return array

    def rejections(self) -> list[Rejection]:
        """What was left out, and why."""
        return read_quarantine(self.folder / QUARANTINE)

    def verify(self) -> None:
        """Compare the SHA-256 of every file with `store.json`; ValueError names the first that differs."""
        for name, expected in self.meta["checksums"].items():
            path = self.folder / name
            if not path.is_file():
                raise ValueError(f"{path}: missing from the store")
            if (found := digest(path)) != expected:
                raise ValueError(f"{path}: SHA-256 {found}, but the store was written with {expected}")


def _read_meta(folder: Path) -> dict:
    path = folder / "store.json"
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; expected a store (run the preprocessing first)")
    if not path.is_file():
        raise ValueError(f"{folder}: holds no store.json, so it is no store or one that was never finished")
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else type(meta).__name__
        raise ValueError(f"{path}: format {found!r}, expected {FORMAT!r}")
    missing = [key for key in ("rows", "arrays", "checksums", "counts", "provenance") if key not in meta]
    if missing or not set(meta["arrays"]) <= set(ARRAYS):
        raise ValueError(f"{path}: lacks {missing} or names unknown arrays {sorted(meta['arrays'])}")
    return meta


def _open_array(folder: Path, name: str, entry: dict, rows: int) -> np.ndarray:
    path = folder / f"{name}.npy"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: missing, truncated or no array ({error})") from error
    if list(array.shape) != entry["shape"] or array.dtype.name != entry["dtype"] or len(array) != rows:
        raise ValueError(f"{path}: {array.dtype.name} {array.shape}, store.json says {entry['dtype']} {entry['shape']}")
    return array


def _read_subjects(path: Path, rows: int) -> pd.DataFrame:
    if not path.is_file():
        raise ValueError(f"{path}: missing from the store")
    # Converters, unlike dtype, keep an identifier such as 0012 or NA and an empty flag as the text it is.
    subjects = pd.read_csv(path, converters={name: str for name in _TEXT_COLUMNS})
    if len(subjects) != rows:
        raise ValueError(f"{path}: {len(subjects)} rows, store.json says {rows}")
    absent = [name for name in _TEXT_COLUMNS if name not in subjects]
    if absent:
        raise ValueError(f"{path}: columns {absent} are missing")
    return subjects

"""Single recordings to show, before and after preprocessing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmcl.data.ecg_preprocessing import preprocess_ecg
from mmcl.data.readers import read_wfdb
from mmcl.data.signals import harmonise


def before_and_after(header: Path) -> tuple[np.ndarray, np.ndarray]:
    """A WFDB record in millivolt and preprocessed, both (12, 5000) at 500 Hz; `Unusable` says why it cannot be."""
    before = harmonise(read_wfdb(header, header.stem)).signal
    return before, preprocess_ecg(before[None])[0]


def first_header(folder: str | Path) -> Path | None:
    """The alphabetically first WFDB header under `folder`, None for no folder or none in it."""
    return min(Path(folder).rglob("*.hea"), default=None) if folder else None


def recordings(folder: str | Path, most: int = 12) -> list[tuple[str, np.ndarray]]:
    """Name and signal (12, 5000) mV, 500 Hz, of the first WFDB records under `folder`, `most` of them.

    `Unusable` says why one cannot be shown.
    """
    headers = sorted(Path(folder).rglob("*.hea"))[:most]
    return [(header.stem, harmonise(read_wfdb(header, header.stem)).signal) for header in headers]

"""What of a simulated heart no phenotype says: its scar and its electrical axis, beside the rows of a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.phenotypes import SEGMENTS

SCARS = tuple(f"scar_{k}" for k in SEGMENTS)
"""Columns of `truth.tsv`: depth of scar in each AHA segment, 0 to 1."""


def read_hearts(raw: Path, subjects: pd.Series) -> pd.DataFrame | None:
    """A row for each of `subjects`: `scar_1` to `scar_16`, their mean `scar`, the `axis` of QRS in degrees from -90 to
    270, and `number`, the subject's index in the simulated cohort.

    None where `raw` holds no `truth.tsv`, as of every cohort but the simulated one. ValueError names a subject that the
    file does not have.
    """
    path = raw / "truth.tsv"
    if not path.is_file():
        return None
    table = pd.read_csv(path, sep="\t", dtype={"eid": str}, index_col="eid")
    number = table.index.get_indexer(subjects)
    if (number < 0).any():
        raise ValueError(f"{path}: no subject {subjects.iloc[number.argmin()]}; expected those of the store")
    chosen = table.iloc[number].reset_index(drop=True)
    scars = chosen[list(SCARS)]
    return scars.assign(scar=scars.mean(axis=1), axis=unwrapped(chosen["axis"].to_numpy()), number=number)


def unwrapped(axis: np.ndarray) -> np.ndarray:
    """Electrical axes in degrees from -90 to 270, so that those to the right do not jump to -180."""
    return np.where(axis < -90, axis + 360, axis)

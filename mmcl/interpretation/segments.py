"""Predicted against true values of the 16 AHA segments: wall thickness, strain and scar, by linear probes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmcl.data.store import Store
from mmcl.evaluation.metrics import r2
from mmcl.interpretation.decodability import fit_on_store
from mmcl.interpretation.hearts import SCARS, read_hearts
from mmcl.phenotypes import SEGMENTS
from mmcl.setting import Setting
from mmcl.training.features import stored_features

MEASURES = {"Wall thickness": ("WT", "mm"), "Circumferential strain": ("Ecc", "%"), "Radial strain": ("Err", "%")}
"""Name -> prefix of the phenotypes' names, unit."""


@dataclass(frozen=True)
class Segments:
    """One measure of n test subjects: `true` and `predicted` (n, 16) in its `unit`, NaN where unknown."""

    name: str
    unit: str
    true: np.ndarray
    predicted: np.ndarray

    @property
    def r2(self) -> np.ndarray:
        """(16,) over the subjects; NaN where the truth is the same for all."""
        return r2(self.true, self.predicted)

    @property
    def error(self) -> np.ndarray:
        """Mean absolute error (n,) over the segments; NaN for a subject without any."""
        difference = np.abs(self.predicted - self.true)
        known = np.isfinite(difference)
        return np.divide(
            np.nansum(difference, axis=1), known.sum(axis=1), where=known.any(axis=1), out=_nans(self.true)
        )


def predict_segments(arm: str, setting: Setting, store: Store) -> list[Segments]:
    """Measures of the test subjects, predicted by probes on the frozen features of `arm`, and scar depth (simulated
    cohort alone). A measure that the cohort lacks is left out.
    """
    features, test = stored_features(arm, setting), store.indices("test", one_each=True)
    tables = {
        (name, unit): store.subjects.reindex(columns=[f"{prefix}_{k}" for k in SEGMENTS])
        for name, (prefix, unit) in MEASURES.items()
    }
    if (hearts := read_hearts(setting.run.raw, store.subjects["subject"])) is not None:
        tables["Scar depth", "share of wall"] = hearts[list(SCARS)]
    found = []
    for (name, unit), table in tables.items():
        if table.notna().to_numpy().any():
            predicted = fit_on_store(features, table, store).predict(features[test])
            found.append(Segments(name, unit, table.to_numpy(dtype=np.float64)[test], predicted))
    return found


def _nans(like: np.ndarray) -> np.ndarray:
    return np.full(len(like), np.nan)

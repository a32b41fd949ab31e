"""Subjects who withdraw their consent leave a store that exists, without anything being preprocessed again."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np

from mmcl.data.cohort import read_withdrawn
from mmcl.data.manifest import Manifest
from mmcl.data.pseudonyms import Pseudonyms
from mmcl.data.quality import count_flags
from mmcl.data.quarantine import Quarantine
from mmcl.data.store import SUBJECTS, Store
from mmcl.data.store_writer import StoreWriter

_log = logging.getLogger(__name__)

_BATCH = 256
"""Rows that are copied at once."""

DERIVED = ("features", "predictions", "embeddings.csv")
"""Products beside the store that hold rows of subjects; they are removed with them, and made again when asked for."""


def remove_withdrawn(store: Store, manifest: Manifest, raw: Path) -> Store:
    """The store without the subjects in the cohort's list of those who withdrew; itself where it holds none of them.

    Their rows leave its arrays, table and quarantine, and `DERIVED` products beside it are removed. Models that were
    trained with them stay, and a warning says so.
    """
    names = Pseudonyms(manifest)
    gone = {names.name(subject) for subject in read_withdrawn(manifest, raw)}
    rejections = Quarantine(store.rejections())
    rows = store.subjects["subject"].isin(gone).to_numpy()
    if not rows.any() and not any(rejection.subject in gone for rejection in rejections.rejections):
        return store
    arrays = {"ecg": store.ecg, "cmr": store.cmr, "heart": store.labels, "frame": store.frame}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    left = Quarantine([rejection for rejection in rejections.rejections if rejection.subject not in gone])
    staying = np.flatnonzero(~rows)
    shapes = {name: array.shape[1:] for name, array in arrays.items()}
    with StoreWriter(store.folder, shapes, store.meta["provenance"]) as writer:
        for start in range(0, len(staying), _BATCH):
            part = staying[start : start + _BATCH]
            rest = left.rejections if not start else []
            writer.append(store.subjects.iloc[part], rest, **{name: array[part] for name, array in arrays.items()})
        total = writer.rows + len(left)
        writer.counts = {
            **store.meta["counts"],
            "found": total,
            "used": writer.rows,
            "quarantined": left.counts(),
            **count_flags(writer.path(SUBJECTS)),
            "summary": left.summary(total),
            "withdrawn": store.meta["counts"].get("withdrawn", 0) + len(gone & set(store.subjects["subject"])),
        }
    for name in DERIVED:
        path = store.folder.parent / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    _log.warning(
        "%s: %d recordings of subjects who withdrew were removed; models trained with them are still in %s",
        *(store.folder, int(rows.sum()), store.folder.parent / "checkpoints"),
    )
    return Store.open(store.folder)

"""Writing a store, row by row, so that an interrupted run can go on and none that is not whole looks finished."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd

from mmcl.atomic import atomic_path
from mmcl.data.checksums import digest
from mmcl.data.quarantine import Rejection, header_line, line, read_quarantine
from mmcl.data.splits import check_disjoint
from mmcl.data.store import ARRAYS, FORMAT, QUARANTINE, SUBJECTS

_JOURNAL = "journal.json"


class StoreWriter:
    """Streams rows into a new store; nothing appears under the final name before everything is written.

    Use as a context manager. Rows go into a hidden sibling folder `.<name>.partial`, which becomes `folder` by a rename
    when the block ends well. `shapes` names the arrays and the shape of one row. Arrays are appended through files, not
    through a writable memory map: on a full disk a file raises an OSError, whereas a memory map kills the process. One
    process at a time may write to one store.

    Each `append` is on disk when it returns. With `made_from`, a fingerprint of all that decides what is written, a
    writer goes on where one of the same fingerprint was interrupted, even killed: `settled` says how many recordings
    were written or rejected by then, and what was written after the last whole `append` is cut off. Without it, an
    interrupted store is removed.
    """

    _DTYPES = {name: np.dtype("float16" if name == "ecg" else "uint8") for name in ARRAYS}

    def __init__(self, folder: Path, shapes: dict[str, tuple[int, ...]], provenance: dict, made_from: str = ""):
        unknown = sorted(set(shapes) - set(ARRAYS))
        if unknown or not shapes:
            raise ValueError(f"arrays {unknown}: expected at least one of {', '.join(ARRAYS)} and no other")
        self.folder = Path(folder)
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.provenance = provenance
        self.counts: dict[str, object] = {}
        self.rows = 0
        self.settled = 0
        self._made_from = made_from
        self._files: dict = {}
        self._partial = self.folder.with_name(f".{self.folder.name}.partial")

    def __enter__(self) -> StoreWriter:
        _refuse_foreign(self.folder)
        try:
            known = self._journal()
            if not known:
                shutil.rmtree(self._partial, ignore_errors=True)
                self._partial.mkdir(parents=True)
            for name in (*(f"{name}.npy" for name in self.shapes), SUBJECTS, QUARANTINE):
                path = self._partial / name
                self._files[name] = open(path, "r+b" if known else "w+b")
                if known:
                    self._files[name].truncate(known["bytes"][name])
                    self._files[name].seek(0, os.SEEK_END)
            if known:
                self.rows, self.settled = known["rows"], known["settled"]
            else:
                for name in self.shapes:
                    self._write_header(name)
                self._files[QUARANTINE].write(header_line().encode())
        except OSError as error:
            self._close()
            raise self._explained(error) from error
        return self

    def append(self, subjects: pd.DataFrame, rejections: Sequence[Rejection] = (), **arrays: np.ndarray) -> None:
        """Add rows: `subjects` (rows, columns) and, for each array of the store, (rows, *shape), cast to its dtype.

        `rejections` are what was left out meanwhile. Columns are those of the first rows.
        """
        if set(arrays) != set(self.shapes):
            raise ValueError(f"arrays {sorted(arrays)}: this store holds {sorted(self.shapes)}")
        for name, array in arrays.items():
            if array.shape != (len(subjects), *self.shapes[name]):
                raise ValueError(f"{name}: shape {array.shape}, expected {(len(subjects), *self.shapes[name])}")
            if self._DTYPES[name].kind == "f" and not np.isfinite(array).all():
                raise ValueError(f"{name}: values that are not finite, subjects {list(subjects['subject'])[:5]} ...")
        try:
            for name, array in arrays.items():
                self._files[f"{name}.npy"].write(np.ascontiguousarray(array, dtype=self._DTYPES[name]).data)
            if len(subjects):
                text = subjects.to_csv(index=False, header=self.rows == 0, lineterminator="\n")
                self._files[SUBJECTS].write(text.encode())
            self._files[QUARANTINE].write("".join(map(line, rejections)).encode())
            self.rows += len(subjects)
            self.settled += len(subjects) + len(rejections)
            self._commit()
        except OSError as error:
            raise self._explained(error) from error

    def path(self, name: str) -> Path:
        """A file of the store, before the block ends."""
        return self._partial / name

    def rejections(self) -> list[Rejection]:
        """Everything that was left out so far, by an interrupted run too."""
        return read_quarantine(self.path(QUARANTINE))

    def discard(self) -> None:
        """Keep nothing of what was written, whatever ends the block."""
        self._made_from = ""

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self._finish()
        except OSError as failure:
            raise self._explained(failure) from failure
        finally:
            self._close()

    def _journal(self) -> dict | None:
        """What the journal of an interrupted run with the same fingerprint says; None where there is none."""
        path = self._partial / _JOURNAL
        if not self._made_from or not path.is_file():
            return None
        known = json.loads(path.read_text(encoding="utf-8"))
        sizes = known["bytes"]
        whole = all((self._partial / name).is_file() for name in sizes)
        if known["made_from"] != self._made_from or not whole:
            return None
        return known if all((self._partial / name).stat().st_size >= size for name, size in sizes.items()) else None

    def _commit(self) -> None:
        """Bring all files to the disk, then the journal that counts them in."""
        if not self._made_from:
            return
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        sizes = {name: file.tell() for name, file in self._files.items()}
        known = {"made_from": self._made_from, "rows": self.rows, "settled": self.settled, "bytes": sizes}
        with atomic_path(self._partial / _JOURNAL) as part:
            part.write_text(json.dumps(known), encoding="utf-8")

    def _finish(self) -> None:
        if not self.rows:
            self.discard()
            raise ValueError(f"{self.folder}: no subject is left, nothing to store; see the reasons in the quarantine")
        for name in self.shapes:
            self._write_header(name)
        for file in self._files.values():
            file.close()
        subjects = pd.read_csv(self._partial / SUBJECTS, usecols=["subject", "split"], dtype=str, keep_default_na=False)
        check_disjoint(subjects["subject"], subjects["split"])
        (self._partial / _JOURNAL).unlink(missing_ok=True)
        meta = {
            "format": FORMAT,
            "rows": self.rows,
            "arrays": {
                name: {"shape": [self.rows, *shape], "dtype": self._DTYPES[name].name}
                for name, shape in self.shapes.items()
            },
            "checksums": {path.name: digest(path) for path in sorted(self._partial.iterdir())},
            "counts": self.counts,
            "provenance": self.provenance,
        }
        (self._partial / "store.json").write_text(json.dumps(meta, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        # A rename onto a full folder is refused by the operating system, so an older store steps aside first.
        old = self.folder.with_name(f".{self.folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(old)
        self._partial.rename(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def _write_header(self, name: str) -> None:
        """Header with the rows so far; numpy leaves room in it for the first axis to grow in place."""
        file = self._files[f"{name}.npy"]
        file.seek(0)
        description = np.lib.format.dtype_to_descr(self._DTYPES[name])
        shape = (self.rows, *self.shapes[name])
        np.lib.format.write_array_header_1_0(file, {"descr": description, "fortran_order": False, "shape": shape})

    def _close(self) -> None:
        """Close all files; what a later run cannot go on from is removed."""
        for file in self._files.values():
            try:
                file.close()
            except OSError:
                pass  # closing flushes, which fails again on a full disk; what the journal counts is on disk already
        if not self._resumable():
            shutil.rmtree(self._partial, ignore_errors=True)

    def _resumable(self) -> bool:
        return bool(self._made_from) and (self._partial / _JOURNAL).is_file()

    def _explained(self, error: OSError) -> OSError:
        """The system's reason (a full disk, a missing right), with the store's name and what became of it."""
        rest = "run again to go on" if self._resumable() else "its temporary files are removed"
        return OSError(error.errno, f"{error.strerror}: the store {self.folder} was not written, {rest}")


def _refuse_foreign(folder: Path) -> None:
    """A store may replace a store or an empty folder, never something else."""
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "store.json").is_file():
        raise ValueError(f"{folder}: holds files that are no store; refusing to replace it")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: a file is in the way of the store")

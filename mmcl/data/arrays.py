"""All ECGs of a cohort in one array (subjects, 12, 5000), as published code takes them: `.npy`, `.npz` or `.pt`.

Millivolt, 500 Hz, leads in the order of `mmcl.config.LEADS`, floating point. Which row is whose is said by the
participants table: by its column `row`, counted from 0, else by the order of its rows, which are then as many as the
array's. Arrays are memory-mapped, so that a reader holds one subject; a pickled object is refused, never loaded.
"""

from __future__ import annotations

import functools
import pickle
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmcl.config import LEADS, RAW_SAMPLING_RATE, RECORD_SECONDS
from mmcl.data.quarantine import reject
from mmcl.data.signals import Recording

SUFFIXES = (".npy", ".npz", ".pt")
NAME = "ecg"
"""The array's name in an `.npz` of several."""

_SHAPE = (len(LEADS), RAW_SAMPLING_RATE * RECORD_SECONDS)
_DAMAGED = Exception
"""What numpy, zipfile and torch raise for damaged files has no common kind."""

_DIRECTORY = 64 << 20
"""Bytes of what a `.pt` says of its tensors."""

_EXPANSION = 100
"""Bytes of an array per compressed byte; ECGs come to no more than ten."""


def read_array(path: Path, row: int | None, subject: str) -> Recording:
    """Row `row` of the array in `path`; `Unusable` for a file or array of another form, or without that row."""
    path = Path(path)
    rows = _rows(path, subject)
    if row is None or not 0 <= row < len(rows):
        raise reject(path, subject, "no such row", "none" if row is None else row, f"0 to {len(rows) - 1}")
    signal = rows[row]
    if not isinstance(signal, np.ndarray):
        # A list of tensors, one a subject, is a published form too; bfloat16 is no type of numpy's.
        found = f"{tuple(signal.shape)} {signal.dtype}"
        if tuple(signal.shape) != _SHAPE or not signal.is_floating_point() or str(signal.layout) != "torch.strided":
            raise reject(path, subject, "wrong shape", found, f"{_SHAPE} real")
        signal = signal.detach().float().numpy()
    return Recording(np.array(signal), LEADS, ("mV",) * len(LEADS), RAW_SAMPLING_RATE, subject, f"{path}[{row}]")


def count_rows(path: Path) -> int:
    """How many subjects the array in `path` holds; `Unusable` as in `read_array`."""
    return len(_rows(Path(path), "all"))


def _rows(path: Path, subject: str) -> Sequence:
    if not path.is_file():
        raise reject(path, subject, f"missing {path.suffix or 'file'}", "no file", "a file of this name")
    if path.suffix not in SUFFIXES:
        raise reject(path, subject, "unknown kind of array", path.suffix or "none", ", ".join(SUFFIXES))
    state = path.stat()
    try:
        rows = _open(path, state.st_size, state.st_mtime_ns)
    except pickle.UnpicklingError as error:
        raise reject(path, subject, "pickled objects", "code could run", "numbers only") from error
    except _DAMAGED as error:
        found = str(error).partition("\n")[0][:200] or type(error).__name__
        raise reject(path, subject, "unreadable array", found, "real numbers (subjects, 12, 5000)") from error
    return rows


@functools.lru_cache(maxsize=4)
def _open(path: Path, size: int, changed: int) -> Sequence:
    """The rows of an array, opened once in a process; `size` and time tell a file that was replaced from the old."""
    if path.suffix == ".pt":
        return _open_tensor(path)
    if path.suffix == ".npz":
        return _open_archive(path)
    with open(path, "rb") as file:
        _check(*_read_header(file))
    return np.lib.format.open_memmap(path, mode="r")


def _open_tensor(path: Path) -> Sequence:
    import torch

    with zipfile.ZipFile(path) as archive:
        # torch stores its members as they are; the directory of tensors is the only one that it reads whole.
        for item in archive.infolist():
            if item.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"compressed member {item.filename[:50]}")
            if item.filename.endswith("/data.pkl") and item.file_size > _DIRECTORY:
                raise ValueError(f"{item.file_size} bytes in data.pkl")
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if isinstance(content, (list, tuple)) and content and all(torch.is_tensor(item) for item in content):
        return content
    if not torch.is_tensor(content):
        raise ValueError(f"{type(content).__name__}, expected a tensor or a list of tensors")
    if content.dim() != 3 or tuple(content.shape[1:]) != _SHAPE or not content.is_floating_point():
        raise ValueError(f"shape {tuple(content.shape)}, {content.dtype}")
    return content


def _open_archive(path: Path) -> np.ndarray:
    """The array of an `.npz`. Unpacked into an unnamed file on disk, since a member cannot be mapped in its place."""
    with zipfile.ZipFile(path) as archive:
        members = {item.filename: item for item in archive.infolist()}
        name = f"{NAME}.npy" if f"{NAME}.npy" in members else next(iter(members), "")
        if name != f"{NAME}.npy" and len(members) != 1:
            raise ValueError(f"{len(members)} arrays, none of them {NAME!r}")
        if members[name].file_size > _EXPANSION * max(members[name].compress_size, 1):
            raise ValueError(f"{members[name].file_size} bytes from {members[name].compress_size}")
        with archive.open(name) as member:
            shape, order, kind = _read_header(member)
            _check(shape, order, kind)
            wanted = int(np.prod(shape, dtype=object)) * kind.itemsize
            if wanted > members[name].file_size:
                raise ValueError(f"shape {shape}, but {members[name].file_size} bytes")
            with tempfile.TemporaryFile() as file:
                left = wanted
                while left and (piece := member.read(min(left, 1 << 20))):
                    file.write(piece)
                    left -= len(piece)
                if left:
                    raise ValueError(f"{left} bytes missing")
                file.flush()
                # The mapping outlives the file's name and this handle of it.
                return np.memmap(file, kind, "r", 0, shape, "F" if order else "C")


def _read_header(member: object) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(member)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the format")
    return read(member)


def _check(shape: tuple[int, ...], order: bool, kind: np.dtype) -> None:
    if kind.hasobject:
        raise pickle.UnpicklingError("an array of objects")
    if shape[1:] != _SHAPE or shape[0] < 1 or kind.kind != "f":
        raise ValueError(f"shape {shape}, {kind}")

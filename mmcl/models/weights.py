"""Read weight files that nobody vouches for: tensors come out, and no code of the file ever runs.

safetensors files hold nothing but tensors. Files of `torch.save` are pickles, which may name any function to be called;
here every name but those that tensors are made of becomes an inert object, so that the options, paths and
configurations which training code saves beside its weights are passed over instead of being executed or refused.
"""

from __future__ import annotations

import collections
import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

MOST_ENTRIES = 100_000
"""Entries of a file's dictionaries; dictionaries that hold each other many times over would never end."""
MOST_COPIES = 8
"""Bytes of tensors per byte of their file; many tensors may share a storage, but not to fill the memory."""

EXPECTED = "a safetensors file or a file of torch.save with the weights of an encoder"

_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All named tensors of a weight file, on the CPU, and the file's metadata.

    Nested dictionaries are flattened, their keys joined by dots. Metadata are those of safetensors, or the strings and
    numbers of the dictionary `mmcl` in a checkpoint of this project. ValueError says what was expected and what was
    found when the file is wrong, truncated or holds no tensor; FileNotFoundError when there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {EXPECTED}")
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
    try:
        if zipfile.is_zipfile(path):
            content = _read_zip(path)
            tensors, metadata = _flattened(content), _facts(content)
        elif start[8:9] == b"{" and int.from_bytes(start[:8], "little") < size:
            tensors, metadata = _read_safetensors(path)
        else:
            tensors, metadata = _flattened(torch.load(path, map_location="cpu", weights_only=True)), {}
    except ValueError as error:
        raise ValueError(f"{path}: {error}; expected {EXPECTED}") from error
    except Exception as error:
        # Damaged files fail in many ways (zlib, pickle, JSON, memory); to the caller they are one.
        kind = (
            "a pickle of torch.save's old format with more than tensors in it, or damaged: "
            if start[:1] == b"\x80"
            else ""
        )
        found = f"{kind}{size} bytes that begin {start[:8]!r} and cannot be read ({type(error).__name__})"
        raise ValueError(f"{path}: {found}; expected {EXPECTED}") from error
    if not tensors:
        raise ValueError(f"{path}: holds no tensor; expected {EXPECTED}")
    return tensors, metadata


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import safe_open

    with safe_open(path, framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})


def _read_zip(path: Path) -> object:
    """The object saved by `torch.save`, with inert objects in place of all that is neither tensor nor plain data."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"a zip archive of {len(names)} files without one data.pkl")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("a compressed zip archive, which torch.save does not write")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("big-endian numbers")
        with archive.open(pickles[0]) as file:
            return _TensorUnpickler(file, archive, folder).load()


class _Inert:
    """Stands for an object of the file that is not a tensor: takes anything, does nothing."""

    def __new__(cls, *_, **__):
        return super().__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __call__(self, *_, **__):
        return self

    def __setitem__(self, *_):
        pass

    def __setstate__(self, _):
        pass

    append = extend = add = __call__


class _StorageType:
    def __init__(self, dtype: torch.dtype):
        self.dtype = dtype


class _TensorUnpickler(pickle.Unpickler):
    """Unpickler that knows no function but those that put tensors together, all of them defined here."""

    def __init__(self, file, archive: zipfile.ZipFile, folder: str):
        super().__init__(file, encoding="utf-8")
        self._archive, self._folder = archive, folder
        self._storages: dict[str, torch.Tensor] = {}
        self._left = MOST_COPIES * sum(entry.file_size for entry in archive.infolist())

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return self._rebuild_tensor
        if (module, name) in (
            ("torch._utils", "_rebuild_parameter"),
            ("torch._utils", "_rebuild_parameter_with_state"),
        ):
            return _rebuild_parameter
        if module == "torch" and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        return _Inert

    def persistent_load(self, identifier: tuple) -> torch.Tensor:
        kind, storage, key, _, count = identifier
        if kind != "storage" or not isinstance(storage, _StorageType):
            raise ValueError(f"a storage of unknown kind {kind!r}")
        if key in self._storages and self._storages[key].dtype == storage.dtype:
            return self._storages[key]
        data = bytearray(self._archive.read(f"{self._folder}data/{key}"))
        size = storage.dtype.itemsize
        if len(data) != size * count:
            raise ValueError(f"storage {key} of {len(data)} bytes where {size * count} are declared")
        self._storages[key] = (
            torch.frombuffer(data, dtype=storage.dtype) if data else torch.empty(0, dtype=storage.dtype)
        )
        return self._storages[key]

    def _rebuild_tensor(self, storage: torch.Tensor, offset: int, size: tuple, stride: tuple, *_) -> torch.Tensor:
        tensor = _rebuild_tensor(storage, offset, size, stride)
        self._left -= tensor.nbytes
        if self._left < 0:
            raise ValueError(f"tensors of more than {MOST_COPIES} times the size of their file")
        return tensor


def _rebuild_tensor(storage: torch.Tensor, offset: int, size: tuple, stride: tuple) -> torch.Tensor:
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = math.prod(size)
    # Steps of 0 would let a few bytes ask for any amount of memory.
    if min((offset, *size, *stride)) < 0 or count > len(storage) or (count and last >= len(storage)):
        raise ValueError(f"a tensor of shape {tuple(size)} that reaches beyond its storage of {len(storage)} numbers")
    return storage.as_strided(size, stride, offset).clone()


def _rebuild_parameter(tensor: torch.Tensor, *_) -> torch.Tensor:
    return tensor


def _flattened(content: object) -> dict[str, torch.Tensor]:
    """Tensors in `content` and in the dictionaries in it, by their keys joined by dots."""
    found: dict[str, torch.Tensor] = {}
    waiting, entries = [("", content)], 0
    while waiting:
        prefix, value = waiting.pop()
        if torch.is_tensor(value):
            found[prefix.removesuffix(".")] = value
        elif isinstance(value, Mapping):
            entries += len(value)
            if entries > MOST_ENTRIES:
                raise ValueError(f"dictionaries of more than {MOST_ENTRIES:,} entries")
            items = [(f"{prefix}{key}.", inner) for key, inner in value.items() if isinstance(key, str)]
            waiting += reversed(items)
    return found


def _facts(content: object) -> dict[str, str]:
    facts = content.get("mmcl") if isinstance(content, Mapping) else None
    facts = facts if isinstance(facts, Mapping) else {}
    return {name: str(value) for name, value in facts.items() if isinstance(name, str) and type(value) in (str, int)}

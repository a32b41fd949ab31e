"""NIfTI volumes from outside: judged by their header before anything is unpacked, seen as the scanner shows them.

A file is stored in whatever order of axes its maker chose. The slice axis is the third, unless the spacing along
another is by far the largest. Where the affine tells how the patient lay, images are turned to the view from the apex
(`mmcl.data.orientation`) and slices run from base to apex, so that a DICOM study and its conversion become the same
images; without, x are columns and y rows, as in the published code, and slices count as stored.
"""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmcl.data.orientation import AS_STORED, directions, runs_to_base, turn, way_to_turn
from mmcl.data.quarantine import Unusable, reject

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

MOST_VOXELS = 2**27
"""Of a file; 12 slices of 50 frames of 210 x 208 have a fifth of it, 15 of 30 frames of 512 x 512 nearly all."""

MOST_BYTES = 2**29
"""Of the array in memory, as stored or, where it is rescaled, as single precision."""

_BEFORE_DATA = 2**20
"""Bytes; header extensions are read whole, and a file's own word is all that bounds them."""

_SLICES_APART = 1.5
"""Times the other spacings, above which an axis is that of the slices."""

_DAMAGED = Exception
"""What nibabel and gzip raise for damaged files has no common kind."""


@dataclass(frozen=True)
class View:
    """How a stored volume is seen: its slice axis, whether slices run backwards, how images are turned."""

    slices: int = 2
    reverse: bool = False
    turned: tuple[bool, bool, bool] = AS_STORED

    @property
    def flags(self) -> tuple[str, ...]:
        return () if self == View() else ("orientation:turned",)


@dataclass(frozen=True)
class Volume:
    """`array` (x, y, slice) or (x, y, slice, time) as stored; `spacing` mm along its first three axes.

    `view` is how the file says that it is to be seen; `told` whether it says so, by an affine with a patient in it.
    """

    array: np.ndarray
    spacing: tuple[float, ...]
    view: View
    told: bool

    def stored(self) -> np.ndarray:
        """(slices, [frames,] rows, columns) in the file's own order."""
        return _arrange(self.array, View())

    def seen(self, view: View) -> np.ndarray:
        """(slices, [frames,] rows, columns), by `view` unless the file has one of its own."""
        return _arrange(self.array, self.view if self.told else view)

    def spacing_seen(self) -> tuple[float, float]:
        """Millimetres a row and a column, as seen."""
        x, y = (size for axis, size in enumerate(self.spacing) if axis != self.view.slices)
        return (x, y) if self.view.turned[0] else (y, x)


def load_volume(path: Path, subject: str, dimensions: int) -> Volume:
    """The volume in `path` with its `dimensions`, 3 or 4; single axes beyond them are dropped. `Unusable` else.

    Stored numbers are scaled as the header says. Colour and complex numbers are refused, and so is a file whose header
    promises more than `MOST_VOXELS` or `MOST_BYTES`, or extensions of more than a megabyte, whatever it weighs packed.
    """
    import nibabel

    path = Path(path)
    if not path.is_file():
        raise reject(path, subject, f"missing {path.suffix or 'file'}", "no file", "a file of this name")
    try:
        header = _read_header(path)
        _check(header, path, subject)
        image = nibabel.load(path)
        shape = _without_single_axes(image.shape, dimensions)
        proxy = image.dataobj
        # Numbers that the header scales come in single precision, not in double; nibabel's own copy of the header has
        # forgotten the scale.
        array = np.asarray(proxy, dtype=np.float32) if _is_scaled(header) else proxy.get_unscaled()
        array = array.reshape(shape, order="A")
        spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
        told = bool(header["sform_code"] > 0 or header["qform_code"] > 0)
        axes = directions(image.affine) if told else None
    except Unusable:
        raise
    except _DAMAGED as error:
        found = str(error).partition("\n")[0][:200] or type(error).__name__
        raise reject(path, subject, "unreadable image", found, "a whole NIfTI file") from error
    if array.ndim != dimensions:
        raise reject(path, subject, "wrong shape", array.shape, f"{dimensions} dimensions")
    return Volume(array, spacing, _view(axes, spacing), axes is not None)


def load_labels(path: Path, subject: str, dimensions: int) -> Volume:
    """A segmentation as `load_volume` has it, labels uint8 whatever number type holds them; `Unusable` for others."""
    volume = load_volume(path, subject, dimensions)
    labels = volume.array
    low, high = (float(value) for value in (labels.min(initial=0), labels.max(initial=0)))
    if not 0 <= low <= high <= 255:
        raise reject(path, subject, "no labels", f"{low:g} to {high:g}", "whole numbers from 0 to 255")
    whole = labels.astype(np.uint8)
    if labels.dtype.kind == "f" and not (whole == labels).all():
        raise reject(path, subject, "no labels", "fractions", "whole numbers from 0 to 255")
    return Volume(whole, volume.spacing, volume.view, volume.told)


def _read_header(path: Path) -> Nifti1Header:
    """The header alone, from the first bytes of the file, before nibabel follows what it says."""
    import nibabel

    packed = path.name.lower().endswith(".gz")
    with gzip.open(path, "rb") if packed else open(path, "rb") as file:
        head = file.read(540)
    first = int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
    kind, size = (nibabel.Nifti2Header, 540) if 540 in first else (nibabel.Nifti1Header, 348)
    if not set(first) & {348, 540} or len(head) < size:
        raise ValueError("no NIfTI header")
    return kind(head[:size], check=False)


def _check(header: Nifti1Header, path: Path, subject: str) -> None:
    """Refuse what a file promises beyond the bounds."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise reject(path, subject, "unreadable image", path.name[-20:], "a name that ends in .nii or .nii.gz")
    kind = header.get_data_dtype()
    if kind.kind not in "iuf" or kind.itemsize > 8:
        raise reject(path, subject, "unknown pixels", kind, "integers or real numbers of up to 64 bits")
    voxels = math.prod(header.get_data_shape())
    size = voxels * (max(kind.itemsize, 4) if _is_scaled(header) else kind.itemsize)
    if not 0 < voxels <= MOST_VOXELS or size > MOST_BYTES:
        expected = f"1 to {MOST_VOXELS} voxels, at most {MOST_BYTES} bytes"
        raise reject(path, subject, "absurd image size", f"{voxels} voxels, {size} bytes", expected)
    offset = float(header["vox_offset"])
    if not 0 <= offset <= _BEFORE_DATA:
        found = f"{offset:g} bytes before the image"
        raise reject(path, subject, "absurd image size", found, f"at most {_BEFORE_DATA}")


def _is_scaled(header: Nifti1Header) -> bool:
    """Whether the header has a scale other than 1 and 0; a slope of 0 or NaN means none."""
    return header.get_slope_inter() not in ((None, None), (1.0, 0.0))


def _without_single_axes(shape: tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    """`shape` without axes of one element beyond the third, as many as are too many."""
    kept = list(shape)
    for axis in reversed(range(3, len(shape))):
        if len(kept) > dimensions and kept[axis] == 1:
            kept.pop(axis)
    return tuple(kept)


def _view(axes: np.ndarray | None, spacing: tuple[float, ...]) -> View:
    widest = int(np.argmax(spacing))
    others = [size for axis, size in enumerate(spacing) if axis != widest]
    slices = widest if spacing[widest] > _SLICES_APART * max(others) else 2
    if axes is None:
        return View(slices)
    first, second = (axis for axis in range(3) if axis != slices)
    return View(slices, runs_to_base(axes[slices]), way_to_turn((*axes[first], *axes[second])))


def _arrange(array: np.ndarray, view: View) -> np.ndarray:
    array = np.moveaxis(array, view.slices, 2)
    array = array.transpose((2, 3, 1, 0) if array.ndim == 4 else (2, 1, 0))
    return turn(array[::-1] if view.reverse else array, *view.turned)

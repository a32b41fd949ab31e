"""Readers of raw files: an ECG becomes a `Recording`, a short-axis study a `Cine`. Nothing is corrected here.

Files are not trusted: whatever is wrong with one ends in `Unusable`, which names it.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from mmcl.data.arrays import read_array
from mmcl.data.cardiosoft import read_cardiosoft
from mmcl.data.cmr_preprocessing import Cine
from mmcl.data.quarantine import Unusable, reject
from mmcl.data.signals import Recording

MOST_VOXELS = 2**28
"""Of a NIfTI file, judged before it is unpacked; 12 slices of 50 frames of 210 x 208 have a tenth of it."""

MOST_SAMPLES = 2**25
"""Of a WFDB record, all signals together; 12 leads of 10 s at 500 Hz are a five-hundredth of it."""


def read_ecg(reader: str, path: Path, subject: str, row: int | None = None) -> Recording:
    """The ECG in `path` by the manifest's `reader`; `row` is its place where one array holds a whole cohort."""
    if reader == "array":
        return read_array(path, row, subject)
    return {"wfdb": read_wfdb, "cardiosoft": read_cardiosoft}[reader](path, subject)


def read_wfdb(path: Path, subject: str) -> Recording:
    """WFDB record from its header `path` (.hea) and the signal files beside it (.dat, or MATLAB v4 .mat).

    Missing samples, which WFDB marks with the lowest integer, become NaN, and so do the gaps and absent leads of a
    record of several segments.
    """
    import wfdb

    _require(path, subject)
    stem = str(path.with_suffix(""))
    try:
        _check_wfdb(path, subject)
        header = wfdb.rdheader(stem)
        # Gaps between segments cost no bytes in a file, and all of them in memory.
        size = (header.n_sig or 0) * (header.sig_len or 0)
        if size > MOST_SAMPLES:
            raise reject(path, subject, "too many samples", size, f"at most {MOST_SAMPLES}")
        record = wfdb.rdrecord(stem)
    except Unusable:
        raise
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise reject(path, subject, "unreadable ECG", error, "a whole WFDB record") from error
    if record.p_signal is None:
        raise reject(path, subject, "unreadable ECG", "no signals", "a whole WFDB record")
    names, units = tuple(record.sig_name), tuple(record.units)
    return Recording(record.p_signal.T, names, units, record.fs, subject, str(path))


def read_nifti(path: Path, subject: str, segmentation: Path | None = None) -> Cine:
    """Cine from a NIfTI volume (x, y, slice, time), and its labels from `segmentation` of the same shape."""
    images, spacing = _load_nifti(path, subject, dimensions=4)
    labels = None if segmentation is None else _load_nifti(segmentation, subject, dimensions=4)[0]
    order = (2, 3, 1, 0)
    return Cine(
        images.transpose(order), None if labels is None else labels.transpose(order), spacing, subject, str(path)
    )


def read_nifti_pair(ed: Path, es: Path, subject: str, segmentations: tuple[Path, Path] | None = None) -> Cine:
    """Two-frame cine from end-diastolic and end-systolic NIfTI volumes (x, y, slice), labels from two more."""

    def pair(first: Path, second: Path) -> tuple[np.ndarray, tuple[float, float]]:
        one, spacing = _load_nifti(first, subject, dimensions=3)
        two, _ = _load_nifti(second, subject, dimensions=3)
        if one.shape != two.shape:
            raise reject(second, subject, "ED and ES differ in shape", two.shape, f"{one.shape} as in {first.name}")
        return np.stack([one, two]).transpose(3, 0, 2, 1), spacing

    images, spacing = pair(ed, es)
    labels = None if segmentations is None else pair(*segmentations)[0]
    return Cine(images, labels, spacing, subject, str(ed))


def _check_wfdb(header: Path, subject: str, segment: bool = False) -> None:
    """Raise `Unusable` unless every file that a header names, or the headers of its segments, lies beside it.

    Files are the first words of the lines after the record line, comments begin with #. A record of several segments
    is named `<record>/<number>`, and its lines name segments; ~ stands for a gap, or for a signal without a file.
    """
    lines = [line.split() for line in header.read_text(encoding="utf-8", errors="replace").splitlines()]
    record, *lines = [words for words in lines if words and not words[0].startswith("#")] or [[""]]
    several = "/" in record[0]
    if several and segment:
        raise reject(header, subject, "unreadable ECG", record[0], "a segment without segments")
    for name in sorted({words[0] for words in lines} - {"~"}):
        # A header may name any path; only files beside it are read.
        if Path(name).name != name:
            raise reject(header, subject, "signal file elsewhere", name, "a file beside the header")
        _require(header.with_name(f"{name}.hea" if several else name), subject)
        if several:
            _check_wfdb(header.with_name(f"{name}.hea"), subject, segment=True)


def _load_nifti(path: Path, subject: str, dimensions: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Array in the file's own axes and type, and its spacing in millimetres per row (y) and column (x)."""
    import nibabel

    _require(path, subject)
    try:
        image = nibabel.load(path)
        if (voxels := math.prod(image.shape)) > MOST_VOXELS:
            raise reject(path, subject, "absurd image size", f"{voxels} voxels", f"at most {MOST_VOXELS}")
        array = np.asanyarray(image.dataobj)
        spacing = tuple(float(size) for size in image.header.get_zooms()[1::-1])
    except Unusable:
        raise
    except (
        OSError,
        EOFError,
        ValueError,
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
    ) as error:
        raise reject(path, subject, "unreadable image", error, "a whole NIfTI file") from error
    if array.ndim != dimensions:
        raise reject(path, subject, "wrong shape", array.shape, f"{dimensions} dimensions")
    return array, spacing


def _require(path: Path, subject: str) -> None:
    if not path.is_file():
        raise reject(path, subject, f"missing {path.suffix or 'file'}", "no file", "a file of this name")

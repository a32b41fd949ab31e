"""Readers of raw files: an ECG becomes a `Recording`, a short-axis study a `Cine`.

Nothing is corrected here, but images are turned to one view where their file says how they lie.

Files are not trusted: whatever is wrong with one ends in `Unusable`, which names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmcl.data.arrays import read_array
from mmcl.data.cardiosoft import read_cardiosoft
from mmcl.data.cmr_preprocessing import Cine
from mmcl.data.nifti import Volume, load_labels, load_volume
from mmcl.data.quarantine import Unusable, reject
from mmcl.data.signals import Recording

MOST_SAMPLES = 2**23
"""Of a WFDB record, all signals together; 12 leads of 10 s at 500 Hz are a hundredth of it."""

_HEADER_BYTES = 2**18
_COMPRESSED = {"508", "516", "524"}
"""Formats of WFDB that hold FLAC, which unpacks without a bound."""

_MOST_A_FRAME = 16
"""Samples of a signal that share one place of the record's time; an ECG has one, or a few."""

_DAMAGED = Exception
"""What wfdb raises for damaged files has no common kind."""


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
        a_frame = getattr(header, "samps_per_frame", None) or [1] * (header.n_sig or 0)
        size = sum(a_frame) * (header.sig_len or 0)
        if size > MOST_SAMPLES:
            raise reject(path, subject, "too many samples", size, f"at most {MOST_SAMPLES}")
        record = wfdb.rdrecord(stem)
    except Unusable:
        raise
    except _DAMAGED as error:
        found = str(error).partition("\n")[0][:200] or type(error).__name__
        raise reject(path, subject, "unreadable ECG", found, "a whole WFDB record") from error
    if record.p_signal is None:
        raise reject(path, subject, "unreadable ECG", "no signals", "a whole WFDB record")
    names, units = tuple(record.sig_name), tuple(record.units)
    return Recording(record.p_signal.T, names, units, record.fs, subject, str(path))


def read_nifti(path: Path, subject: str, segmentation: Path | None = None) -> Cine:
    """Cine from a NIfTI volume (x, y, slice, time), and its labels from `segmentation` of the same shape.

    Both are turned as their affines say (`mmcl.data.nifti`), labels without geometry as the images.
    """
    volume = load_volume(path, subject, dimensions=4)
    labels = None if segmentation is None else load_labels(segmentation, subject, dimensions=4).seen(volume.view)
    images = volume.seen(volume.view)
    return Cine(images, labels, volume.spacing_seen(), subject, str(path), flags=volume.view.flags)


def read_nifti_pair(ed: Path, es: Path, subject: str, segmentations: tuple[Path, Path] | None = None) -> Cine:
    """Two-frame cine from end-diastolic and end-systolic NIfTI volumes (x, y, slice), labels from two more."""
    volume = load_volume(ed, subject, dimensions=3)

    def pair(first: Volume, other: Path, load: Callable[..., Volume]) -> np.ndarray:
        one, two = (each.seen(volume.view) for each in (first, load(other, subject, dimensions=3)))
        if one.shape != two.shape:
            raise reject(other, subject, "ED and ES differ in shape", two.shape, f"{one.shape} as in the other")
        return np.stack([one, two], axis=1)

    images, labels = pair(volume, es, load_volume), None
    if segmentations is not None:
        labels = pair(load_labels(segmentations[0], subject, dimensions=3), segmentations[1], load_labels)
    return Cine(images, labels, volume.spacing_seen(), subject, str(ed), flags=volume.view.flags)


def _check_wfdb(header: Path, subject: str, segment: bool = False) -> None:
    """Raise `Unusable` unless every file that a header names, or the headers of its segments, lies beside it.

    Files are the first words of the lines after the record line, comments begin with #. A record of several segments
    is named `<record>/<number>`, and its lines name segments; ~ stands for a gap, or for a signal without a file.
    """
    if (size := header.stat().st_size) > _HEADER_BYTES:
        raise reject(header, subject, "unreadable ECG", f"{size} bytes", f"a header of at most {_HEADER_BYTES}")
    lines = [line.split() for line in header.read_text(encoding="utf-8", errors="replace").splitlines()]
    record, *lines = [words for words in lines if words and not words[0].startswith("#")] or [[""]]
    several = "/" in record[0]
    for words in [] if several else lines:
        form = re.match(r"(\d{1,9})(?:x(\d{1,9}))?", words[1] if len(words) > 1 else "")
        if form and (form[1] in _COMPRESSED or int(form[2] or 1) > _MOST_A_FRAME):
            expected = f"uncompressed signals, at most {_MOST_A_FRAME} samples a frame"
            raise reject(header, subject, "unknown signal format", words[1][:40], expected)
    if several and segment:
        raise reject(header, subject, "unreadable ECG", record[0], "a segment without segments")
    for name in sorted({words[0] for words in lines} - {"~"}):
        # A header may name any path; only files beside it are read.
        if Path(name).name != name:
            raise reject(header, subject, "signal file elsewhere", name, "a file beside the header")
        _require(header.with_name(f"{name}.hea" if several else name), subject)
        if several:
            _check_wfdb(header.with_name(f"{name}.hea"), subject, segment=True)


def _require(path: Path, subject: str) -> None:
    if not path.is_file():
        raise reject(path, subject, f"missing {path.suffix or 'file'}", "no file", "a file of this name")

"""UK Biobank short-axis cines (field 20209): a zip of DICOM files, one frame each, becomes a `Cine`.

Headers alone say what is what; names of files and `manifest.csv`, whose dates hold unquoted commas, are not read. The
first pass reads the head of every member, the second the pixels of the middle slice, which is all that the method uses.

| flag | rule |
|---|---|
| `repeat:2` | slices taken more than once: the last whole one counts, or the one of most frames where none is whole |
| `frames:48/50` | the middle slice has fewer frames than its headers announce |
| `order:instance` | trigger times are missing or doubtful, so that frames are ordered by instance number |
| `order:position` | slices lie in another order than their series' names; their position counts |
| `order:name` | slices have no position, so that the numbers in their series' names count |
| `matrix:1` | slices of another matrix than most; each is used on its own grid |
| `tilted:1` | acquisitions tilted more than 10 degrees off most were left out |
| `orientation:turned` | the image was turned or mirrored to be seen from the apex, the anterior wall up |

Series are `CINE_segmented_SAX_b1`, `_b2`, ... from base to apex, or `CINE_segmented_SAX` with all slices. Which end is
the base is told by the numbers in the names; in a series of all slices by anatomy: from base to apex is to the left,
forwards and down. `CINE_segmented_SAX_InlineVF` holds drawn contours and is never used.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmcl.data.archive import Archive, open_archive
from mmcl.data.cmr_preprocessing import Cine
from mmcl.data.dicom_header import LAST_WANTED, WANTED, scan_header
from mmcl.data.nifti import load_labels
from mmcl.data.orientation import APEX, AS_STORED, normal, turn, way_to_turn
from mmcl.data.quarantine import Unusable, reject

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FIRST_BYTES, HEADER_BYTES = 2**14, 2**16
"""Of each file; what is wanted ends before the private groups and pixels, within the first 10 kB, seldom later."""

MOST_PIXELS_A_SIDE = 1_024
MOST_PIXELS = 2**25
"""Of all frames of one slice; 50 frames of 210 x 208 have a fifteenth of it."""

_SERIES = re.compile(r"CINE_segmented_SAX(_b(?P<number>\d{1,3}))?", re.IGNORECASE)
_SAME_PLACE = 3.0
"""Millimetres between planes below which they are one slice; the protocol's lie 10 mm apart."""

_UPRIGHT = 0.985
"""Cosine of 10 degrees between the normals of two acquisitions."""

_DAMAGED = Exception
"""What pydicom raises for files that are none, or damaged: of every kind, some derived from Exception alone."""

Header = Mapping[str, Any]
"""Elements of a header by keyword: a data set of pydicom's, or what `scan_header` finds."""


@dataclass(frozen=True)
class Frame:
    """Header of one file: `number` of its series' name, `order` of its series in time, `place` in mm along a normal,
    `trigger` in ms after the R wave, `corner` and `orientation` in patient axes, `spacing` mm a row and a column.
    """

    member: str
    series: str
    number: int | None
    order: tuple[float, float]
    trigger: float | None
    instance: float | None
    announced: int | None
    corner: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    location: float | None
    matrix: tuple[int, int]
    spacing: tuple[float, float]


@dataclass(frozen=True)
class Slice:
    """Frames of one acquisition in the order of time; `announced` of them, as the headers say."""

    frames: tuple[Frame, ...]
    place: float
    announced: int | None
    flags: tuple[str, ...] = ()


def read_dicom_zip(path: Path, subject: str, segmentation: Path | None = None) -> Cine:
    """The middle slice of the short-axis study in the zip at `path`; `Cine.slices` says how many there are.

    `segmentation`: NIfTI labels (x, y, slice, time) of the study as ordered here, on the pixels as stored. Nothing is
    unpacked to disk, and memory is bounded by `MOST_PIXELS`. Raises `Unusable` for what cannot be used.
    """
    with warnings.catch_warnings(), open_archive(path, subject) as archive:
        # Every oddity that pydicom warns of is either judged below or harmless.
        warnings.simplefilter("ignore")
        slices, flags = _list_slices(archive, path, subject)
        chosen = slices[len(slices) // 2]
        movie = _read_movie(archive, chosen, path, subject)
    if chosen.announced and len(movie) < chosen.announced:
        flags += (f"frames:{len(movie)}/{chosen.announced}",)
    flags += chosen.flags
    labels = None
    if segmentation is not None:
        labels = _read_labels(segmentation, subject, (len(slices), *movie.shape))
    images, spacing = movie, chosen.frames[0].spacing
    way = way_to_turn(chosen.frames[0].orientation)
    if way != AS_STORED:
        images = turn(images, *way)
        labels = None if labels is None else turn(labels, *way)
        spacing = spacing[::-1] if way[0] else spacing
        flags += ("orientation:turned",)
    labels = None if labels is None else labels[None]
    return Cine(images[None], labels, spacing, subject, str(path), slices=len(slices), flags=flags)


def list_slices(path: Path, subject: str) -> tuple[list[Slice], tuple[str, ...]]:
    """Slices of the study from base to apex, and its flags; no pixel is read."""
    with warnings.catch_warnings(), open_archive(path, subject) as archive:
        warnings.simplefilter("ignore")
        return _list_slices(archive, path, subject)


def _list_slices(archive: Archive, path: Path, subject: str) -> tuple[list[Slice], tuple[str, ...]]:
    frames, others = [], Counter()
    for name in archive.names:
        dataset = _read_header(archive, name)
        description = "" if dataset is None else _text(dataset, "SeriesDescription")
        match = _SERIES.fullmatch(description)
        if match is None:
            others[description[:40] or "no series"] += 1
        elif frame := _frame(name, match["number"], dataset, path, subject):
            frames.append(frame)
    if not frames:
        found = ", ".join(name for name, _ in others.most_common(4)) or "an empty zip"
        raise reject(path, subject, "no short-axis series", ascii(found), "series CINE_segmented_SAX_b1, _b2, ...")

    flags = Counter()
    frames, flags["tilted"] = _level(frames)
    frames, places, by_name = _places(frames)
    if not frames:
        raise reject(path, subject, "slices without position", "none", "ImagePositionPatient or SliceLocation")
    acquisitions = sorted(_acquisitions(frames, places), key=lambda one: one.place)
    groups = [[acquisitions[0]]]
    for one in acquisitions[1:]:
        same = one.place - groups[-1][0].place < _SAME_PLACE
        groups[-1].append(one) if same else groups.append([one])
    slices = [max(group, key=_worth) for group in groups]
    flags["repeat"] = sum(len(group) > 1 or "repeat" in group[0].flags for group in groups)
    common, _ = Counter(one.frames[0].matrix for one in slices).most_common(1)[0]
    flags["matrix"] = sum(one.frames[0].matrix != common for one in slices)
    if _apex_first(slices):
        slices.reverse()
    numbers = [one.frames[0].number for one in slices if one.frames[0].number is not None]
    notes = ("order:name",) if by_name else ()
    notes += ("order:position",) if numbers != sorted(numbers) else ()
    slices = [Slice(s.frames, s.place, s.announced, tuple(f for f in s.flags if f != "repeat")) for s in slices]
    return slices, (*(f"{kind}:{count}" for kind, count in flags.items() if count), *notes)


def _read_header(archive: Archive, name: str) -> Header | None:
    """Elements of one member's header; None for no DICOM."""
    head = archive.read(name, FIRST_BYTES)
    if head is None:
        return None
    found = scan_header(head)
    if found is not None:
        return found
    head = head if len(head) < FIRST_BYTES else archive.read(name, HEADER_BYTES)
    return None if head is None else _parse_header(head)


def _parse_header(data: bytes) -> Dataset | None:
    """Elements up to the pixels' description from the head of a file, with or without a preamble; None for no DICOM."""
    from pydicom.filereader import read_partial
    from pydicom.tag import Tag
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    # pydicom would inflate such a file at once, however large it becomes.
    if str(DeflatedExplicitVRLittleEndian).encode() in data:
        return None
    try:
        return read_partial(
            BytesIO(data),
            stop_when=lambda tag, vr, length: tag > LAST_WANTED,
            force=True,
            specific_tags=[Tag(name) for name in WANTED.values()],
        )
    except _DAMAGED:
        return None


def _frame(member: str, number: str | None, dataset: Header, path: Path, subject: str) -> Frame | None:
    """One file's header; None where it lacks what no image can do without. `Unusable` for an absurd size."""
    size = [_numbers(dataset, name, 1) for name in ("Rows", "Columns")]
    spacing = _numbers(dataset, "PixelSpacing", 2)
    if None in size or spacing is None:
        return None
    matrix = int(size[0][0]), int(size[1][0])
    count = _number(dataset, "NumberOfFrames") or 1
    if not all(1 <= side <= MOST_PIXELS_A_SIDE for side in matrix) or count != 1:
        value = f"{matrix[0]} x {matrix[1]} pixels, {count:g} frames"
        raise reject(path, subject, "absurd image size", value, f"one frame of at most {MOST_PIXELS_A_SIDE} a side")
    announced = _number(dataset, "CardiacNumberOfImages")
    orientation = _numbers(dataset, "ImageOrientationPatient", 6)
    return Frame(
        member=member,
        series=_text(dataset, "SeriesInstanceUID"),
        number=None if number is None else int(number),
        order=(_number(dataset, "SeriesNumber") or 0.0, _number(dataset, "SeriesTime") or 0.0),
        trigger=_number(dataset, "TriggerTime"),
        instance=_number(dataset, "InstanceNumber"),
        announced=int(announced) if announced and 0 < announced < 1_000 else None,
        corner=_numbers(dataset, "ImagePositionPatient", 3),
        orientation=None if orientation is None or normal(orientation) is None else orientation,
        location=_number(dataset, "SliceLocation"),
        matrix=matrix,
        spacing=spacing,
    )


def _level(frames: list[Frame]) -> tuple[list[Frame], int]:
    """Frames without those that are tilted off most, and the number of series so left out."""
    oriented = [frame.orientation for frame in frames if frame.orientation]
    if not oriented:
        return frames, 0
    common = normal(Counter(oriented).most_common(1)[0][0])
    tilted = [f for f in frames if f.orientation and abs(normal(f.orientation) @ common) < _UPRIGHT]
    names = {frame.member for frame in tilted}
    return [frame for frame in frames if frame.member not in names], len({frame.series for frame in tilted})


def _places(frames: list[Frame]) -> tuple[list[Frame], list[float], bool]:
    """The frames that can be placed, where each lies in mm, and whether only the names of their series tell."""
    oriented = [frame.orientation for frame in frames if frame.orientation]
    across = normal(Counter(oriented).most_common(1)[0][0]) if oriented else None
    rules = (
        lambda frame: None if across is None or frame.corner is None else float(across @ frame.corner),
        lambda frame: frame.location,
        lambda frame: None if frame.number is None else 10.0 * frame.number,
    )
    for k, rule in enumerate(rules):
        placed = [(frame, rule(frame)) for frame in frames if rule(frame) is not None]
        # A few headers that lack it lose their frames; where most lack it, another rule serves better.
        if 2 * len(placed) > len(frames):
            return [frame for frame, _ in placed], [place for _, place in placed], k == 2
    return [], [], False


def _acquisitions(frames: list[Frame], places: list[float]) -> list[Slice]:
    """Frames of the same series at the same place, ordered in time."""
    series = defaultdict(list)
    for frame, place in zip(frames, places, strict=True):
        series[frame.series].append((place, frame))
    found = []
    for members in series.values():
        members.sort(key=lambda pair: (pair[0], pair[1].member))
        start = 0
        for k in range(1, len(members) + 1):
            if k == len(members) or members[k][0] - members[start][0] >= _SAME_PLACE:
                place = float(np.median([place for place, _ in members[start:k]]))
                found.append(_in_time([frame for _, frame in members[start:k]], place))
                start = k
    return found


def _in_time(frames: list[Frame], place: float) -> Slice:
    """Frames by trigger time, else by instance number; of two at the same time the later one counts."""
    common, _ = Counter((frame.matrix, frame.spacing) for frame in frames).most_common(1)[0]
    frames = [frame for frame in frames if (frame.matrix, frame.spacing) == common]
    announced = max((frame.announced for frame in frames if frame.announced), default=None)
    frames.sort(key=lambda frame: (frame.order, frame.instance or 0.0, frame.member))
    times = {frame.trigger for frame in frames}
    repeated = announced is not None and len(frames) > len(times) >= announced
    if None not in times and (len(times) == len(frames) or repeated):
        last = {frame.trigger: frame for frame in frames}
        return Slice(tuple(last[t] for t in sorted(last)), place, announced, ("repeat",) if repeated else ())
    last = {frame.instance if frame.instance is not None else frame.member: frame for frame in frames}
    return Slice(tuple(last.values()), place, announced, ("order:instance",))


def _worth(one: Slice) -> tuple[bool, int, tuple[float, float]]:
    """Sorts repeats of a slice: whole ones last, of these the last taken; of parts the longest."""
    whole = bool(one.announced) and len(one.frames) >= one.announced
    return whole, 0 if whole else len(one.frames), one.frames[-1].order


def _apex_first(slices: list[Slice]) -> bool:
    """Whether slices in the order of their place along the normal run from apex to base."""
    place = np.array([one.place for one in slices])
    numbers = [one.frames[0].number for one in slices]
    known = [k for k, number in enumerate(numbers) if number is not None]
    if len({numbers[k] for k in known}) > 1:
        named = np.array([numbers[k] for k in known], dtype=float)
        return bool((named - named.mean()) @ (place[known] - place[known].mean()) < 0)
    first, last = slices[0].frames[0], slices[-1].frames[0]
    if first.corner and last.corner and first.orientation:
        across = normal(first.orientation)
        along = across if across @ (np.array(last.corner) - first.corner) >= 0 else -across
        return bool(along @ APEX < 0)
    # Without any geometry: slices are taken from base to apex.
    return (first.order, first.instance or 0.0) > (last.order, last.instance or 0.0)


def _read_movie(archive: Archive, chosen: Slice, path: Path, subject: str) -> np.ndarray:
    """Frames (frames, rows, columns) of a slice; those whose pixels are damaged are left out."""
    rows, columns = chosen.frames[0].matrix
    if len(chosen.frames) * rows * columns > MOST_PIXELS:
        value = f"{len(chosen.frames)} frames of {rows} x {columns}"
        raise reject(path, subject, "absurd image size", value, f"at most {MOST_PIXELS} pixels a slice")
    movie = []
    for frame in chosen.frames:
        data = archive.read(frame.member)
        try:
            image = None if data is None else _pixels(data, frame.matrix, path, subject)
        except Unusable:
            raise
        except _DAMAGED:
            image = None
        if image is not None:
            movie.append(image)
    if not movie:
        raise reject(path, subject, "unreadable pixels", f"0 of {len(chosen.frames)} frames", "a movie")
    return np.stack(movie)


def _pixels(data: bytes, matrix: tuple[int, int], path: Path, subject: str) -> np.ndarray:
    """Image (rows, columns) of one file, on the scale that its header gives. ValueError where it is damaged."""
    from pydicom import dcmread
    from pydicom.uid import UID, RLELossless

    dataset = dcmread(BytesIO(data), force=True)
    if (dataset.Rows, dataset.Columns) != matrix or dataset.get("SamplesPerPixel", 1) != 1:
        raise ValueError("another image than its header says")
    bits, signed = int(dataset.BitsAllocated), int(dataset.get("PixelRepresentation", 0))
    if bits not in (8, 16) or signed not in (0, 1):
        raise reject(path, subject, "unknown pixels", f"{bits} bits", "8 or 16 bits, one sample a pixel")
    raw = matrix[0] * matrix[1] * bits // 8
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    if syntax == RLELossless:
        # Run lengths expand 64 times; none that is worth it is longer than the image.
        if len(dataset.PixelData) > 2 * raw + 4_096:
            raise ValueError("run lengths longer than the image")
        image = dataset.pixel_array
    elif dataset["PixelData"].is_undefined_length or (syntax.is_transfer_syntax and syntax.is_compressed):
        expected = "uncompressed pixels or RLE; decompress the study first"
        raise reject(path, subject, "compressed pixels", ascii(syntax.name[:60]), expected)
    else:
        _, little = dataset.original_encoding
        kind = np.dtype(f"{'<' if little else '>'}{'i' if signed else 'u'}{bits // 8}")
        image = np.frombuffer(dataset.PixelData, kind, count=matrix[0] * matrix[1]).reshape(matrix)
        image = image.astype(kind.newbyteorder("="))
    if image.shape != matrix:
        raise ValueError("another image than its header says")
    scale = [_scale(dataset, "RescaleSlope", 1.0), _scale(dataset, "RescaleIntercept", 0.0)]
    return image if scale == [1.0, 0.0] else image.astype(np.float32) * scale[0] + scale[1]


def _scale(dataset: Dataset, name: str, default: float) -> float:
    value = default if name not in dataset else _number(dataset, name)
    if value is None:
        raise ValueError(f"{name} is no number")
    return np.float32(value)


def _read_labels(path: Path, subject: str, shape: tuple[int, ...]) -> np.ndarray:
    """Labels (frames, rows, columns) of the middle slice."""
    labels = load_labels(path, subject, dimensions=4).stored()
    if labels.shape != shape:
        raise reject(path, subject, "labels of another shape", labels.shape, f"{shape} as the images")
    return labels[len(labels) // 2]


def _text(dataset: Header, name: str) -> str:
    try:
        return str(dataset.get(name) or "").strip()
    except _DAMAGED:
        return ""


def _number(dataset: Header, name: str) -> float | None:
    values = _numbers(dataset, name, 1)
    return None if values is None else values[0]


def _numbers(dataset: Header, name: str, count: int) -> tuple[float, ...] | None:
    """Finite numbers of an element, None where it is absent or holds anything else."""
    try:
        value = dataset.get(name)
        if value is None:
            return None
        values = tuple(float(item) for item in (value if count > 1 else [value]))
    except _DAMAGED:
        return None
    return values if len(values) == count and np.isfinite(values).all() else None

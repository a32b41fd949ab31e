"""CMR preprocessing of the published method: three frames of the middle slice, cropped to the heart (method section 4).

Images are arrays (slices, frames, rows, columns), each seen as on the scanner. Where a file tells how the patient lay,
its reader has seen to that (flag `orientation:turned`, `mmcl.data.orientation`); else rows are the second axis (y) of a
NIfTI volume, columns the first (x). The published crop, rows 44-122 and columns 68-146, is meant in this view.

Rules, some leaving a flag in the cohort's table:

| flag | rule |
|---|---|
| | end-diastole is frame 0, to which a table or `Info.cfg` may have turned the cine; halfway is frame ES // 2 |
| | end-systole is the frame that a table names, else the study itself, else that of the smallest cavity in the labels |
| `es:image` | without labels or table, end-systole is the frame that differs most from end-diastole around the heart |
| `halfway:mean` | where no frame lies between, as in ED/ES volumes, halfway is their mean and has no labels |
| `centre:fixed` | no moving region was found, so the crop is the published one |
| `spacing:1.00mm` | pixels more than 2 % off 1.8 mm are resampled, images linearly, labels to the nearest |

Images are laid into 210 x 210 pixels about their centre: a smaller one gains zeros on both sides (an odd one more at
the end), a larger one loses its margin. A 210 x 208 image so gains one column on each side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from mmcl.data.quarantine import Unusable, reject

SPACING = 1.8
"""Millimetres per pixel."""

SPACING_TOLERANCE = 0.02
"""Scanners write 1.79 to 1.83; the published code resamples none of them."""

CANVAS = 210
"""Side of the square that every image is brought to, pixels."""

FIXED_CENTRE = (83, 107)
"""Centre of the published crop, rows 44-122 and columns 68-146."""

MOST_SLICES_TO_DROP = 7
"""Volumes with as many slices or fewer do not cover the heart."""

CLIP_PERCENTILE = 99.0

_SMOOTHING = 3.0
"""Pixels; motion is looked for on the scale of the heart's wall."""

_MOVING = 0.15
"""Share of the way from the median to the peak of the motion above which a pixel belongs to the heart."""

_LEAST_MOTION = 0.02
"""Peak of the motion, as a share of the image's range, below which nothing moves."""


@dataclass(frozen=True)
class Cine:
    """Short-axis images of one subject.

    `images`: (slices, frames, rows, columns), any numeric type; two frames mean an ED and an ES volume. `labels`: the
    same shape, or None. `spacing`: millimetres per row and column. `slices`: how many slices the study has, where
    `images` holds the middle one alone. `es_frame`: end-systole as the study itself names it. `flags`: what its reader
    had to settle.
    """

    images: np.ndarray
    labels: np.ndarray | None
    spacing: tuple[float, float]
    subject: str
    file: str
    slices: int | None = None
    es_frame: int | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeartFrames:
    """`images` uint8 (3, crop, crop): end-systole, halfway, end-diastole; `labels` alike, or None.

    `whole` uint8 (3, side, side) is the same before it was cropped, `whole_labels` its labels; None unless asked for.
    """

    images: np.ndarray
    labels: np.ndarray | None
    flags: tuple[str, ...]
    es_frame: int
    whole: np.ndarray | None = None
    whole_labels: np.ndarray | None = None


def preprocess_cine(
    cine: Cine, crop: int, centre_crop: bool, cavity_label: int = 3, es_frame: int | None = None, whole: int = 0
) -> HeartFrames:
    """The whole of method section 4.

    `crop` pixels a side; `centre_crop` centres them on the heart that is found instead of the published place.
    `cavity_label` marks the left ventricular cavity in `cine.labels`; `es_frame` is the frame that a table gives. With
    `whole`, at most 210, the middle of the zero-padded frames with that many pixels a side is returned too.
    Raises `Unusable` for a wrong shape, too few slices or frames, values that are not finite and constant images.
    """
    _check(cine)
    middle = cine.images.shape[0] // 2
    movie = cine.images[middle].astype(np.float32)
    labels = None if cine.labels is None else cine.labels[middle]
    if not np.isfinite(movie).all():
        raise _unusable(cine, "NaN in the image", f"{np.isnan(movie).mean():.1%}", "finite values")
    flags = list(cine.flags)
    if any(abs(spacing / SPACING - 1) > SPACING_TOLERANCE for spacing in cine.spacing):
        flags.append(f"spacing:{cine.spacing[0]:.2f}mm")
        movie = _resample(movie, cine.spacing, order=1)
        labels = None if labels is None else _resample(labels, cine.spacing, order=0)

    heart = find_heart(movie, crop)
    if es_frame is None:
        es_frame = cine.es_frame
    if es_frame is None:
        es_frame = es_from_labels(labels, cavity_label)
    if es_frame is None:
        es_frame = es_from_image(movie, heart, crop)
        flags.append("es:image")
    if not 0 < es_frame < len(movie):
        raise _unusable(cine, "end-systole outside the cine", es_frame, f"a frame from 1 to {len(movie) - 1}")

    frames = select_frames(movie, es_frame)
    if es_frame // 2 == 0:
        flags.append("halfway:mean")
    frames = scale(frames)
    if frames is None:
        raise _unusable(cine, "constant image", f"all about {movie.flat[0]:g}", "contrast in the middle slice")

    centre = FIXED_CENTRE
    if centre_crop and heart is None:
        flags.append("centre:fixed")
    elif centre_crop:
        centre = tuple(round(c + (CANVAS - side) // 2) for c, side in zip(heart, movie.shape[1:], strict=True))
    canvas = fit_canvas(frames)
    images = _as_bytes(crop_about(canvas, centre, crop))
    frame, frame_labels = (_as_bytes(_middle(canvas, whole)) if whole else None), None
    if labels is not None:
        canvas = fit_canvas(_select_labels(labels, es_frame))
        labels = crop_about(canvas, centre, crop)
        frame_labels = _middle(canvas, whole) if whole else None
    return HeartFrames(images, labels, tuple(flags), es_frame, frame, frame_labels)


def select_frames(movie: np.ndarray, es_frame: int) -> np.ndarray:
    """End-systole, halfway and end-diastole of (frames, rows, columns), as (3, rows, columns)."""
    ed, es = movie[0], movie[es_frame]
    halfway = movie[es_frame // 2] if es_frame // 2 else (ed + es) / 2
    return np.stack([es, halfway, ed])


def scale(frames: np.ndarray) -> np.ndarray | None:
    """Clip at the 99th percentile of all three frames and map their range to [0, 1]; None for constant frames."""
    low, high = float(frames.min()), float(np.percentile(frames, CLIP_PERCENTILE))
    if high <= low:
        return None
    return (np.minimum(frames, high) - low) / (high - low)


def es_from_labels(labels: np.ndarray | None, cavity_label: int) -> int | None:
    """Frame of the smallest cavity in (frames, rows, columns) labels, None where no frame after 0 is labelled."""
    if labels is None:
        return None
    area = (labels == cavity_label).sum(axis=(1, 2))
    later = np.flatnonzero(area[1:]) + 1
    return int(later[np.argmin(area[later])]) if len(later) else None


def es_from_image(movie: np.ndarray, heart: tuple[float, float] | None, crop: int) -> int:
    """Frame of (frames, rows, columns) that differs most from frame 0, looked at around the heart where it is known."""
    if heart is not None:
        top, left = (max(0, round(c) - crop // 2) for c in heart)
        movie = movie[:, top : top + crop, left : left + crop]
    change = np.abs(movie - movie[0]).mean(axis=(1, 2))
    return 1 + int(np.argmax(change[1:]))


def find_heart(movie: np.ndarray, crop: int) -> tuple[float, float] | None:
    """Row and column of the heart in (frames, rows, columns): centroid of the region that changes over time.

    The region is where the temporal standard deviation, smoothed, rises 15 % of the way from its median to its peak.
    Every pixel of it counts alike: weighting by motion would move the centre to the right ventricle's free wall.
    The centroid is taken again within half a crop around itself, which sheds moving vessels and the chest wall. None
    where nothing moves, or where less than half of what moves fits into one crop.
    """
    motion = gaussian_filter(movie.std(axis=0), _SMOOTHING)
    contrast = float(np.ptp(movie))
    floor, peak = float(np.median(motion)), float(motion.max())
    if contrast == 0 or peak - floor < _LEAST_MOTION * contrast:
        return None
    rows, columns = np.nonzero(motion > floor + _MOVING * (peak - floor))
    near = np.ones(len(rows), dtype=bool)
    for _ in range(6):
        centre = float(rows[near].mean()), float(columns[near].mean())
        near = (abs(rows - centre[0]) <= crop / 2) & (abs(columns - centre[1]) <= crop / 2)
        if not near.any():
            return None
    return centre if near.mean() > 0.5 else None


def fit_canvas(images: np.ndarray) -> np.ndarray:
    """Lay (n, rows, columns) about the centre of (n, 210, 210): zeros around a smaller image, a larger one cut."""
    for axis in (1, 2):
        excess = images.shape[axis] - CANVAS
        if excess > 0:
            images = np.take(images, range(excess // 2, excess // 2 + CANVAS), axis=axis)
        elif excess < 0:
            before = -excess // 2
            width = [(0, 0)] * 3
            width[axis] = (before, -excess - before)
            images = np.pad(images, width)
    return images


def crop_about(images: np.ndarray, centre: tuple[int, int], crop: int) -> np.ndarray:
    """Square of `crop` pixels about (row, column) of (n, 210, 210), moved inwards where it would leave the canvas."""
    top, left = (min(max(0, c - crop // 2), CANVAS - crop) for c in centre)
    return images[:, top : top + crop, left : left + crop]


def _middle(canvas: np.ndarray, side: int) -> np.ndarray:
    """Square of `side` pixels about the centre of (n, 210, 210): the whole of an image of that side."""
    start = (CANVAS - side) // 2
    return canvas[:, start : start + side, start : start + side]


def _as_bytes(images: np.ndarray) -> np.ndarray:
    return np.rint(255 * images).astype(np.uint8)


def _check(cine: Cine) -> None:
    images, labels = cine.images, cine.labels
    if images.ndim != 4:
        raise _unusable(cine, "wrong shape", images.shape, "(slices, frames, rows, columns)")
    slices = images.shape[0] if cine.slices is None else cine.slices
    if slices <= MOST_SLICES_TO_DROP:
        raise _unusable(cine, "too few slices", slices, f"more than {MOST_SLICES_TO_DROP}")
    if images.shape[1] < 2:
        raise _unusable(cine, "too few frames", images.shape[1], "a cine, or an ED and an ES volume")
    if labels is not None and labels.shape != images.shape:
        raise _unusable(cine, "labels of another shape", labels.shape, f"{images.shape} as the images")
    if not all(0.1 < spacing < 10 for spacing in cine.spacing):
        raise _unusable(cine, "implausible spacing", cine.spacing, "0.1 to 10 mm a pixel")


def _select_labels(labels: np.ndarray, es_frame: int) -> np.ndarray:
    halfway = labels[es_frame // 2] if es_frame // 2 else np.zeros_like(labels[0])
    return np.stack([labels[es_frame], halfway, labels[0]]).astype(np.uint8)


def _resample(movie: np.ndarray, spacing: tuple[float, float], order: int) -> np.ndarray:
    # Pixel areas, not pixel centres, keep their place, so that the image's centre stays where it is.
    return zoom(movie, (1, spacing[0] / SPACING, spacing[1] / SPACING), order=order, mode="nearest", grid_mode=True)


def _unusable(cine: Cine, reason: str, value: object, expectation: str) -> Unusable:
    return reject(cine.file, cine.subject, reason, value, expectation)

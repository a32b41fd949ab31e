"""Short-axis images as the scanner shows them: from the apex, the anterior wall up, slices from base to apex.

Directions are in patient axes as DICOM has them (left, posterior, superior). Planes are turned by a quarter, a half or
mirrored and by nothing between, so that no pixel is interpolated.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

APEX = np.array([0.7, -0.55, -0.45])
"""From base to apex: left, forwards and down."""

_RIGHT, _DOWN = np.array([0.6, 0.8, 0.0]), np.array([-0.36, 0.27, -0.89])
"""Where a short-axis image shows the lateral and the inferior wall; image columns and rows run to these sides."""

_CLEARLY = 0.9
"""Another of the eight ways to lay an image counts only where it agrees better by this much (of at most 4): planes
turned by less than 60 degrees or so stay as they come."""

_TOWARDS_BASE = -0.3
"""Cosine with `APEX` below which slices run from apex to base; planes nearly along it say nothing."""

_ALIGNED = 1e-3
"""Radians; a short axis that lies along the body's axes this closely is none, but a file without geometry."""

AS_STORED = (False, False, False)


def way_to_turn(orientation: tuple[float, ...] | None) -> tuple[bool, bool, bool]:
    """Whether to exchange rows and columns, then to reverse the rows, then the columns.

    `orientation` holds the directions in which columns and then rows are counted, six numbers as in DICOM.
    """
    if orientation is None:
        return AS_STORED
    right, down = np.array(orientation[:3]), np.array(orientation[3:])

    def agreement(swap: bool, upside: bool, mirror: bool) -> float:
        across, along = (down, right) if swap else (right, down)
        return (-1 if mirror else 1) * (across @ _RIGHT) + (-1 if upside else 1) * (along @ _DOWN)

    ways = [(swap, upside, mirror) for swap in (False, True) for upside in (False, True) for mirror in (False, True)]
    best = max(ways, key=lambda way: agreement(*way))
    return best if agreement(*best) - agreement(*AS_STORED) > _CLEARLY else AS_STORED


def turn(images: np.ndarray, swap: bool, upside: bool, mirror: bool) -> np.ndarray:
    """Images (..., rows, columns) laid as `way_to_turn` says; a view."""
    images = images.swapaxes(-1, -2) if swap else images
    return images[..., :: -1 if upside else 1, :: -1 if mirror else 1]


def normal(orientation: Iterable[float]) -> np.ndarray | None:
    """Unit vector across the image, None where rows and columns are no directions at right angles."""
    row, column = np.array(tuple(orientation)).reshape(2, 3)
    if abs(row @ row - 1) > 0.02 or abs(column @ column - 1) > 0.02 or abs(row @ column) > 0.02:
        return None
    across = np.cross(row, column)
    return across / np.linalg.norm(across)


def directions(affine: np.ndarray) -> np.ndarray | None:
    """Unit vectors (3, 3), one a row, along a volume's axes by its NIfTI `affine` (4, 4); None where that says nothing.

    NIfTI counts to the right, forwards and up, hence the signs. An affine along the body's axes comes from a conversion
    that lost the geometry, as ACDC's and any array written with a diagonal: no short axis lies so.
    """
    axes = np.asarray(affine, dtype=np.float64)[:3, :3].T * [-1.0, -1.0, 1.0]
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        return None
    axes = axes / lengths
    if np.abs(axes @ axes.T - np.eye(3)).max() > 0.02 or (np.abs(axes).max(axis=1) > np.cos(_ALIGNED)).all():
        return None
    return axes


def runs_to_base(across: np.ndarray) -> bool:
    """Whether slices counted along `across`, a unit vector, clearly run from apex to base."""
    return bool(across @ APEX / np.linalg.norm(APEX) < _TOWARDS_BASE)

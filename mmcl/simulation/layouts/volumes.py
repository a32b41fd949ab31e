"""NIfTI volumes of the segmentation challenges, and what is known to be odd in such folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmcl.simulation.layouts.source import CAVITY, MYOCARDIUM, RIGHT, SCAR, Oddity, Subject

LATE = 2
"""Frames by which a cine begins late in the oddity `late`."""

FEW = 6
"""Slices of a study that was broken off."""

ODDITIES = {
    "late": Oddity("the cine does not begin at end-diastole", "same"),
    "unlabelled": Oddity("nobody has drawn contours", "flag"),
    "cut": Oddity("the file of the images ends half-way", "quarantine"),
    "few": Oddity(f"{FEW} slices, which do not cover the heart", "quarantine"),
}


def write_volume(path: Path, volume: np.ndarray, spacing: tuple[float, float, float]) -> None:
    """Write `volume` (slices, rows, columns) as 3-D NIfTI (x, y, slice) in its own type, `spacing` in mm."""
    import nibabel

    image = nibabel.Nifti1Image(np.ascontiguousarray(volume.transpose(2, 1, 0)), np.diag([*spacing, 1.0]))
    image.header.set_xyzt_units("mm", "unknown")
    image.header["descrip"] = b"simulated"
    nibabel.save(image, path)


def study(subject: Subject, oddity: str, right: int, cavity: int) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Cine and labels (slices, frames, rows, columns), and the frames ED and ES, counted from 0.

    Only these two frames are labelled, with `right` ventricle, myocardium 2, scar among it, and `cavity`.
    """
    images, truth = subject.cine, subject.labels
    if oddity == "few":
        images, truth = images[:FEW], truth[:FEW]
    labels, es = np.zeros_like(truth), subject.es_frame
    for name, value in ((RIGHT, right), (MYOCARDIUM, 2), (SCAR, 2), (CAVITY, cavity)):
        labels[:, [0, es]] = np.where(truth[:, [0, es]] == name, value, labels[:, [0, es]])
    ed = 0
    if oddity == "late":
        count = images.shape[1]
        images, labels = (np.roll(values, LATE, axis=1) for values in (images, labels))
        ed, es = LATE % count, (es + LATE) % count
    return images, labels, ed, es


def cut(path: Path) -> None:
    """Take the second half of a file away."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

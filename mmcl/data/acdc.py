"""Cines whose end-diastolic and end-systolic frames are named beside them: the patient folders of ACDC, and tables.

ACDC (Bernard et al. 2018, IEEE Transactions on Medical Imaging 37:2514): `patientNNN/` holds `Info.cfg` with the frames
`ED` and `ES`, counted from 1, the cine `patientNNN_4d.nii.gz`, and `patientNNN_frameFF.nii.gz` with labels
`patientNNN_frameFF_gt.nii.gz` of these two frames (1 RV, 2 myocardium, 3 LV cavity).

| flag | rule |
|---|---|
| `labels:ed+es` | only these two frames are labelled, so that halfway has no labels |
| `orientation:turned` | the file says how the patient lay (`mmcl.data.nifti`); ACDC's own do not |
| `halfway:mean` | the cine is absent, and halfway is the mean of the two volumes (`mmcl.data.cmr_preprocessing`) |
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmcl.data.cmr_preprocessing import Cine
from mmcl.data.quarantine import reject
from mmcl.data.readers import read_nifti, read_nifti_pair

GROUPS = ("DCM", "HCM", "MINF", "NOR", "RV")
"""Dilated and hypertrophic cardiomyopathy, infarction with low ejection fraction, normal, abnormal right ventricle."""

_INFO_BYTES = 10_000


@dataclass(frozen=True)
class Patient:
    """`group`, one of GROUPS or "", `height` in cm and `weight` in kg, NaN where they are not told."""

    group: str
    height: float
    weight: float


def read_acdc(info: Path, subject: str) -> Cine:
    """Cine of the patient whose folder holds `info`, its `Info.cfg`; ED and ES volumes alone where it has no cine."""
    ed, es = read_info(info, subject)
    stem = info.parent / info.parent.name
    whole = stem.with_name(f"{stem.name}_4d.nii.gz")
    volumes = [stem.with_name(f"{stem.name}_frame{frame:02d}.nii.gz") for frame in (ed, es)]
    truths = [path.with_name(path.name.replace(".nii.gz", "_gt.nii.gz")) for path in volumes]
    labelled = all(path.is_file() for path in truths)
    if not whole.is_file():
        pair = read_nifti_pair(*volumes, subject, tuple(truths) if labelled else None)
        return dataclasses.replace(pair, es_frame=1)
    cine = read_nifti(whole, subject)
    if labelled:
        labels = np.zeros(cine.images.shape, np.uint8)
        marked = read_nifti_pair(*truths, subject).images
        wanted = (cine.images.shape[0], 2, *cine.images.shape[2:])
        if marked.shape != wanted or max(ed, es) > len(labels[0]):
            raise reject(truths[0], subject, "labels of another shape", marked.shape, f"{wanted} as {whole.name}")
        labels[:, [ed - 1, es - 1]] = marked
        cine = dataclasses.replace(cine, labels=labels, flags=(*cine.flags, "labels:ed+es"))
    return begin_at_ed(cine, ed - 1, es - 1)


def read_info(path: Path, subject: str) -> tuple[int, int]:
    """Frames `ED` and `ES` of an `Info.cfg`, counted from 1."""
    values = _read_values(path, subject)
    frames = []
    for name in ("ED", "ES"):
        value = values.get(name, "nothing")
        if not (value.isascii() and value.isdigit() and 0 < int(value[:6]) < 1_000):
            raise reject(path, subject, f"no {name} frame", ascii(value[:40]), "a number counted from 1")
        frames.append(int(value[:6]))
    if frames[0] == frames[1]:
        raise reject(path, subject, "ED and ES are one frame", frames[0], "two frames")
    return frames[0], frames[1]


def read_patient(info: Path, subject: str) -> Patient:
    """Group, height and weight of an `Info.cfg`; `Unusable` for an unknown group, or a size that is no number."""
    values = _read_values(info, subject)
    group = values.get("Group", "")
    if group not in ("", *GROUPS):
        raise reject(info, subject, "unknown group", ascii(group[:40]), f"one of {', '.join(GROUPS)}")
    return Patient(group, *(_size(values.get(name, ""), name, info, subject) for name in ("Height", "Weight")))


def begin_at_ed(cine: Cine, ed: int, es: int | None) -> Cine:
    """The cine with frame `ed` first, the frames before it following the last, as a beat does; `es` alike or None.

    Both count from 0 in the cine as it is.
    """
    count = cine.images.shape[1] if cine.images.ndim == 4 else 0
    for name, frame in (("end-diastole", ed), ("end-systole", ed if es is None else es)):
        if not 0 <= frame < count:
            raise reject(cine.file, cine.subject, f"{name} outside the cine", frame, f"a frame from 0 to {count - 1}")
    if es is not None:
        cine = dataclasses.replace(cine, es_frame=(es - ed) % count)
    if ed == 0:
        return cine
    labels = None if cine.labels is None else np.roll(cine.labels, -ed, axis=1)
    return dataclasses.replace(cine, images=np.roll(cine.images, -ed, axis=1), labels=labels)


def _read_values(path: Path, subject: str) -> dict[str, str]:
    """Lines `key: value` of an `Info.cfg`, of which no more than 10 kB are read."""
    if not path.is_file():
        raise reject(path, subject, "missing .cfg", "no file", "a file of this name")
    with open(path, "rb") as file:
        text = file.read(_INFO_BYTES).decode("utf-8", errors="replace")
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def _size(text: str, name: str, info: Path, subject: str) -> float:
    if text.lower() in ("", "nan"):
        return float("nan")
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < 1_000:
        raise reject(info, subject, f"no {name.lower()}", ascii(text[:40]), "a number from 0 to 1000")
    return size

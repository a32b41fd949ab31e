"""Folders of the M&Ms challenges (Campello et al. 2021, IEEE Transactions on Medical Imaging 40:3543).

| layout | file | holds |
|---|---|---|
| `mnms` | `<code>/<code>_sa.nii.gz`, `_sa_gt.nii.gz` | cine and labels (x, y, slice, time), ED and ES labelled |
| | `participants.csv` | the table of the challenge, frames counted from 0 |
| `mnms2` | `001/001_SA_ED.nii.gz`, `_SA_ED_gt`, `_SA_ES`, `_SA_ES_gt` | volumes at ED and ES with labels |
| | `001/001_SA_CINE.nii.gz` | the cine |
| | `dataset_information.csv` | the table of the challenge |

Labels are 1 LV cavity, 2 myocardium, 3 RV. Of the pathologies the simulation knows ischaemic heart disease (IHD), which
M&Ms-2 does not have: there all are NOR. The simulation has no long axis.
"""

from __future__ import annotations

import csv
from pathlib import Path

from mmcl.simulation.export import write_cine
from mmcl.simulation.layouts import volumes
from mmcl.simulation.layouts.source import Source, Subject, in_turn

ODDITIES = volumes.ODDITIES
PAIR_ODDITIES = {name: ODDITIES[name] for name in ("cut", "few")}

_COLUMNS = ("External code", "VendorName", "Vendor", "Centre", "ED", "ES")
_PERSON = ("Age", "Pathology", "Sex", "Height", "Weight")


def code(index: int) -> str:
    """Code of the subject `index` in M&Ms, such as A0S9V9: a letter and a digit, three times."""
    number, text = (7919 * index + 1_234_567) % 260**3, ""  # a prime factor spreads neighbours over the codes
    for _ in range(3):
        number, pair = divmod(number, 260)
        text += "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[pair // 10] + str(pair % 10)
    return text


def name(index: int) -> str:
    """Name of the subject `index` in M&Ms-2."""
    return f"{index + 1:03d}"


def write_mnms(source: Source, folder: Path, oddities: tuple[str, ...] = ()) -> None:
    """Write the folders of M&Ms and its table; each subject in turn has one of `oddities`."""
    rows = []
    for subject in source.subjects():
        oddity, given = in_turn(oddities, subject.index), code(subject.index)
        images, labels, ed, es = volumes.study(subject, oddity, right=3, cavity=1)
        (folder / given).mkdir(parents=True)
        path = folder / given / f"{given}_sa.nii.gz"
        write_cine(path, images, subject.spacing)
        if oddity != "unlabelled":
            write_cine(path.with_name(f"{given}_sa_gt.nii.gz"), labels, subject.spacing)
        if oddity == "cut":
            volumes.cut(path)
        rows.append([len(rows), given, "Siemens", "A", 1, ed, es, *_person(subject)])
    _write_table(folder / "participants.csv", ["", *_COLUMNS, *_PERSON], rows)


def write_mnms2(source: Source, folder: Path, oddities: tuple[str, ...] = ()) -> None:
    """Write the folders of M&Ms-2 and its table; each subject in turn has one of `oddities`."""
    rows = []
    for subject in source.subjects():
        oddity, given = in_turn(oddities, subject.index), name(subject.index)
        images, labels, ed, es = volumes.study(subject, oddity, right=3, cavity=1)
        (folder / given).mkdir(parents=True)
        stem = folder / given / f"{given}_SA"
        write_cine(stem.with_name(f"{given}_SA_CINE.nii.gz"), images, subject.spacing)
        for phase, frame in (("ED", ed), ("ES", es)):
            path = stem.with_name(f"{given}_SA_{phase}.nii.gz")
            volumes.write_volume(path, images[:, frame], subject.spacing)
            volumes.write_volume(path.with_name(f"{given}_SA_{phase}_gt.nii.gz"), labels[:, frame], subject.spacing)
        if oddity == "cut":
            volumes.cut(stem.with_name(f"{given}_SA_ES.nii.gz"))
        rows.append([given, "NOR", "SIEMENS", "Avanto", "1.5"])
    _write_table(folder / "dataset_information.csv", ["SUBJECT_CODE", "DISEASE", "VENDOR", "SCANNER", "FIELD"], rows)


def _person(subject: Subject) -> list[str]:
    values = [f"{subject.value(column):.0f}" for column in ("21003-2.0", "50-2.0", "21002-2.0")]
    return [values[0], "IHD" if subject.infarct else "NOR", subject.sex[0].upper(), *values[1:]]


def _write_table(path: Path, header: list[str], rows: list[list]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])

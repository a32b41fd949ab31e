"""Folders of ACDC (Bernard et al. 2018, IEEE Transactions on Medical Imaging 37:2514), `patient001` and so on.

| file | holds |
|---|---|
| `Info.cfg` | frames ED and ES, counted from 1; group, height cm, weight kg, number of frames |
| `patient001_4d.nii.gz` | cine, int16 (x, y, slice, time) |
| `patient001_frame01.nii.gz`, `_gt` | volumes at ED and ES with labels: 1 RV, 2 myocardium, 3 LV cavity |

Of the groups of ACDC the simulation knows two: MINF where the wall is scarred, NOR elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmcl.simulation.export import write_cine
from mmcl.simulation.layouts import volumes
from mmcl.simulation.layouts.source import Oddity, Source, in_turn

ODDITIES = {**volumes.ODDITIES, "still": Oddity("no cine, the volumes at ED and ES alone", "mended")}


def name(index: int) -> str:
    """Patient of the subject `index`."""
    return f"patient{index + 1:03d}"


def write_acdc(source: Source, folder: Path, oddities: tuple[str, ...] = ()) -> None:
    """Write one folder a patient; each in turn has one of `oddities`."""
    for subject in source.subjects():
        oddity, patient = in_turn(oddities, subject.index), name(subject.index)
        images, labels, ed, es = volumes.study(subject, oddity, right=1, cavity=3)
        images, spacing = images.astype(np.int16), subject.spacing
        stem = folder / patient / patient
        stem.parent.mkdir(parents=True)
        if oddity != "still":
            write_cine(stem.with_name(f"{patient}_4d.nii.gz"), images, spacing)
        for frame in (ed, es):
            of_frame = f"{patient}_frame{frame + 1:02d}"
            volumes.write_volume(stem.with_name(f"{of_frame}.nii.gz"), images[:, frame], spacing)
            if oddity != "unlabelled":
                volumes.write_volume(stem.with_name(f"{of_frame}_gt.nii.gz"), labels[:, frame], spacing)
        if oddity == "cut":
            volumes.cut(stem.with_name(f"{patient}_4d.nii.gz"))
        info = {
            "ED": ed + 1,
            "ES": es + 1,
            "Group": "MINF" if subject.infarct else "NOR",
            "Height": f"{subject.value('50-2.0'):.1f}",
            "NbFrame": images.shape[1],
            "Weight": f"{subject.value('21002-2.0'):.1f}",
        }
        text = "".join(f"{key}: {value}\n" for key, value in info.items())
        stem.with_name("Info.cfg").write_text(text, encoding="utf-8")

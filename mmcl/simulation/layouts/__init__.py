"""The simulated cohort in every raw layout that the readers know, file names, tables, spelling and oddities included.

    export_layout("ptbxl", raw, folder)

writes `folder` from `raw`, which `mmcl.simulation.export.export_raw` wrote. Every road from there must end in the same
store, to the precision of the layout. To look at such a folder:

    python -m mmcl.simulation.layouts ptbxl FOLDER --subjects 24 --seed 0
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmcl.simulation.layouts import acdc, arrays, cinc, mnms, ptbxl, ukb
from mmcl.simulation.layouts.source import OUTCOMES, Oddity, Source

__all__ = ["LAYOUTS", "OUTCOMES", "Layout", "Oddity", "Source", "export_layout"]


@dataclass(frozen=True)
class Layout:
    """One layout: what it is, who writes it, and the `oddities` that its files may have.

    `name` gives the identifier under which the layout knows the subject of an index in the cohort.
    """

    what: str
    write: Callable[..., None]
    name: Callable[[int], str]
    oddities: Mapping[str, Oddity] = field(default_factory=dict)


def _eid(index: int) -> str:
    return f"sim{index:07d}"


def _copy(source: Source, folder: Path, oddities: tuple[str, ...] = ()) -> None:
    shutil.copytree(source.raw, folder, dirs_exist_ok=True)


LAYOUTS = {
    "wfdb": Layout("the simulated cohort's own: WFDB, NIfTI, tables", _copy, _eid),
    "ukb": Layout("UK Biobank: CardioSoft XML, DICOM, tables", ukb.write_ukb, _eid, ukb.ODDITIES),
    "ptbxl": Layout("PTB-XL: WFDB, statements", ptbxl.write_ptbxl, lambda k: str(ptbxl.patient(k)), ptbxl.ODDITIES),
    "cinc": Layout(
        "PhysioNet/CinC: MATLAB v4, headers", cinc.write_cinc, lambda k: Path(cinc.path(k)).stem, cinc.ODDITIES
    ),
    "acdc": Layout("ACDC: patients' folders, NIfTI", acdc.write_acdc, acdc.name, acdc.ODDITIES),
    "mnms": Layout("M&Ms: NIfTI cines", mnms.write_mnms, mnms.code, mnms.ODDITIES),
    "mnms2": Layout("M&Ms-2: NIfTI volumes", mnms.write_mnms2, mnms.name, mnms.PAIR_ODDITIES),
    "arrays": Layout("one array of all ECGs", arrays.write_arrays, _eid, arrays.ODDITIES),
}


def export_layout(layout: str, raw: Path, folder: Path, oddities: Sequence[str] = (), **options: object) -> Path:
    """Write the cohort that was exported to `raw` into `folder`, new or empty, as `layout` has it; returns `folder`.

    The k-th subject has the k-th of `oddities`, counted round, where "" stands for none. `options` are the layout's:
    `spelling`, `separator` and `withdrawn` of `ukb`, `suffix` of `arrays`. The folder appears when it is whole.
    ValueError for an unknown layout or oddity, a `raw` without files and a `folder` that holds something.
    """
    raw, folder = Path(raw), Path(folder)
    if layout not in LAYOUTS:
        raise ValueError(f"layout is {layout!r}, expected one of {', '.join(LAYOUTS)}")
    known = LAYOUTS[layout].oddities
    if unknown := [name for name in oddities if name and name not in known]:
        raise ValueError(f"oddity {unknown[0]!r} of {layout}, expected one of {', '.join(known) or 'none'}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: expected a new or an empty folder")
    source = Source.open(raw)
    part = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        LAYOUTS[layout].write(source, part, tuple(oddities), **options)
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return folder

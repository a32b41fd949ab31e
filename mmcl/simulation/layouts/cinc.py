"""Folders of the PhysioNet/CinC challenges 2020 and 2021 (Reyna et al. 2021): WFDB headers beside MATLAB v4 files.

`training/<source>/g1/<record>.hea` and `.mat`, a thousand records a group, age, sex and SNOMED CT codes of the findings
in the header's comments. Subjects are dealt out to three sources, each with its own names and spelling of the unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mmcl.simulation.layouts import wfdb_records
from mmcl.simulation.layouts.source import Oddity, Source, Subject, in_turn

CODES = {
    "fibrillation": "164889003",
    "sinus": "426783006",
    "bradycardia": "426177001",
    "tachycardia": "427084000",
    "av_block": "270492004",
    "left_block": "164909002",
    "right_block": "59118001",
    "infarct_LAD": "164865005",
    "infarct_RCA": "164865005",
    "infarct_LCX": "164865005",
    "left_axis": "39732003",
    "right_axis": "47665007",
    "long_qt": "111975006",
    "atrial_beats": "284470004",
    "ventricular_beats": "427172004",
}
"""SNOMED CT code of each finding in the list of the challenge 2021, an infarct wherever it lies."""

ODDITIES = {
    **wfdb_records.ODDITIES,
    "ageless": Oddity("age NaN", "same"),
    "sexless": Oddity("sex Unknown", "same"),
    "undiagnosed": Oddity("no line of diagnoses", "same"),
}


@dataclass(frozen=True)
class Collection:
    """How one source of the challenge writes: its records' names begin with `prefix`, which `digits` follow."""

    folder: str
    prefix: str
    digits: int
    unit: str


COLLECTIONS = (
    Collection("georgia", "E", 5, "mV"),
    Collection("ptb-xl", "HR", 5, "mv"),
    Collection("chapman_shaoxing", "JS", 5, "mV"),
)

_AGELESS = 8
"""Of so many subjects one has no age."""


def path(index: int) -> str:
    """Header of the subject `index`, from the root of the layout on."""
    collection, place = COLLECTIONS[index % len(COLLECTIONS)], index // len(COLLECTIONS) + 1
    record = f"{collection.prefix}{place:0{collection.digits}d}"
    return f"training/{collection.folder}/g{(place - 1) // 1000 + 1}/{record}.hea"


def write_cinc(source: Source, folder: Path, oddities: tuple[str, ...] = ()) -> None:
    """Write a header and a matrix a subject; each in turn has one of `oddities`, and every eighth has the age NaN."""
    for subject in source.subjects():
        oddity, collection = in_turn(oddities, subject.index), COLLECTIONS[subject.index % len(COLLECTIONS)]
        header = folder / path(subject.index)
        header.parent.mkdir(parents=True, exist_ok=True)
        comments = [f"{key}: {value}" for key, value in _comments(subject, oddity).items()]
        form = {"unit": collection.unit, "comments": comments, "matlab": True}
        of_record = oddity if oddity in wfdb_records.ODDITIES else ""
        wfdb_records.write_record(header, subject.counts, **form, oddity=of_record)


def _comments(subject: Subject, oddity: str) -> dict[str, str]:
    ageless = oddity == "ageless" or subject.index % _AGELESS == _AGELESS - 2
    codes = dict.fromkeys(CODES[finding] for finding in subject.findings)
    comments = {
        "Age": "NaN" if ageless else f"{int(subject.value('21003-2.0'))}",
        "Sex": "Unknown" if oddity == "sexless" else subject.sex.capitalize(),
        "Dx": ",".join(codes),
    }
    if oddity == "undiagnosed":
        del comments["Dx"]
    return comments | dict.fromkeys(("Rx", "Hx", "Sx"), "Unknown")

"""Who is in a cohort, and what is known of them apart from images and signals."""

from __future__ import annotations

import dataclasses
import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.config import DISEASES, CohortConfig
from mmcl.data import tables
from mmcl.data.arrays import count_rows
from mmcl.data.labels import label_subjects
from mmcl.data.manifest import Manifest
from mmcl.data.quarantine import Quarantine, Rejection
from mmcl.data.splits import split_by_column, split_by_fractions, split_by_sizes
from mmcl.phenotypes import PHENOTYPES

COLUMNS = (
    *("subject", "visit", "split", "flags", "age", "sex", "height", "weight", "bsa", "systolic"),
    *DISEASES,
    *(measure.name for measure in PHENOTYPES),
)
"""Columns of a store's `subjects.csv`; covariates in the units of `mmcl.data.tables.covariates`, diseases 0 or 1."""


@dataclass(frozen=True)
class Entry:
    """One visit of one subject: its files by the manifest's names, and frames of its cine where a table has them.

    `row` is the subject's in a file that holds the ECGs of all.
    """

    subject: str
    visit: int
    files: dict[str, Path]
    es_frame: int | None = None
    row: int | None = None
    ed_frame: int = 0


def list_subjects(
    manifest: Manifest, raw: Path, participants: pd.DataFrame | None
) -> tuple[list[str], Quarantine, int]:
    """Subjects of the cohort in alphabetical order, the quarantine so far, and how many have withdrawn.

    The participants table lists the subjects, or without one the files do. A file whose subject is not in the table is
    quarantined; a subject who withdrew appears nowhere.
    """
    found = _find_files(manifest, raw)
    listed = set(found) if participants is None else set(participants.index)
    withdrawn = set()
    if manifest.tables.withdrawn:
        withdrawn = tables.read_withdrawn(raw / manifest.tables.withdrawn) & (listed | set(found))
    quarantine = Quarantine()
    for subject in sorted(set(found) - listed - withdrawn):
        quarantine.add(Rejection(found[subject], subject, "not listed", "no row", "one in the participants table"))
    subjects = sorted(listed - withdrawn)
    if not subjects:
        expected = manifest.files.ecg or manifest.files.cmr
        raise ValueError(f"{raw}: the cohort {manifest.name} is empty; expected files like {expected}")
    return subjects, quarantine, len(withdrawn)


def list_entries(
    manifest: Manifest, raw: Path, subjects: list[str], participants: pd.DataFrame | None = None
) -> list[Entry]:
    """One entry per subject and visit. The first visit is expected of everybody, a later one where it has files."""
    patterns = {name: text for name, text in dataclasses.asdict(manifest.files).items() if text}
    ed_frame, es_frame = (_frames(manifest, name, participants) for name in ("ed_column", "es_column"))
    rows = _rows(manifest, raw, participants) if manifest.readers.ecg == "array" and manifest.files.ecg else {}
    entries = []
    for subject, visit in itertools.product(subjects, manifest.visits):
        files = {name: raw / text.format(subject=subject, visit=visit) for name, text in patterns.items()}
        if visit == manifest.visits[0] or any(path.is_file() for path in files.values()):
            frames = es_frame.get(subject), rows.get(subject), ed_frame.get(subject, 0)
            entries.append(Entry(subject, visit, files, *frames))
    return entries


def _frames(manifest: Manifest, name: str, participants: pd.DataFrame | None) -> dict[str, int]:
    """Subject -> frame, from the column that the manifest's key `name` names; empty without the key."""
    column = getattr(manifest, name)
    if column is None:
        return {}
    if column not in participants:
        raise ValueError(f"participants table: no column {column!r}, which the manifest names {name}")
    return pd.to_numeric(participants[column]).dropna().astype(int).to_dict()


def subject_table(
    manifest: Manifest,
    raw: Path,
    entries: list[Entry],
    participants: pd.DataFrame | None,
    sizes: CohortConfig,
    seed: int,
    whole_icd_list: bool = True,
) -> pd.DataFrame:
    """Row of the store's `subjects.csv` for every entry: split, covariates, diseases, phenotypes; NaN where unknown."""
    subjects = [entry.subject for entry in entries]
    table = pd.DataFrame(
        {"subject": subjects, "visit": [str(entry.visit) for entry in entries], "flags": ""},
    )
    table.insert(2, "split", _split(manifest, subjects, participants, sizes, seed))
    phenotypes = diseases = None
    if manifest.tables.phenotypes:
        phenotypes = tables.read_table(raw / manifest.tables.phenotypes, [measure.field for measure in PHENOTYPES])
    if manifest.labels.rule == "records":
        codes = tables.codes(tables.read_table(raw / manifest.tables.records, [tables.ICD10]))
        diseases = label_subjects(codes[codes.index.isin(subjects)], whole_icd_list)
    parts = []
    for visit in manifest.visits:
        rows = table[table["visit"] == str(visit)]
        if participants is not None:
            rows = rows.join(tables.covariates(participants, visit), on="subject")
        if diseases is not None:
            rows = rows.join(diseases.astype("Int64"), on="subject")
        if phenotypes is not None:
            rows = rows.join(tables.phenotypes(phenotypes, visit), on="subject")
        parts.append(rows)
    return pd.concat(parts).sort_index().reindex(columns=list(COLUMNS))


def _split(
    manifest: Manifest, subjects: list[str], participants: pd.DataFrame | None, sizes: CohortConfig, seed: int
) -> np.ndarray:
    rule = manifest.split
    if rule.rule == "profile":
        return split_by_sizes(subjects, (sizes.train, sizes.validation, sizes.test), seed)
    if rule.rule == "column":
        if rule.column not in participants:
            raise ValueError(f"participants table: no column {rule.column!r}, which the manifest names split.column")
        return split_by_column(subjects, participants.loc[subjects, rule.column])
    return split_by_fractions(subjects, rule.fractions, seed)


def _rows(manifest: Manifest, raw: Path, participants: pd.DataFrame) -> dict[str, int]:
    """Subject -> row of the array of all ECGs, by the column `row` of the participants table or the table's order.

    ValueError for two subjects of one row, and without the column for an array that is not as long as the table.
    """
    if "row" in participants:
        said = participants["row"].dropna().astype(str).str.strip()
        if not said.str.fullmatch("[0-9]{1,9}").all() or said.duplicated().any():
            raise ValueError("participants table: column 'row', expected a number from 0 once for each subject")
        return said.astype(int).to_dict()
    for visit in manifest.visits:
        path = raw / manifest.files.ecg.format(visit=visit)
        if visit == manifest.visits[0] and not path.is_file():
            raise ValueError(f"{path}: no such file; the manifest {manifest.name} names it files.ecg")
        if path.is_file() and (found := count_rows(path)) != len(participants):
            raise ValueError(f"{path}: {found} rows, expected {len(participants)} as in the participants table")
    return {subject: k for k, subject in enumerate(participants.index)}


def _find_files(manifest: Manifest, raw: Path) -> dict[str, str]:
    """Subject -> first file of the ECG pattern, or of the CMR pattern in a cohort without ECG."""
    patterns = [
        pattern for pattern in dataclasses.asdict(manifest.files).values() if pattern and "{subject}" in pattern
    ]
    if not patterns:
        return {}
    wanted, others = patterns[0], patterns[1:]
    found: dict[str, str] = {}
    for path in sorted(raw.glob(re.sub(r"{subject}|{visit}", "*", wanted))):
        name = path.relative_to(raw).as_posix()
        # `{subject}.nii.gz` also fits `<subject>_seg.nii.gz`; the longer pattern claims it.
        claimed = any(len(other) > len(wanted) and _shape(other).fullmatch(name) for other in others)
        if not claimed and (match := _shape(wanted).fullmatch(name)):
            found.setdefault(match["subject"], name)
    return found


def _shape(pattern: str) -> re.Pattern:
    """Regular expression of a pattern; a subject that is named twice is the same both times."""
    first, *rest = (re.escape(part).replace(r"\{visit\}", r"\d+") for part in pattern.split("{subject}"))
    return re.compile(first + "(?P<subject>[^/]+)" + "(?P=subject)".join(rest))

"""Who is in a cohort, and which files they have."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from mmcl.data import tables
from mmcl.data.arrays import count_rows
from mmcl.data.checksums import read_checksums
from mmcl.data.manifest import Manifest
from mmcl.data.pseudonyms import Pseudonyms, conceal
from mmcl.data.quarantine import Quarantine, Rejection


@dataclass(frozen=True)
class Entry:
    """One visit of one subject, or one of its recordings: a row of the store.

    `files` are named as in the manifest; `es_frame` and `ed_frame` are frames of its cine where a table has them; `row`
    is the subject's in a file that holds the ECGs of all; `identifier` is who the subject is, where `subject` is a
    pseudonym; `checksums` are those that its files are held to.
    """

    subject: str
    visit: str
    files: dict[str, Path]
    es_frame: int | None = None
    row: int | None = None
    ed_frame: int = 0
    identifier: str = ""
    checksums: dict[Path, str] = field(default_factory=dict)

    def conceal(self, text: str) -> str:
        """`text` with the subject's identifier replaced by its pseudonym."""
        return conceal(text, self.identifier or self.subject, self.subject)


@dataclass(frozen=True)
class Listing:
    """A cohort as it lies in a folder.

    `participants` is the table, indexed by subject, or by recording where the manifest names a column for that; None
    without one. `quarantine` holds files that belong to nobody who is listed; `withdrawn` counts who withdrew.
    """

    entries: list[Entry]
    participants: pd.DataFrame | None
    quarantine: Quarantine
    withdrawn: int
    names: Pseudonyms


def list_cohort(manifest: Manifest, raw: Path) -> Listing:
    """The entries of the cohort in the order of their subjects' names, and what belongs to no entry.

    Subjects are those of the participants table, or without one, or where the manifest says `subjects: files`, those
    who have a file. A file whose subject is not in the table is quarantined; a subject who withdrew appears nowhere.
    ValueError for a cohort without subjects.
    """
    names, quarantine = Pseudonyms(manifest), Quarantine()
    found = {} if manifest.columns.recording else _find_files(manifest, raw, names, quarantine)
    having = {subject for subject, _ in found}
    participants = read_participants(manifest, raw, names, having if manifest.subjects == "files" else None)
    gone = {names.name(subject) for subject in read_withdrawn(manifest, raw)}
    if manifest.columns.recording:
        entries = list(_recordings(manifest, raw, participants, names, quarantine))
    else:
        listed = set() if participants is None else set(participants.index)
        subjects = sorted(having | listed)
        first = {subject: min(files.values()) for (subject, _), files in sorted(found.items(), reverse=True)}
        for subject in sorted(having - listed - gone) if participants is not None else ():
            shown = names.conceal(first[subject].relative_to(raw).as_posix(), subject)
            quarantine.add(Rejection(shown, subject, "not listed", "no row", "one in the participants table"))
        subjects = [subject for subject in subjects if participants is None or subject in listed]
        entries = list(_visits(manifest, raw, subjects, participants, names, found))
    everybody = {entry.subject for entry in entries}
    entries = [entry for entry in entries if entry.subject not in gone]
    if not entries:
        expected = manifest.files.ecg or manifest.files.cmr
        raise ValueError(f"{raw}: the cohort {manifest.name} is empty; expected files like {expected}")
    return Listing(_with_checksums(manifest, raw, entries), participants, quarantine, len(everybody & gone), names)


def read_participants(
    manifest: Manifest, raw: Path, names: Pseudonyms, subjects: Collection[str] | None = None
) -> pd.DataFrame | None:
    """The participants table by the names of its subjects or recordings, None where the cohort has none.

    `subjects` are the names of those whose rows are wanted, all of them by default. Of a table whose columns the
    manifest's patterns do not name only those that are used are kept. ValueError for a column that is named and absent.
    """
    if not manifest.tables.participants:
        return None
    columns, path = manifest.columns, raw / manifest.tables.participants
    named = [columns.age, columns.sex, columns.height, columns.weight, columns.systolic, manifest.split.column]
    named += [columns.subject if columns.recording else None, *manifest.labels.columns.values()]
    named = [name for name in (*named, manifest.ed_column, manifest.es_column) if name]
    key = columns.recording or columns.subject
    fields = None if columns.recording else [*tables.COVARIATE_FIELDS, *named, "row"]
    if any(set(re.findall(r"{([^{}]*)}", pattern)) - {"subject", "visit"} for pattern in _patterns(manifest).values()):
        fields = None
    table = tables.read_table(path, fields, key=key, rename=names.name, subjects=subjects)
    if absent := [name for name in named if name not in table]:
        raise ValueError(f"{path}: no column {absent[0]!r}, which the manifest {manifest.name} names")
    return table


def read_withdrawn(manifest: Manifest, raw: Path) -> set[str]:
    """Identifiers of subjects who withdrew; empty where the cohort has no list of them, or none yet."""
    name = manifest.tables.withdrawn
    return tables.read_withdrawn(raw / name) if name and (raw / name).is_file() else set()


def _recordings(
    manifest: Manifest, raw: Path, participants: pd.DataFrame, names: Pseudonyms, quarantine: Quarantine
) -> Iterable[Entry]:
    """An entry for every row of a table of recordings."""
    subjects = participants[manifest.columns.subject] if manifest.columns.subject else participants.index.to_series()
    text = subjects.astype(str).str.removesuffix(".0")
    ordered = sorted(
        zip(text, participants.index, strict=True), key=lambda pair: (_natural(pair[0]), _natural(pair[1]))
    )
    patterns = _patterns(manifest)
    for identifier, recording in ordered:
        subject = names.name(identifier) if manifest.columns.subject else identifier
        cells = participants.loc[recording].dropna().astype(str).to_dict()
        cells |= {"subject": names.identifier(subject), "visit": names.identifier(recording)}
        files = {}
        for kind, pattern in patterns.items():
            lacking = [name for name in re.findall(r"{([^{}]*)}", pattern) if name not in cells]
            path = PurePosixPath("") if lacking else PurePosixPath(_fill_in(pattern, cells))
            if lacking or path.is_absolute() or ".." in path.parts:
                found = f"nothing in {lacking[0]}" if lacking else str(path)
                quarantine.add(Rejection(kind, subject, "no file named", found, "a file inside the raw folder"))
                break
            files[kind] = raw / path
        else:
            yield Entry(subject, recording, files, identifier=names.identifier(subject))


def _visits(
    manifest: Manifest,
    raw: Path,
    subjects: list[str],
    participants: pd.DataFrame | None,
    names: Pseudonyms,
    found: dict[tuple[str, str], dict[str, Path]],
) -> Iterable[Entry]:
    """One entry per subject and visit.

    The first visit is expected of everybody in a table, a later one, or any of a subject who is known by its files,
    where it has a file.
    """
    patterns = _patterns(manifest)
    whole = {name: text for name, text in patterns.items() if "{subject}" not in text}
    ed_frame, es_frame = (_frames(manifest, name, participants) for name in ("ed_column", "es_column"))
    rows = _rows(manifest, raw, participants) if manifest.readers.ecg == "array" and manifest.files.ecg else {}
    for subject in subjects:
        identifier = names.identifier(subject)
        for visit in map(str, manifest.visits):
            there = found.get((subject, visit), {})
            named = {"subject": identifier, "visit": visit}
            shared = {name: raw / _fill_in(text, named) for name, text in whole.items()}
            first = visit == str(manifest.visits[0]) and manifest.subjects == "table"
            if first or there or any(path.is_file() for path in shared.values()):
                absent = {name: raw / _fill_in(text, named).replace("**/", "") for name, text in patterns.items()}
                frames = es_frame.get(subject), rows.get(subject), ed_frame.get(subject, 0)
                yield Entry(subject, visit, absent | shared | there, *frames, identifier)


def _patterns(manifest: Manifest) -> dict[str, str]:
    return {name: text for name, text in dataclasses.asdict(manifest.files).items() if text}


def _fill_in(pattern: str, values: Mapping[str, str]) -> str:
    return re.sub(r"{([^{}]*)}", lambda match: values[match[1]], pattern)


def _natural(text: str) -> tuple[int, str]:
    """Sorts numbers by size, and other names after them."""
    return (len(text), text) if text.isdigit() else (1 << 30, text)


def _frames(manifest: Manifest, name: str, participants: pd.DataFrame | None) -> dict[str, int]:
    """Subject -> frame, from the column that the manifest's key `name` names; empty without the key."""
    column = getattr(manifest, name)
    if column is None:
        return {}
    return tables.to_numbers(participants[column]).dropna().astype(int).to_dict()


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


def _find_files(
    manifest: Manifest, raw: Path, names: Pseudonyms, quarantine: Quarantine
) -> dict[tuple[str, str], dict[str, Path]]:
    """(subject, visit) -> files by the manifest's names, of those that fit a pattern with `{subject}`.

    Of two files that fit one pattern for the same subject, in different folders, the second is quarantined.
    """
    patterns = {name: text for name, text in _patterns(manifest).items() if "{subject}" in text}
    found: dict[tuple[str, str], dict[str, Path]] = defaultdict(dict)
    for name, pattern in patterns.items():
        # `{subject}.nii.gz` also fits `<subject>_seg.nii.gz`; the longer pattern claims it.
        longer = [_shape(other) for other in patterns.values() if len(other) > len(pattern)]
        for path in sorted(raw.glob(re.sub(r"{subject}|{visit}", "*", pattern))):
            relative = path.relative_to(raw).as_posix()
            match = _shape(pattern).fullmatch(relative)
            if match is None or any(other.fullmatch(relative) for other in longer):
                continue
            subject = names.name(match["subject"])
            visit = match["visit"] if "{visit}" in pattern else str(manifest.visits[0])
            kept = found[subject, visit].setdefault(name, path)
            if kept != path:
                shown, other = (names.conceal(item.relative_to(raw).as_posix(), subject) for item in (path, kept))
                quarantine.add(Rejection(shown, subject, "subject twice", f"also {other}", "one file a subject"))
    return dict(found)


def _shape(pattern: str) -> re.Pattern:
    """Regular expression of a pattern; a subject or visit that is named twice is the same both times."""
    text, seen = "", set()
    for part in re.split(r"({subject}|{visit}|\*\*/)", pattern):
        name = part.strip("{}")
        if part == "**/":
            text += "(?:.*/)?"
        elif part in ("{subject}", "{visit}"):
            inner = "[^/]+" if name == "subject" else r"\d+"
            text += f"(?P={name})" if name in seen else f"(?P<{name}>{inner})"
            seen.add(name)
        else:
            text += re.escape(part)
    return re.compile(text)


def _with_checksums(manifest: Manifest, raw: Path, entries: list[Entry]) -> list[Entry]:
    """The entries with the checksums of their files and of signals beside a header; as they are without a list."""
    if not manifest.checksums or not (raw / manifest.checksums).is_file():
        return entries
    listed = read_checksums(raw / manifest.checksums)
    held = []
    for entry in entries:
        beside = [path.with_suffix(suffix) for path in entry.files.values() for suffix in (path.suffix, ".dat", ".mat")]
        known = {path: listed.get(path.relative_to(raw).as_posix()) for path in beside}
        checksums = {path: digest for path, digest in known.items() if digest}
        held.append(dataclasses.replace(entry, checksums=checksums))
    return held

"""Who is in a cohort, which files they have, and what is known of them apart from images and signals."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from mmcl.config import DISEASES, CohortConfig
from mmcl.data import acdc, cinc, ptbxl, tables
from mmcl.data.arrays import count_rows
from mmcl.data.checksums import read_checksums
from mmcl.data.labels import label_tasks, label_visits, record_fields
from mmcl.data.manifest import Manifest
from mmcl.data.pseudonyms import Pseudonyms, conceal
from mmcl.data.quarantine import Quarantine, Rejection, Unusable
from mmcl.data.splits import split_by_column, split_by_fractions, split_by_sizes
from mmcl.phenotypes import PHENOTYPES

COVARIATES = ("age", "sex", "height", "weight", "bsa", "systolic")
COLUMNS = (
    *("subject", "visit", "split", "flags", *COVARIATES),
    *DISEASES,
    *(measure.name for measure in PHENOTYPES),
)
"""Columns of a store's `subjects.csv`; covariates in the units of `mmcl.data.tables.covariates`, diseases 0 or 1.

Other labels of the cohort (`mmcl.data.labels.label_tasks`) follow them."""


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
    participants = read_participants(manifest, raw, names)
    gone = {names.name(subject) for subject in read_withdrawn(manifest, raw)}
    if manifest.columns.recording:
        entries = list(_recordings(manifest, raw, participants, names, quarantine))
    else:
        found = _find_files(manifest, raw, names, quarantine)
        listed = set() if participants is None else set(participants.index)
        subjects = sorted({subject for subject, _ in found} | (listed if manifest.subjects == "table" else set()))
        for subject in subjects if participants is not None else ():
            if subject not in listed and subject not in gone:
                file = next(min(files.values()) for (name, _), files in sorted(found.items()) if name == subject)
                shown = names.conceal(file.relative_to(raw).as_posix(), subject)
                quarantine.add(Rejection(shown, subject, "not listed", "no row", "one in the participants table"))
        subjects = [subject for subject in subjects if participants is None or subject in listed]
        entries = list(_visits(manifest, raw, subjects, participants, names, found))
    everybody = {entry.subject for entry in entries}
    entries = [entry for entry in entries if entry.subject not in gone]
    if not entries:
        expected = manifest.files.ecg or manifest.files.cmr
        raise ValueError(f"{raw}: the cohort {manifest.name} is empty; expected files like {expected}")
    return Listing(_with_checksums(manifest, raw, entries), participants, quarantine, len(everybody & gone), names)


def read_participants(manifest: Manifest, raw: Path, names: Pseudonyms) -> pd.DataFrame | None:
    """The participants table by the names of its subjects or recordings, None where the cohort has none."""
    if not manifest.tables.participants:
        return None
    columns = manifest.columns
    table = tables.read_table(
        raw / manifest.tables.participants, key=columns.recording or columns.subject, rename=names.name
    )
    wanted = [columns.age, columns.sex, columns.height, columns.weight, columns.systolic, manifest.split.column]
    wanted += [columns.subject if columns.recording else None, *manifest.labels.columns.values()]
    for name in filter(None, [*wanted, manifest.ed_column, manifest.es_column]):
        if name not in table:
            raise ValueError(f"{raw / manifest.tables.participants}: no column {name!r}, which the manifest names")
    return table


def read_withdrawn(manifest: Manifest, raw: Path) -> set[str]:
    """Identifiers of subjects who withdrew; empty where the cohort has no list of them, or none yet."""
    name = manifest.tables.withdrawn
    return tables.read_withdrawn(raw / name) if name and (raw / name).is_file() else set()


def subject_table(
    manifest: Manifest,
    raw: Path,
    listing: Listing,
    sizes: CohortConfig,
    seed: int,
    whole_icd_list: bool = True,
    kept: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Row of the store's `subjects.csv` for every entry: split, covariates, labels, phenotypes; missing where unknown.

    `kept` are splits that subjects have already, see `mmcl.data.splits.split_by_fractions`.
    """
    entries = listing.entries
    table = pd.DataFrame(
        {"subject": [entry.subject for entry in entries], "visit": [entry.visit for entry in entries], "flags": ""}
    )
    labels = [name for task in label_tasks(manifest.labels).values() for name in task]
    columns = list(dict.fromkeys([*COLUMNS, *labels]))
    if manifest.columns.recording:
        known = table[["visit"]].join(_facts(manifest, raw, listing, None, whole_icd_list), on="visit")
    else:
        parts = []
        for visit in dict.fromkeys(table["visit"]):
            rows = table.loc[table["visit"] == visit, ["subject"]]
            parts.append(rows.join(_facts(manifest, raw, listing, int(visit), whole_icd_list), on="subject"))
        known = pd.concat(parts).sort_index()
    known = known.join(_from_files(manifest, entries), how="left")
    table = table.join(known.drop(columns=["subject", "visit"], errors="ignore")).reindex(columns=columns)
    table["split"] = _split(manifest, table, listing, sizes, seed, kept)
    return table


def _facts(manifest: Manifest, raw: Path, listing: Listing, visit: int | None, whole_icd_list: bool) -> pd.DataFrame:
    """Covariates, labels and phenotypes that tables hold of a visit, or of each recording where `visit` is None."""
    people, names, rule = listing.participants, listing.names, manifest.labels
    subjects = {entry.subject for entry in listing.entries}
    read = {"key": manifest.columns.subject, "rename": names.name, "subjects": subjects}
    parts = []
    if people is not None:
        named = any((manifest.columns.age, manifest.columns.sex, manifest.columns.height, manifest.columns.recording))
        parts.append(_named_covariates(manifest, people) if named else tables.covariates(people, visit))
        if rule.rule == "columns":
            parts.append(_zero_or_one(people, rule.columns))
        elif rule.rule == "ptbxl":
            parts.append(ptbxl.superclasses(people["scp_codes"], raw / manifest.tables.statements))
    if rule.rule == "records":
        records = tables.read_table(raw / manifest.tables.records, record_fields(rule), **read)
        dates = None if people is None else tables.attendance(people, visit)
        parts.append(label_visits(records, dates, visit, rule, whole_icd_list))
    if manifest.tables.phenotypes:
        wanted = [name for measure in PHENOTYPES for name in (measure.field, measure.name)]
        table = tables.read_table(raw / manifest.tables.phenotypes, wanted, **read)
        parts.append(tables.phenotypes(table, visit))
    return pd.concat(parts, axis=1) if parts else pd.DataFrame()


def _named_covariates(manifest: Manifest, people: pd.DataFrame) -> pd.DataFrame:
    """Covariates from the columns that the manifest names, one row a row of the table."""
    columns = manifest.columns
    found = {
        name: tables.to_numbers(people[column])
        for name in ("age", "height", "weight", "systolic")
        if (column := getattr(columns, name))
    }
    if manifest.labels.rule == "ptbxl" and "age" in found:
        found["age"] = ptbxl.age(found["age"])
    if columns.sex:
        text = people[columns.sex].astype(object).where(people[columns.sex].notna(), "").astype(str)
        text = text.str.strip().str.lower().str.removesuffix(".0")
        known = {word.lower(): code for code, words in enumerate((columns.female, columns.male)) for word in words}
        unknown = text[~text.isin([*known, "", "nan", "unknown", "other"])]
        if len(unknown):
            raise ValueError(f"{unknown.index[0]}: sex is {unknown.iloc[0]!r}, expected one of {', '.join(known)}")
        found["sex"] = text.map(known).astype("Int64")
    if {"height", "weight"} <= set(found):
        found["bsa"] = tables.body_surface(found["height"], found["weight"])
    return pd.DataFrame(found, index=people.index)


def _zero_or_one(people: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    labels = {}
    for name, column in columns.items():
        values = tables.to_numbers(people[column])
        wrong = values[values.notna() & ~values.isin((0, 1))]
        if len(wrong):
            raise ValueError(f"{wrong.index[0]}: {column} is {wrong.iloc[0]:g}, expected 0, 1 or nothing")
        labels[name] = values.astype("Int64")
    return pd.DataFrame(labels, index=people.index)


def _from_files(manifest: Manifest, entries: list[Entry]) -> pd.DataFrame:
    """What the raw files themselves say of the subjects of cohorts without tables; a row an entry.

    A file that cannot be read says nothing here, and its reader will say why.
    """
    rows: list[dict[str, object]] = []
    for entry in entries if manifest.labels.rule in ("cinc", "acdc") else ():
        row: dict[str, object] = {}
        try:
            if manifest.labels.rule == "cinc":
                said = cinc.read_comments(entry.files["ecg"], entry.subject)
                row = {"age": said.age, "sex": said.sex, **cinc.diagnoses(said.codes)}
            else:
                patient = acdc.read_patient(entry.files["cmr"], entry.subject)
                row = {"height": patient.height, "weight": patient.weight}
                row["bsa"] = tables.body_surface(patient.height, patient.weight)
                row |= {name: int(name == patient.group) for name in acdc.GROUPS} if patient.group else {}
        except Unusable:
            pass
        rows.append(row)
    found = pd.DataFrame(rows, index=range(len(rows)))
    whole = [name for name in found if name not in COVARIATES or name == "sex"]
    return found.astype(dict.fromkeys(whole, "Int64"))


def _split(
    manifest: Manifest,
    table: pd.DataFrame,
    listing: Listing,
    sizes: CohortConfig,
    seed: int,
    kept: Mapping[str, str] | None,
) -> np.ndarray:
    rule, names = manifest.split, listing.names
    # Who is in which split depends on the subjects alone, not on the key of their pseudonyms.
    subjects = [names.identifier(subject) for subject in table["subject"]]
    if rule.rule == "profile":
        return split_by_sizes(subjects, (sizes.train, sizes.validation, sizes.test), seed)
    if rule.rule == "column":
        meanings = {value.lower(): name for name in ("train", "validation", "test") for value in getattr(rule, name)}
        key = table["visit"] if manifest.columns.recording else table["subject"]
        values = listing.participants.loc[key, rule.column].astype(str).str.removesuffix(".0")
        return split_by_column(table["subject"], values, meanings)
    for name in rule.stratify:
        if name not in table:
            raise ValueError(f"split.stratify: {name!r} is no column of the store; it has {', '.join(table)}")
    strata = ["/".join(row) for row in zip(*(_levels(table[name]) for name in rule.stratify), strict=True)]
    kept = {names.identifier(subject): split for subject, split in (kept or {}).items() if subject in names}
    return split_by_fractions(subjects, rule.fractions, seed, strata or None, kept)


def _levels(values: pd.Series) -> list[str]:
    """The level of every value: itself, or its quarter where there are more than four; "-" where it is missing."""
    numbers = pd.to_numeric(values, errors="coerce").astype(float)
    if numbers.notna().any() and numbers.nunique() > 4:
        edges = numbers.quantile([0.25, 0.5, 0.75]).to_numpy()
        return ["-" if np.isnan(value) else str(int(np.searchsorted(edges, value))) for value in numbers]
    return ["-" if pd.isna(value) else str(value) for value in values]


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

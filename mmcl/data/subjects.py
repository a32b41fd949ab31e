"""What is known of the subjects of a cohort apart from images and signals: split, covariates, labels, phenotypes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.config import DISEASES, CohortConfig
from mmcl.data import acdc, cinc, ptbxl, tables
from mmcl.data.cohort import Entry, Listing
from mmcl.data.labels import label_tasks, label_visits, record_fields
from mmcl.data.manifest import Manifest
from mmcl.data.quarantine import Unusable
from mmcl.data.splits import split_by_column, split_by_fractions, split_by_sizes
from mmcl.phenotypes import PHENOTYPES

_log = logging.getLogger(__name__)

COVARIATES = ("age", "sex", "height", "weight", "bsa", "systolic")
COLUMNS = (
    *("subject", "visit", "split", "flags", *COVARIATES),
    *DISEASES,
    *(measure.name for measure in PHENOTYPES),
)
"""Columns of a store's `subjects.csv`; covariates in the units of `mmcl.data.tables.covariates`, diseases 0 or 1.

Other labels of the cohort (`mmcl.data.labels.label_tasks`) follow them."""


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
    held = _read_tables(manifest, raw, listing)
    if manifest.columns.recording:
        known = table[["visit"]].join(_facts(manifest, raw, listing, held, None, whole_icd_list), on="visit")
    else:
        parts = []
        for visit in dict.fromkeys(table["visit"]):
            rows = table.loc[table["visit"] == visit, ["subject"]]
            parts.append(rows.join(_facts(manifest, raw, listing, held, int(visit), whole_icd_list), on="subject"))
        known = pd.concat(parts).sort_index()
    known = known.join(_from_files(manifest, entries), how="left")
    table = table.join(known.drop(columns=["subject", "visit"], errors="ignore")).reindex(columns=columns)
    table["split"] = _split(manifest, table, listing, sizes, seed, kept)
    return table


def _read_tables(manifest: Manifest, raw: Path, listing: Listing) -> dict[str, pd.DataFrame]:
    """The tables of records and phenotypes that the cohort has, of its subjects alone."""
    subjects = {entry.subject for entry in listing.entries}
    read = {"key": manifest.columns.subject, "rename": listing.names.name, "subjects": subjects}
    held = {}
    if manifest.labels.rule == "records":
        fields = record_fields(manifest.labels)
        held["records"] = tables.read_table(raw / manifest.tables.records, fields, **read)
    if manifest.tables.phenotypes:
        wanted = [name for measure in PHENOTYPES for name in (measure.field, measure.name)]
        held["phenotypes"] = tables.read_table(raw / manifest.tables.phenotypes, wanted, **read)
    return held


def _facts(
    manifest: Manifest,
    raw: Path,
    listing: Listing,
    held: dict[str, pd.DataFrame],
    visit: int | None,
    whole_icd_list: bool,
) -> pd.DataFrame:
    """Covariates, labels and phenotypes that tables hold of a visit, or of each recording where `visit` is None."""
    people, rule, first = listing.participants, manifest.labels, visit == manifest.visits[0]
    parts = []
    if people is not None:
        named = any((manifest.columns.age, manifest.columns.sex, manifest.columns.height, manifest.columns.recording))
        try:
            parts.append(_named_covariates(manifest, people) if named else tables.covariates(people, visit))
        except ValueError as error:
            raise ValueError(f"{raw / manifest.tables.participants}: {error}") from error
        if not named and first and (absent := tables.absent_fields(people, tables.COVARIATE_FIELDS, visit)):
            _log.warning("%s: no column of field %s", manifest.tables.participants, ", ".join(map(str, absent)))
        if rule.rule == "columns":
            parts.append(_zero_or_one(people, rule.columns))
        elif rule.rule == "ptbxl":
            parts.append(ptbxl.superclasses(people["scp_codes"], raw / manifest.tables.statements))
    if "records" in held:
        parts.append(_diseases(manifest, people, held["records"], visit, whole_icd_list))
    if "phenotypes" in held:
        found = tables.phenotypes(held["phenotypes"], visit)
        if first and (absent := list(found.columns[found.isna().all()])):
            what = f"{len(absent)} of {len(found.columns)} phenotypes: {', '.join(absent[:5])}"
            _log.warning("%s: no value of %s%s", manifest.tables.phenotypes, what, " ..." if absent[5:] else "")
        parts.append(found)
    return pd.concat(parts, axis=1) if parts else pd.DataFrame()


def _diseases(
    manifest: Manifest, people: pd.DataFrame | None, records: pd.DataFrame, visit: int, whole_icd_list: bool
) -> pd.DataFrame:
    """Labels from records; without dates of the visit nothing is prevalent or incident, as reports alone mislead."""
    rule = manifest.labels
    dates = None if people is None else tables.attendance(people, visit)
    known = label_visits(records, dates, visit, rule, whole_icd_list)
    if dates is None or dates.isna().all():
        if rule.timing != "any":
            expected = f"field {tables.ATTENDED}, the date of the visit, which timing: {rule.timing} needs"
            raise ValueError(f"{manifest.tables.participants}: expected {expected}")
        timed = [name for name in known if name.endswith(("_prevalent", "_incident"))]
        known[timed] = pd.NA
    return known


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

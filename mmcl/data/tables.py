"""Participant, phenotype and record tables in the shapes that UK Biobank has given out over the years.

Columns are `eid` and one per field, instance (visit) and array index, spelt `4080-2.0`, `f.4080.2.0` or `p4080_i2_a0`;
all are read as `4080-2.0`. Every cell is read as text, so that identifiers and codes stay what they are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from mmcl.phenotypes import PHENOTYPES

SEX, AGE, HEIGHT, WEIGHT, SYSTOLIC, ICD10, ATTENDED = 31, 21003, 50, 21002, 4080, 41270, 53
"""Fields: sex (0 female, 1 male), age at visit (y), standing height (cm), weight (kg), systolic pressure (mmHg),
ICD-10 codes, date of attending."""

COVARIATE_FIELDS = (SEX, AGE, HEIGHT, WEIGHT, SYSTOLIC, ATTENDED)
"""What is used of a table of participants."""

_SPELLINGS = (
    re.compile(r"(?P<field>\d+)-(?P<instance>\d+)(\.(?P<array>\d+))?"),
    re.compile(r"f\.(?P<field>\d+)(\.(?P<instance>\d+)(\.(?P<array>\d+))?)?"),
    re.compile(r"p(?P<field>\d+)(_i(?P<instance>\d+))?(_a(?P<array>\d+))?"),
)
_IDENTIFIERS = ("eid", "f.eid", "External code")
"""Columns that name the subject, the last in the table of M&Ms."""


def canonical_column(name: str) -> str:
    """`name` spelt `field-instance.array` if it is a field's column in any spelling, otherwise unchanged."""
    text = name.strip().removeprefix("participant.")
    for spelling in _SPELLINGS:
        if match := spelling.fullmatch(text):
            return f"{match['field']}-{match['instance'] or 0}.{match['array'] or 0}"
    return text


def read_table(
    path: Path,
    fields: Iterable[int | str] | None = None,
    key: str | None = None,
    rename: Callable[[str], str] = str,
    subjects: Collection[str] | None = None,
) -> pd.DataFrame:
    """A table as text, indexed by subject, columns spelt `field-instance.array`; other columns keep their names.

    Tabs or commas separate the cells, whichever the header has. `fields` keeps only these fields or columns, which a
    table of thousands of columns needs, and `subjects` only these subjects, which one of half a million rows needs.
    `key` names the column of subjects where it is none of the usual; `rename` gives the names by which they are known
    here, in errors too. A subject on two equal rows counts once. Raises ValueError naming the file, and the subject
    where two rows of it differ.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such table")
    wanted = None if fields is None else {str(field) for field in fields}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter="\t" if "\t" in header else ",")
            columns, rows = _read_rows(reader, wanted, key, rename, subjects)
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    table = pd.DataFrame(rows, columns=["subject", *columns], dtype=object).drop_duplicates()
    if table["subject"].isna().any():
        raise ValueError(f"{path}: a row without a subject")
    repeated = table["subject"][table["subject"].duplicated()]
    if len(repeated):
        raise ValueError(f"{path}: subject {repeated.iloc[0]} on two rows that differ, expected one row")
    return table.set_index("subject")


def read_withdrawn(path: Path) -> set[str]:
    """Subjects who withdrew their consent: one identifier a line, in the first cell where there are several.

    A heading is passed over. ValueError for a line that begins with no single word: nobody who withdrew may be missed.
    """
    found = set()
    with open(path, encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter=","), start=1):
            cell = row[0].strip().strip("'").removesuffix(".0") if row else ""
            if re.search(r"\s", cell):
                raise ValueError(f"{path}: line {number} is {cell[:40]!r}, expected one identifier")
            found.add(cell)
    return found - {"", *_IDENTIFIERS}


def numbers(table: pd.DataFrame, field: int, visit: int) -> pd.Series:
    """A numeric field at a visit, float64 by subject: the mean of its arrays, NaN where missing or never asked."""
    columns = [name for name in table if name.startswith(f"{field}-{visit}.")]
    values = {}
    for name in columns:
        converted = pd.to_numeric(table[name], errors="coerce")
        wrong = table[name][converted.isna() & table[name].notna()]
        if len(wrong):
            raise ValueError(f"subject {wrong.index[0]}: {name} is {wrong.iloc[0]!r}, expected a number")
        values[name] = converted
    return pd.DataFrame(values, index=table.index, dtype="float64").mean(axis=1)


def to_numbers(column: pd.Series) -> pd.Series:
    """A column of text as float64; ValueError naming the subject for what is no number."""
    converted = pd.to_numeric(column, errors="coerce")
    wrong = column[converted.isna() & column.notna() & ~column.astype(str).str.lower().isin(("nan", "na", ""))]
    if len(wrong):
        raise ValueError(f"{wrong.index[0]}: {column.name} is {wrong.iloc[0]!r}, expected a number")
    return converted.astype(float)


def body_surface(height: pd.Series | float, weight: pd.Series | float) -> pd.Series | float:
    """Body surface area (m2) from cm and kg, after Du Bois & Du Bois (1916, Archives of Internal Medicine 17:863)."""
    return 0.007184 * weight**0.425 * height**0.725


def covariates(table: pd.DataFrame, visit: int) -> pd.DataFrame:
    """Age (y), sex (0 female, 1 male), height (cm), weight (kg), body surface area (m2), systolic pressure (mmHg)."""
    sex = numbers(table, SEX, 0)
    unknown = sex[sex.notna() & ~sex.isin((0, 1))]
    if len(unknown):
        raise ValueError(f"subject {unknown.index[0]}: sex is {unknown.iloc[0]:g}, expected 0 (female) or 1 (male)")
    height, weight = numbers(table, HEIGHT, visit), numbers(table, WEIGHT, visit)
    return pd.DataFrame(
        {
            "age": numbers(table, AGE, visit),
            "sex": sex.astype("Int64"),
            "height": height,
            "weight": weight,
            "bsa": body_surface(height, weight),
            "systolic": numbers(table, SYSTOLIC, visit),
        }
    )


def phenotypes(table: pd.DataFrame, visit: int) -> pd.DataFrame:
    """The 82 CMR phenotypes by name, in the units of `mmcl.phenotypes`, NaN where missing.

    A column is that of the field, or in a table that is not UK Biobank's one with the phenotype's name.
    """
    named = {measure.name: to_numbers(table[measure.name]) for measure in PHENOTYPES if measure.name in table}
    return pd.DataFrame({p.name: named.get(p.name, numbers(table, p.field, visit)) for p in PHENOTYPES})


def absent_fields(table: pd.DataFrame, fields: Iterable[int], visit: int) -> list[int]:
    """Those of `fields` of which the table has no column at the visit, or for the sex at the first."""
    wanted = {field: f"{field}-{0 if field == SEX else visit}." for field in fields}
    return [field for field, begin in wanted.items() if not any(name.startswith(begin) for name in table)]


def codes(table: pd.DataFrame) -> pd.DataFrame:
    """ICD-10 codes of hospital records, one column per array index, missing where a subject has fewer."""
    return table[[name for name in table if name.startswith(f"{ICD10}-")]]


def attendance(table: pd.DataFrame, visit: int) -> pd.Series:
    """Date of each visit as text by subject, missing for who did not come or where the table has no such field."""
    name = f"{ATTENDED}-{visit}.0"
    return table[name] if name in table else pd.Series(np.nan, table.index, dtype=object, name=name)


def _read_rows(
    reader: Iterator[list[str]],
    wanted: set[str] | None,
    key: str | None,
    rename: Callable[[str], str],
    subjects: Collection[str] | None,
) -> tuple[list[str], list[list]]:
    """Names of the columns kept, and rows of the subject and these columns, NaN for an empty cell.

    A row that is longer or shorter than the header is an error: shifted columns would be read as values.
    """
    header = [canonical_column(name) for name in next(reader, [])]
    known = _IDENTIFIERS if key is None else (key,)
    place = next((header.index(name) for name in known if name in header), None)
    if place is None:
        raise ValueError(f"no column {' or '.join(known)}; the header begins {header[:3]}")
    kept = [
        k
        for k, name in enumerate(header)
        if k != place and (wanted is None or name in wanted or name.partition("-")[0] in wanted)
    ]
    rows = []
    for number, row in enumerate(reader, start=2):
        if row and len(row) != len(header):
            raise ValueError(f"line {number} has {len(row)} cells, the header {len(header)}")
        if not row:
            continue
        subject = row[place].strip()
        name = rename(subject) if subject else np.nan
        if subjects is None or not subject or name in subjects:
            rows.append([name, *(row[k].strip() or np.nan for k in kept)])
    return [header[k] for k in kept], rows

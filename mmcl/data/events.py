"""Dated events from the wide tables of UK Biobank: which subject has which code, since when.

| kind | codes | when |
|---|---|---|
| `icd10`, `icd9`, `operations` | 41270, 41271, 41272 | 41280, 41281, 41282: date of the first record of that code |
| `self_report`, `reported_operations` | 20002, 20004, at each instance | 20008, 20010: year, interpolated |

Code and date are matched by instance and array index. A cell may also hold all codes of a subject (`I10|I251` or
`["I10","I251"]`, as the Research Analysis Platform writes 41270), which are then numbered from 0. What stands for no
date leaves an event undated: an empty cell, no such column, the years -1 (unknown) and -3 (no answer), and the dates in
PLACEHOLDERS. Any other text that is no date is an error.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

FIELDS = {
    "icd10": (41270, 41280),
    "icd9": (41271, 41281),
    "operations": (41272, 41282),
    "self_report": (20002, 20008),
    "reported_operations": (20004, 20010),
}
"""Fields of codes and of their dates."""

REPORTED = ("self_report", "reported_operations")
"""Kinds that participants report at a visit; their times are years."""

PLACEHOLDERS = ("1900-01-01", "1909-09-09", "2037-07-07")
"""Unknown or impossible dates in UK Biobank (data-codings 272 and 819, recalled). 1901-01-01, 1902-02-02 and 1903-03-03
mean before, at or soon after birth: they stay, being earlier than any visit."""

DAYS_A_YEAR = 365.25
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class Events:
    """Arrays of one length: `row` of the table, `mask` (bit d: disease d), `day` (datetime64[D], NaT where undated) and
    `instance` at which it was reported, -1 for hospital records."""

    row: np.ndarray
    mask: np.ndarray
    day: np.ndarray
    instance: np.ndarray


def find_events(records: pd.DataFrame, kinds: Iterable[str], stands_for: Callable[[str, str], int]) -> Events:
    """All events of these kinds in a table as `read_table` gives it.

    `stands_for(code, kind)` gives the bits of the diseases that a code stands for, 0 for none, and raises ValueError
    for what is no code, which is raised anew with the subject's name.
    """
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, "M8[D]"), np.empty(0, np.int64))]
    for kind in kinds:
        field, when = FIELDS[kind]
        known: dict[str, int] = {}
        for name, instance, array in field_columns(records, field):
            for place, rows, texts in _split(records[name], array):
                marks = mark(texts, known, lambda code, kind=kind: stands_for(code, kind))
                hits = np.flatnonzero(marks)
                at = rows[hits]
                day = _days(records, f"{when}-{instance}.{place}", at, kind)
                reported = np.full(len(at), instance if kind in REPORTED else -1)
                parts.append((at, marks[hits], day, reported))
    return Events(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def field_columns(records: pd.DataFrame, field: int) -> list[tuple[str, int, int]]:
    """Name, instance and array index of every column of a field."""
    shape = re.compile(rf"{field}-(\d+)\.(\d+)")
    matches = ((name, shape.fullmatch(str(name))) for name in records.columns)
    return [(name, int(match[1]), int(match[2])) for name, match in matches if match]


def mark(column: pd.Series, known: dict[str, int], bits: Callable[[str], int]) -> np.ndarray:
    """Bits of the code in each cell (int64), 0 in an empty one; each distinct code is asked for once, and kept in
    `known`. ValueError names the subject, from the column's index."""
    places, codes = pd.factorize(column)
    values = np.zeros(len(codes) + 1, np.int64)  # the last for empty cells, whose place is -1
    for k, code in enumerate(codes):
        if code not in known:
            try:
                known[code] = bits(code) if str(code).strip() else 0
            except ValueError as error:
                subject = column.index[np.flatnonzero(places == k)[0]]
                raise ValueError(f"subject {subject}: {error}") from error
        values[k] = known[code]
    return values[places]


def days(column: pd.Series) -> np.ndarray:
    """ISO dates in text as datetime64[D], NaT for empty cells and PLACEHOLDERS; ValueError names the subject."""
    return _convert(column, _day, "a date such as 2015-03-28")


def years(column: pd.Series) -> np.ndarray:
    """Years in text, with decimals, as datetime64[D]; NaT for empty cells, -1 and -3. ValueError names the subject."""
    return _convert(column, _year, "a year from 1900 to 2099, or -1 or -3")


def _split(column: pd.Series, array: int) -> Iterator[tuple[int, np.ndarray, pd.Series]]:
    """Array index, rows and cells of a column: itself, or a part for every place in cells that list several codes."""
    listed = np.zeros(len(column), bool)
    if array == 0 and len(column):
        places, cells = pd.factorize(column)
        several = np.array([*("|" in str(cell) or str(cell).startswith("[") for cell in cells), False])
        listed = several[places]
    if not listed.any():
        yield array, np.arange(len(column)), column
        return
    yield array, np.flatnonzero(~listed), column[~listed]
    lists = column[listed].astype(str).str.strip("[] ").str.replace('"', "").str.split(r"[|,]", regex=True)
    rows, sizes = np.flatnonzero(listed), lists.str.len().to_numpy()
    place = np.concatenate([np.arange(size) for size in sizes])
    row, text = np.repeat(rows, sizes), lists.explode()
    for k in range(sizes.max()):
        yield k, row[place == k], text[place == k]


def _days(records: pd.DataFrame, name: str, rows: np.ndarray, kind: str) -> np.ndarray:
    if name not in records:
        return np.full(len(rows), np.datetime64("NaT", "D"))
    return (years if kind in REPORTED else days)(records[name].iloc[rows])


def _convert(column: pd.Series, parse: Callable[[str], datetime.date | None], expected: str) -> np.ndarray:
    places, texts = pd.factorize(column)
    values = np.full(len(texts) + 1, np.datetime64("NaT", "D"))
    for k, text in enumerate(texts):
        try:
            values[k] = parse(str(text).strip())
        except ValueError as error:
            subject = column.index[np.flatnonzero(places == k)[0]]
            raise ValueError(f"subject {subject}: {column.name} is {str(text)[:40]!r}, expected {expected}") from error
    return values[places]


def _day(text: str) -> datetime.date | None:
    if not text or text in PLACEHOLDERS:
        return None
    if not _DATE.fullmatch(text):
        raise ValueError(text)
    return datetime.date.fromisoformat(text)


def _year(text: str) -> datetime.date | None:
    if not text or (year := float(text)) in (-1, -3):
        return None
    if not 1900 <= year < 2100:
        raise ValueError(text)
    return datetime.date(int(year), 1, 1) + datetime.timedelta(days=int(year % 1 * DAYS_A_YEAR))

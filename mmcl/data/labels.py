"""Diseases from hospital records and from what participants report, at a visit of UK Biobank.

The code lists are in `labels.yaml`. A list holds categories or subcategories, and a code counts when one of them is its
beginning, so that no subdivision is lost. The published list of coronary artery disease enumerates codes, and a missing
comma in it joins I24.9 and I25.0 into a code that does not exist; here both count, unless the choice `whole_icd_list`
of a preset is off (method section 11).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from mmcl.config import DISEASES
from mmcl.data.acdc import GROUPS
from mmcl.data.cinc import SCORED
from mmcl.data.events import DAYS_A_YEAR, FIELDS, Events, days, field_columns, find_events, mark
from mmcl.data.manifest import LabelRule
from mmcl.data.ptbxl import SUPERCLASSES
from mmcl.unique_keys import UniqueKeys

FILE = Path(__file__).with_suffix(".yaml")

SHAPES = {
    "icd10": ("ICD-10", re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?"), "I251 or I25.1"),
    "icd9": ("ICD-9", re.compile(r"(\d{3}|V\d\d|E\d{3})(\.?[0-9A-Z]{1,3})?"), "4109 or 410.9"),
    "self_report": ("self-report", re.compile(r"\d{4,5}"), "1075"),
    "operations": ("OPCS-4", re.compile(r"[A-Z]\d\d(\.?[0-9A-Z]{1,2})?"), "K401 or K40.1"),
    "reported_operations": ("reported operation", re.compile(r"\d{4,5}"), "1095"),
}
"""Of each kind of list: its name for a reader, the shape of a code in capitals, and an example."""

JOINED = ("I249", "I250")
"""Neighbours in the published list of CAD codes that the missing comma joins: neither is found in a record then."""


@dataclass(frozen=True)
class CodeList:
    """Prefixes without dots (`I25`, `I252`), who published them, and whether they were written down from memory."""

    codes: tuple[str, ...]
    source: str
    recalled: bool = False


def bare(code: str, kind: str) -> str:
    """`code` in capitals and without its dot; ValueError for what is no code of this kind."""
    name, shape, example = SHAPES[kind]
    text = str(code).strip().upper()
    if not shape.fullmatch(text):
        raise ValueError(f"{str(code)[:40]!r} is no {name} code; expected one such as {example}")
    return text.replace(".", "")


def diseases(code: str, kind: str = "icd10", whole_icd_list: bool = True) -> tuple[str, ...]:
    """Diseases that a code stands for, in the order of `labels.yaml`: none for most codes, CAD and MI for I21.

    ValueError for what is no code. Without `whole_icd_list` (preset `paper`) I24.9 and I25.0 do not stand for CAD.
    """
    text = bare(code, kind)
    lost = "CAD" if kind == "icd10" and not whole_icd_list and text in JOINED else None
    return tuple(
        name
        for name, lists in code_lists().items()
        if kind in lists and name != lost and text.startswith(lists[kind].codes)
    )


def label_subjects(records: pd.DataFrame, whole_icd_list: bool = True) -> pd.DataFrame:
    """CAD, AF and DM (0 or 1) per subject, on record at any time.

    `records` (subjects, codes) has one row per subject, its index, and any number of columns of ICD-10 codes, missing
    where a subject has fewer. A subject who is not in the table has no label, rather than the label 0. Without
    `whole_icd_list` (preset `paper`) I24.9 and I25.0 make nobody a case.
    """
    found, known = np.zeros(len(records), np.int64), {}
    for name in records:
        found |= mark(records[name], known, lambda code: _bits(code, "icd10", whole_icd_list))
    names = list(code_lists())
    return pd.DataFrame({name: found >> names.index(name) & 1 for name in DISEASES}, index=records.index)


def record_fields(rule: LabelRule) -> tuple[int, ...]:
    """Fields of codes and dates that the rule's sources need: what to read of a table of records."""
    return tuple(field for kind in _kinds(rule) for field in FIELDS[kind])


def label_visits(
    records: pd.DataFrame, dates: pd.Series | None, visit: int, rule: LabelRule, whole_icd_list: bool = True
) -> pd.DataFrame:
    """Every disease of `labels.yaml` at a visit, 0 or 1 (Int64), by the rule's sources.

    `records` is a table as `read_table` gives it, `dates` the ISO date of the visit by subject, missing where it is not
    known. There is a row for every subject of `dates`, or of `records` without `dates`; who is not in `records` has no
    label. Columns, for CAD and alike for the others:

    - `CAD_prevalent`: an event dated on or before the visit, or reported at this instance or an earlier one. Otherwise
      missing for whom an event has no date, and for all if the date of the visit is not known.
    - `CAD_incident`: the first event is after the visit. Missing for whom it is prevalent or prevalence is. An event
      later than the rule's `horizon` counts as none. Who has no event, and whose records do not reach beyond the visit,
      or its horizon, by `censored`, has no label. Death is not looked at.
    - `CAD`: as the rule's `timing` says one of these, or on record at `any` time.

    Records end on the day `censored`: an event dated later does not count. Raises ValueError that names the subject for
    what is no code or no date (`mmcl.data.events`), and the source whose fields the table lacks.
    """
    for source in rule.sources:
        fields = [FIELDS[kind][0] for kind in _kinds(rule) if kind in _SOURCES[source]]
        if not any(field_columns(records, field) for field in fields):
            raise ValueError(f"table of records: no column of field {fields[0]}, which the source {source} needs")
    events = find_events(records, _kinds(rule), lambda code, kind: _bits(code, kind, whole_icd_list))
    attended = np.full(len(records), np.datetime64("NaT", "D"))
    if dates is not None:
        attended = days(dates.reindex(records.index).rename("the date of the visit"))
    columns = {}
    for bit, name in enumerate(code_lists()):
        columns |= _timed(name, _of_disease(events, bit), attended, visit, rule)
    order = [name + part for part in ("", "_prevalent", "_incident") for name in code_lists()]
    table = pd.DataFrame(columns, index=records.index)[order]
    return table if dates is None else table.reindex(dates.index)


def label_tasks(rule: LabelRule) -> dict[str, tuple[str, ...]]:
    """Names of the binary labels that a rule gives, by task."""
    names = tuple(code_lists())
    return {
        "records": {
            "risk": DISEASES,
            "prevalent": tuple(f"{name}_prevalent" for name in names),
            "incident": tuple(f"{name}_incident" for name in names),
        },
        "ptbxl": {"superclasses": SUPERCLASSES},
        "cinc": {"diagnoses": tuple(SCORED)},
        "acdc": {"groups": GROUPS},
        "columns": {"labels": tuple(rule.columns)},
        "none": {},
    }[rule.rule]


_SOURCES = {
    "icd10": ("icd10",),
    "icd9": ("icd9",),
    "self_report": ("self_report",),
    "operations": ("operations", "reported_operations"),
}


def _kinds(rule: LabelRule) -> tuple[str, ...]:
    return tuple(dict.fromkeys(kind for source in rule.sources for kind in _SOURCES[source]))


def _bits(code: str, kind: str, whole_icd_list: bool) -> int:
    """Bit d for the d-th disease of `labels.yaml`."""
    found = diseases(code, kind, whole_icd_list)
    return sum(1 << bit for bit, name in enumerate(code_lists()) if name in found)


def _of_disease(events: Events, bit: int) -> Events:
    chosen = (events.mask >> bit & 1).astype(bool)
    return Events(events.row[chosen], events.mask[chosen], events.day[chosen], events.instance[chosen])


def _timed(name: str, events: Events, attended: np.ndarray, visit: int, rule: LabelRule) -> dict[str, pd.array]:
    """The three columns of one disease from its `events`; `attended` (n,) is the day of each subject's visit."""
    n, end = len(attended), None if rule.censored is None else np.datetime64(rule.censored, "D")
    # Comparisons with NaT are false: undated events stay, and nothing is before or after a visit without a date.
    counts = np.ones(len(events.row), bool) if end is None else ~(events.day > end)
    dated = counts & ~np.isnat(events.day)
    reported = counts & (events.instance >= 0) & (events.instance <= visit)
    ever, before, unsure = (np.zeros(n, bool) for _ in range(3))
    ever[events.row[counts]] = True
    before[events.row[reported]] = True
    unsure[events.row[counts & ~dated]] = True
    never = np.iinfo(np.int64).max
    first = np.full(n, never)
    np.minimum.at(first, events.row[dated], events.day[dated].astype(np.int64))
    day = np.where(np.isnat(attended), 0, attended.astype(np.int64))
    before |= (first <= day) & ~np.isnat(attended)
    hidden = ~before & (unsure | np.isnat(attended))
    reach = day if rule.horizon is None else day + round(rule.horizon * DAYS_A_YEAR)
    after = (first != never) & ((first <= reach) if rule.horizon is not None else True)
    lost = np.zeros(n, bool) if end is None else (first == never) & (reach + (rule.horizon is None) > end.astype(int))
    prevalent, incident = (before, hidden), (after, before | hidden | lost)
    chosen = {"any": (ever, np.zeros(n, bool)), "prevalent": prevalent, "incident": incident}[rule.timing]
    made = {name: chosen, f"{name}_prevalent": prevalent, f"{name}_incident": incident}
    return {
        key: pd.arrays.IntegerArray(is_so.astype(np.int64), missing.copy()) for key, (is_so, missing) in made.items()
    }


@functools.cache
def code_lists() -> dict[str, dict[str, CodeList]]:
    """Disease -> kind -> list, from `labels.yaml`, validated."""
    return read_code_lists(FILE)


def read_code_lists(path: Path) -> dict[str, dict[str, CodeList]]:
    """Disease -> kind -> list of a file like `labels.yaml`.

    ValueError names the file and what is wrong: a key that is unknown or there twice, a list that is empty or has no
    source, a code that is malformed, there twice, or contained in another of its list.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), UniqueKeys)  # a subclass of yaml.SafeLoader
        if not isinstance(content, dict) or not content:
            raise ValueError(f"{type(content).__name__}, expected a mapping of diseases")
        return {str(name): _lists(name, lists) for name, lists in content.items()}
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def _lists(disease: Any, lists: Any) -> dict[str, CodeList]:
    if not isinstance(lists, dict) or not lists:
        raise ValueError(f"{disease} is {lists!r}, expected lists of codes")
    if unknown := [kind for kind in lists if kind not in SHAPES]:
        raise ValueError(f"{disease}: unknown key {unknown[0]!r}; known are {', '.join(SHAPES)}")
    return {kind: _list(f"{disease}.{kind}", kind, entry) for kind, entry in lists.items()}


def _list(where: str, kind: str, entry: Any) -> CodeList:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is {entry!r}, expected codes and source")
    if unknown := [key for key in entry if key not in ("codes", "source", "recalled")]:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; known are codes, source, recalled")
    given, source, recalled = entry.get("codes"), entry.get("source"), entry.get("recalled", False)
    if not isinstance(given, list) or not given or not all(isinstance(code, str) for code in given):
        raise ValueError(f"{where}.codes is {given!r}, expected a list of texts")
    if not isinstance(source, str) or not isinstance(recalled, bool):
        raise ValueError(f"{where}: expected a text as source, and true or false as recalled")
    try:
        codes = tuple(bare(code, kind) for code in given)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    for k, code in enumerate(codes):
        if code in codes[:k]:
            raise ValueError(f"{where}: {code} is there twice")
        if wider := [other for other in codes if other != code and code.startswith(other)]:
            raise ValueError(f"{where}: {code} is contained in {wider[0]}")
    return CodeList(codes, source, recalled)

"""The folder of a user of UK Biobank: bulk files of the imaging visit, tables in its spelling, a withdrawal list.

| file | holds |
|---|---|
| `ecg/<eid>_20205_2_0.xml` | resting ECG, GE CardioSoft (`mmcl.simulation.cardiosoft`) |
| `cmr/<eid>_20209_2_0.zip` | short-axis cine, DICOM (`mmcl.simulation.dicom`) |
| `participants.tsv` | 31 sex, 34 and 52 year and month of birth; of each visit 53 its day, |
| | 21003 age, 50 height, 21002 weight, 4079 and 4080 blood pressure |
| `phenotypes.tsv` | 24100 to 24181 |
| `records.tsv` | 41270/41280 ICD-10 and days, 41271/41281 ICD-9, 41272/41282 operations (OPCS-4), |
| | 20002/20008 illnesses and 20004/20010 operations that people report, with their decimal year |
| `withdrawn.txt` | who withdrew, one identifier a line |

Subjects keep their names, where UK Biobank's have seven digits. Age is in whole years, blood pressure two whole
readings. Every tenth subject comes again (instance 3): files, body and phenotypes are those of the first visit under
another name, for no second visit is simulated. What people report, and operations, add to a diagnosis on record and
never stand alone, so that ICD-10 and all sources together give the same disease on record.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmcl.simulation import cardiosoft
from mmcl.simulation.cardiosoft import write_cardiosoft
from mmcl.simulation.dicom import Oddities, write_dicom_zip
from mmcl.simulation.layouts.source import Oddity, Source, Subject, in_turn, millivolts
from mmcl.simulation.records import CODES, DISEASE_OF, FIRST_RECORD, LAST_VISIT, between, draws, pick

ICD9 = {"CAD": ("4149", "4139", "4109"), "AF": ("4273",), "DM": ("25000", "25009"), "hypertension": ("4019",)}
"""ICD-9 codes of records before 1997, commonest first."""

OPERATIONS = {"CAD": ("K751", "K491", "K401", "K453", "K502"), "AF": ("K621", "X501", "K571")}
"""OPCS-4: stents, balloons and bypasses of coronary arteries; ablation and cardioversion."""

REPORTED = {"CAD": ("1074", "1075"), "AF": ("1471", "1483"), "DM": ("1223", "1220"), "hypertension": ("1065",)}
"""Self-reported illness, coding 6: angina, heart attack; fibrillation, flutter; diabetes type 2, diabetes; pressure."""

REPORTED_OPERATIONS = {"CAD": ("1070", "1095"), "AF": ("1524",)}
"""Self-reported operations, coding 5: angioplasty, bypass; cardioversion."""

SHARE_REPORTED, SHARE_EARLY, SHARE_OPERATED = 0.7, 0.1, 0.4
"""Of the diagnoses before the visit: reported by the person, on record by ICD-9 already; and of all: operated on."""

SPELLINGS = ("showcase", "r", "rap")
"""`4080-2.0`, `f.4080.2.0` and `p4080_i2_a0`, as the showcase, ukbconv and the research analysis platform spell it."""

_ECG = {
    "comma": "same",
    "case": "same",
    "missing": "mended",
    "short": "mended",
    "gap": "mended",
    "utf16": "same",
    "declared": "same",
    "disclosure": "quarantine",
    "empty": "quarantine",
}
_CMR: dict[str, tuple[str, str, Callable[[int, int], Oddities]]] = {
    "repeated": ("the middle slice was taken before, displaced", "flag", lambda s, f: Oddities(repeated=(s // 2,))),
    "broken": ("the middle slice was begun again", "flag", lambda s, f: Oddities(broken_repeats=(s // 2,))),
    "frames": ("the middle slice lacks its last frame", "mended", lambda s, f: Oddities(missing=((s // 2, f - 1),))),
    "apex": ("another slice lacks a frame", "same", lambda s, f: Oddities(missing=((s - 1, 0),))),
    "inline": ("a series of drawn contours", "same", lambda s, f: Oddities(inline=True)),
    "mixed": ("all slices in one series", "same", lambda s, f: Oddities(mixed=True)),
    "cropped": ("one slice of a smaller matrix", "flag", lambda s, f: Oddities(cropped=(1,))),
    "renamed": ("two slices have changed names", "flag", lambda s, f: Oddities(renamed=(1, 3, 2, *range(4, s + 1)))),
    "bare": ("no preamble", "same", lambda s, f: Oddities(bare=True)),
    "shuffled": ("in no order, the list misspelt", "same", lambda s, f: Oddities(shuffled=True, misspelt=True)),
    "turned": ("stored upside down and mirrored", "flag", lambda s, f: Oddities(turned=True)),
    "lost": ("the zip is missing", "quarantine", lambda s, f: Oddities()),
    "cut": ("the zip ends half-way", "quarantine", lambda s, f: Oddities()),
    "few": ("six slices, which do not cover the heart", "quarantine", lambda s, f: Oddities()),
}

ODDITIES = {f"ecg:{name}": Oddity(cardiosoft.ODDITIES[name], outcome) for name, outcome in _ECG.items()} | {
    f"cmr:{name}": Oddity(what, outcome) for name, (what, outcome, _) in _CMR.items()
}

_REPEATED = 10
_ARRAYED = {4079, 4080, 20002, 20004, 20008, 20010, 41270, 41271, 41272, 41280, 41281, 41282}
_ONCE = {31, 34, 52, 41270, 41271, 41272, 41280, 41281, 41282}
_GONE = ("sim9999991", "sim9999992")


def write_ukb(
    source: Source,
    folder: Path,
    oddities: tuple[str, ...] = (),
    spelling: str = "showcase",
    separator: str = "\t",
    withdrawn: tuple[str, ...] = (),
) -> None:
    """Write the whole folder; the files of each subject in turn have one of `oddities`.

    `spelling` of columns is one of SPELLINGS, `separator` tab or comma. The list of those who withdrew holds two
    subjects that are in no table, and `withdrawn`.
    """
    if spelling not in SPELLINGS or separator not in ("\t", ","):
        raise ValueError(f"spelling {spelling!r}, separator {separator!r}: expected {', '.join(SPELLINGS)}; tab, comma")
    for name in ("ecg", "cmr"):
        (folder / name).mkdir(parents=True)
    for subject in source.subjects():
        _write_bulk(subject, folder, oddities)
    tables = {"participants": _participants(source), "phenotypes": _phenotypes(source), "records": _records(source)}
    for name, rows in tables.items():
        _write_table(folder / f"{name}.tsv", rows, spelling, separator)
    lines = "".join(f"{eid}\n" for eid in (*_GONE, *withdrawn))
    (folder / "withdrawn.txt").write_text(lines, encoding="utf-8")


def comes_again(index: int) -> bool:
    """Whether the subject `index` has a repeat visit."""
    return index % _REPEATED == 3


def spelt(column: str, spelling: str) -> str:
    """A column `field-instance.array` in one of SPELLINGS, and `eid`."""
    if spelling == "showcase" or (column == "eid" and spelling == "rap"):
        return column
    if column == "eid":
        return "f.eid"
    field, _, rest = column.partition("-")
    instance, _, array = rest.partition(".")
    if spelling == "r":
        return f"f.{field}.{instance}.{array}"
    once, arrayed = int(field) in _ONCE, int(field) in _ARRAYED
    return f"p{field}" + ("" if once else f"_i{instance}") + (f"_a{array}" if arrayed else "")


def _write_bulk(subject: Subject, folder: Path, oddities: tuple[str, ...]) -> None:
    signal, strip = millivolts(subject.counts), folder / "ecg" / f"{subject.eid}_20205_2_0.xml"
    measured = subject.truth[["heart_rate", "pr", "qrs", "qt", "axis"]].to_dict()
    write_cardiosoft(strip, signal, measured, subject.r_times, in_turn(oddities, subject.index, "ecg:"))
    study, oddity = folder / "cmr" / f"{subject.eid}_20209_2_0.zip", in_turn(oddities, subject.index, "cmr:")
    slices, frames = subject.cine.shape[:2]
    cine = subject.cine[:6] if oddity == "few" else subject.cine
    odd = _CMR[oddity][2](slices, frames) if oddity else None
    write_dicom_zip(study, subject.eid, cine, subject.spacing, odd)
    if oddity == "lost":
        study.unlink()
    elif oddity == "cut":
        study.write_bytes(study.read_bytes()[: study.stat().st_size // 2])
    if comes_again(subject.index):
        for path in (strip, study):
            if path.exists():
                shutil.copyfile(path, path.with_name(path.name.replace("_2_0.", "_3_0.")))


def _participants(source: Source) -> list[dict[str, str]]:
    spread = draws(source.seed, source.indices, "ukb readings", 3)
    rows = []
    for subject in source.subjects():
        day = np.datetime64(subject.person["53-2.0"])
        age = subject.value("21003-2.0")
        born = day - np.timedelta64(int(age * 365.25), "D")
        months = born.astype("datetime64[M]")
        row = {
            "eid": subject.eid,
            "31-0.0": subject.person["31-0.0"],
            "34-0.0": str(born.astype("datetime64[Y]")),
            "52-0.0": str(months.astype(int) % 12 + 1),
        }
        years = 2 + 2 * spread[subject.index, 2]
        visits = {2: (day, age)}
        if comes_again(subject.index):
            visits[3] = (day + np.timedelta64(int(years * 365.25), "D"), age + years)
        for visit in (2, 3):
            when, old = visits.get(visit, ("", 0))
            row |= {f"53-{visit}.0": str(when), f"21003-{visit}.0": str(int(old)) if visit in visits else ""}
            for field in ("50", "21002"):
                row[f"{field}-{visit}.0"] = subject.person[f"{field}-2.0"] if visit in visits else ""
            for k, field in enumerate(("4079", "4080")):
                # Two whole readings a few mmHg apart, whose mean is the pressure to a quarter.
                total = round(2 * subject.value(f"{field}-2.0"))
                first = total // 2 + int(12 * spread[subject.index, k]) - 6
                readings = (first, total - first) if visit in visits else ("", "")
                row |= {f"{field}-{visit}.{array}": str(value) for array, value in enumerate(readings)}
        rows.append(row)
    return rows


def _phenotypes(source: Source) -> list[dict[str, str]]:
    rows = []
    for k, (eid, values) in enumerate(source.tables["phenotypes"].iterrows()):
        again = {name.replace("-2.", "-3."): value if comes_again(k) else "" for name, value in values.items()}
        rows.append({"eid": eid, **values, **again})
    return rows


def _records(source: Source) -> list[dict[str, str]]:
    """A row a subject, as many columns of each field as the longest list of it needs."""
    draw = draws(source.seed, source.indices, "ukb records", 8 * len(CODES)).reshape(-1, len(CODES), 8)
    lists = [_histories(subject, source, draw[subject.index]) for subject in source.subjects()]
    most = {fields: max(1, *(len(found[fields]) for found in lists)) for fields in lists[0]}
    rows = []
    for eid, found in zip(source.eids, lists, strict=True):
        row = {"eid": eid}
        for (field, dates, instance), pairs in found.items():
            pairs = pairs + [("", "")] * (most[field, dates, instance] - len(pairs))
            row |= {f"{field}-{instance}.{k}": code for k, (code, _) in enumerate(pairs)}
            row |= {f"{dates}-{instance}.{k}": day for k, (_, day) in enumerate(pairs)}
        rows.append(row)
    return rows


def _histories(subject: Subject, source: Source, draw: np.ndarray) -> dict[tuple[int, int, int], list]:
    """(Code, day or decimal year) pairs under (field, field of dates, instance); `draw` (diseases, 8) uniform."""
    record, visit = source.tables["records"].loc[subject.eid], np.datetime64(subject.person["53-2.0"])
    diagnoses = [(record[f"41270-0.{k}"], record[f"41280-0.{k}"]) for k in range(len(CODES))]
    diagnoses = [pair for pair in diagnoses if pair[0]]
    early, operated, told, told_operations = [], [], [], []
    for code, day in diagnoses:
        name = DISEASE_OF[code]
        chance, known = draw[list(CODES).index(name)], np.datetime64(day)
        before = known < visit
        if before and chance[0] < SHARE_EARLY:
            first = between(np.datetime64("1981-01-01"), FIRST_RECORD, chance[1])
            early.append((pick(ICD9[name], chance[2]), str(first)))
        if before and chance[3] < SHARE_REPORTED:
            told.append((pick(REPORTED[name], chance[4]), _decimal_year(known)))
        if name in OPERATIONS and chance[5] < SHARE_OPERATED:
            last = max(visit, known + 365) if before else max(LAST_VISIT, known + 365)
            when = between(known, last, chance[6])
            operated.append((pick(OPERATIONS[name], chance[7]), str(when)))
            if when < visit:
                told_operations.append((pick(REPORTED_OPERATIONS[name], chance[7]), _decimal_year(when)))
    return {
        (41270, 41280, 0): diagnoses,
        (41271, 41281, 0): early,
        (41272, 41282, 0): operated,
        (20002, 20008, 2): told,
        (20004, 20010, 2): told_operations,
    }


def _decimal_year(day: np.datetime64) -> str:
    """A date as UK Biobank's interpolated year, such as 2004.5."""
    year = day.astype("datetime64[Y]")
    return f"{year.astype(int) + 1970 + (day - year.astype('datetime64[D]')).astype(int) / 366:.1f}"


def _write_table(path: Path, rows: list[dict[str, str]], spelling: str, separator: str) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow([spelt(column, spelling) for column in rows[0]])
        writer.writerows([row.values() for row in rows])

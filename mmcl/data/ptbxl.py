"""PTB-XL: the five diagnostic superclasses of its statements, and its ages (Wagner et al. 2020, Scientific Data 7:154).

`ptbxl_database.csv` holds the statements of a recording as a dictionary in text, `{'NORM': 100.0, 'SR': 0.0}`: code and
likelihood in per cent, where 0 means that none was given. `scp_statements.csv` says which codes are diagnostic, and
their superclass. As in the benchmark of Strodthoff et al. (2021, IEEE Journal of Biomedical and Health Informatics
25:1519), every diagnostic statement counts whatever its likelihood, and a recording may have several superclasses.

The table's column `sex` is 0 for male and 1 for female, the other way round than here and in UK Biobank.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pandas as pd

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
"""Normal, myocardial infarction, ST/T change, conduction disturbance, hypertrophy."""

ABOVE_89 = 300.0
"""What PTB-XL writes for every age above 89 years."""

MOST_CHARACTERS = 2_000
_MOST_BYTES = 1_000_000
_STATEMENT = re.compile(
    r"\s*(?P<quote>['\"])(?P<code>[A-Z0-9_/()+-]{1,20})(?P=quote)\s*:\s*(?P<value>\d{1,3}(\.\d{0,9})?)\s*"
)


def superclasses(scp_codes: pd.Series, statements: Path) -> pd.DataFrame:
    """The five superclasses of each recording, 0 or 1 (Int64), indexed as `scp_codes`, the dictionaries in text.

    A recording without a diagnostic statement is missing in all five. `statements` is the file `scp_statements.csv`.
    Raises ValueError that names the file, or the recording and what is wrong with its dictionary, also for a code that
    is not in the file.
    """
    classes = read_statements(statements)
    rows = []
    for recording, text in scp_codes.items():
        codes = parse_statements(text, recording) if isinstance(text, str) else {}
        if unknown := [code for code in codes if code not in classes]:
            raise ValueError(f"recording {recording}: statement {unknown[0]!r} is not in {statements}")
        found = {classes[code] for code in codes} - {""}
        rows.append([int(name in found) if found else None for name in SUPERCLASSES])
    return pd.DataFrame(rows, index=scp_codes.index, columns=list(SUPERCLASSES), dtype="Int64")


def read_statements(path: Path) -> dict[str, str]:
    """Code -> superclass, "" for a statement that is not diagnostic, of all in `scp_statements.csv`."""
    path = Path(path)
    if not path.is_file() or path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path}: no such table, or more than {_MOST_BYTES} bytes")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header, *rows = [row for row in csv.reader(file) if row]
            diagnostic, named = header.index("diagnostic"), header.index("diagnostic_class")
            classes = {row[0]: row[named].strip() if float(row[diagnostic] or 0) == 1 else "" for row in rows}
    except (UnicodeDecodeError, csv.Error, ValueError, IndexError) as error:
        raise ValueError(f"{path}: {error}; expected codes, `diagnostic` and `diagnostic_class`") from error
    if wrong := [f"{code}: {name}" for code, name in classes.items() if name not in ("", *SUPERCLASSES)]:
        raise ValueError(f"{path}: {wrong[0]!r}, expected a superclass of {', '.join(SUPERCLASSES)}")
    return classes


def parse_statements(text: str, recording: object) -> dict[str, float]:
    """Code -> likelihood (per cent) from `{'NORM': 100.0, ...}`, which is matched and never evaluated.

    ValueError names the recording for anything else: another shape, a code twice, above 100 %, or more than
    MOST_CHARACTERS.
    """
    inner = text.strip()
    found: dict[str, float] = {}
    if len(text) > MOST_CHARACTERS or not (inner.startswith("{") and inner.endswith("}") and len(inner) > 1):
        raise _malformed(recording, text)
    if not inner[1:-1].strip():
        return found
    for part in inner[1:-1].split(","):
        match = _STATEMENT.fullmatch(part)
        if not match or match["code"] in found or float(match["value"]) > 100:
            raise _malformed(recording, part)
        found[match["code"]] = float(match["value"])
    return found


def age(values: pd.Series) -> pd.Series:
    """Ages in years (float64) where PTB-XL writes 300 for those above 89: they become 90, the least that they can be.

    Left missing, the oldest would drop out of every model that adjusts for age; as 300 they would bend it.
    """
    years = pd.to_numeric(values).astype("float64")
    return years.mask(years == ABOVE_89, 90.0)


def _malformed(recording: object, text: str) -> ValueError:
    return ValueError(
        f"recording {recording}: statements {text[:60]!r}, expected {{'CODE': likelihood up to 100, ...}}"
    )

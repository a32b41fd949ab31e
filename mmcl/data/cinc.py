"""PhysioNet/CinC Challenge 2020-2021: age, sex and diagnoses from the comments of a WFDB header.

The comments are `# Age: 59`, `# Sex: Female` and `# Dx: 426783006,164873001`, SNOMED CT codes; the space after # and
capitals vary. `cinc.yaml` names the diagnoses; codes that the challenge scores as one are one label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from mmcl.data.ptbxl import ABOVE_89
from mmcl.data.quarantine import reject

_LISTS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))

SCORED = {entry["label"]: tuple(entry["codes"]) for entry in _LISTS["scored"]}
"""Label -> SNOMED CT codes of the 26 diagnoses that the challenge of 2021 scored."""

OTHERS = {entry["label"]: tuple(entry["codes"]) for entry in _LISTS["others"]}
"""Label -> codes of diagnoses that were not scored."""

_HEADER_BYTES = 100_000
_UNKNOWN = ("", "unknown", "nan", "none", "n/a")
_CODE = re.compile(r"\d{6,18}")


@dataclass(frozen=True)
class Comments:
    """`age` in years, `sex` 0 female and 1 male, NaN where unknown; SNOMED CT `codes` in the order of the header."""

    age: float
    sex: float
    codes: tuple[str, ...]


def read_comments(header: Path, subject: str) -> Comments:
    """Age, sex and diagnoses from the header's comments.

    An age that is no number from 0 to 120, and a sex of no known spelling, are unknown; 300, which PTB-XL writes for
    ages above 89, is 90. Raises `Unusable` without the file, for one of more than 100 kB, and for a diagnosis that is
    no SNOMED CT code.
    """
    header = Path(header)
    if not header.is_file():
        raise reject(header, subject, "missing .hea", "no file", "a file of this name")
    with open(header, "rb") as file:
        content = file.read(_HEADER_BYTES + 1)
    if len(content) > _HEADER_BYTES:
        raise reject(header, subject, "long header", f"more than {_HEADER_BYTES} bytes", "fewer bytes")
    found: dict[str, str] = {}
    for line in content.decode("utf-8", errors="replace").splitlines():
        key, colon, value = line.strip().partition(":")
        if key.startswith("#") and colon:
            found.setdefault(key.strip("# \t").lower(), value.strip())
    codes = [code.strip() for code in found.get("dx", "").split(",")]
    codes = [code for code in codes if code.lower() not in _UNKNOWN]
    if wrong := [code for code in codes if not (code.isascii() and _CODE.fullmatch(code))]:
        raise reject(header, subject, "odd diagnosis", ascii(wrong[0][:40]), "a SNOMED CT code of 6 to 18 digits")
    sexes = {"female": 0.0, "f": 0.0, "male": 1.0, "m": 1.0}
    sex = sexes.get(found.get("sex", "").lower(), float("nan"))
    return Comments(_age(found.get("age", "")), sex, tuple(dict.fromkeys(codes)))


def diagnoses(codes: Iterable[str], others: bool = False) -> dict[str, int]:
    """0 or 1 for each scored diagnosis, and with `others` for the others of `cinc.yaml` too.

    Empty without any code: a recording that nobody diagnosed has no labels, rather than the label 0.
    """
    given = set(codes)
    wanted = {**SCORED, **OTHERS} if others else SCORED
    return {label: int(not given.isdisjoint(known)) for label, known in wanted.items()} if given else {}


def _age(text: str) -> float:
    try:
        years = float(text)
    except ValueError:
        return float("nan")
    if years == ABOVE_89:
        return 90.0
    return years if 0 <= years <= 120 else float("nan")

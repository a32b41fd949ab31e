"""Diseases from hospital records: ICD-10 categories of UK Biobank field 41270.

Coronary artery disease is I20-I25, atrial fibrillation and flutter I48, diabetes mellitus E10-E14. A code is placed by
its three-character category, so that every subdivision counts. The published list enumerates codes and a missing comma
in it joins I24.9 and I25.0 into a code that does not exist; here both count, unless the choice `whole_icd_list` of a
preset is off (method section 11).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from mmcl.config import DISEASES

CATEGORIES = {
    "CAD": frozenset({"I20", "I21", "I22", "I23", "I24", "I25"}),
    "AF": frozenset({"I48"}),
    "DM": frozenset({"E10", "E11", "E12", "E13", "E14"}),
}
"""ICD-10 three-character categories of each disease."""

JOINED = ("I249", "I250")
"""Neighbours in the published list of CAD codes that the missing comma joins: neither is found in a record then."""

_CODE = re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?")


def disease(code: str, whole_icd_list: bool = True) -> str | None:
    """Disease that an ICD-10 code (I251, I25.1, i25) stands for, or None; ValueError for what is no such code.

    Without `whole_icd_list` the codes in JOINED stand for none, as in the published list.
    """
    text = code.strip().upper()
    if not _CODE.fullmatch(text):
        raise ValueError(
            f"{code!r} is no ICD-10 code; expected a letter and two to six characters such as I251 or I25.1"
        )
    if not whole_icd_list and text.replace(".", "") in JOINED:
        return None
    return next((name for name, categories in CATEGORIES.items() if text[:3] in categories), None)


def diseases(codes: Iterable[str], whole_icd_list: bool = True) -> dict[str, int]:
    """0 or 1 for each of CAD, AF and DM from all codes of one subject; no code at all means no disease on record."""
    found = {disease(code, whole_icd_list) for code in codes}
    return {name: int(name in found) for name in DISEASES}


def label_subjects(records: pd.DataFrame, whole_icd_list: bool = True) -> pd.DataFrame:
    """CAD, AF and DM (0 or 1) per subject.

    `records` (subjects, codes) has one row per subject, its index, and any number of columns of ICD-10 codes, missing
    where a subject has fewer. A subject who is not in the table has no label, rather than the label 0. Without
    `whole_icd_list` (preset `paper`) I24.9 and I25.0 make nobody a case.
    """
    rows = []
    for subject, codes in zip(records.index, records.to_numpy(dtype=object), strict=True):
        try:
            given = (str(code) for code in codes if pd.notna(code) and str(code).strip())
            rows.append(diseases(given, whole_icd_list))
        except ValueError as error:
            raise ValueError(f"subject {subject}: {error}") from error
    return pd.DataFrame(rows, index=records.index, columns=list(DISEASES), dtype="int64")

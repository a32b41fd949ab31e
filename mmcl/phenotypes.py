"""The 82 CMR phenotypes of Bai et al. (2020, Nature Medicine 26:1654), UK Biobank category 157, fields 24100-24181.

They are listed in `phenotypes.csv`. The method regresses 61 of them: left and right ventricle, wall thickness,
circumferential and radial strain.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

SEGMENTS = tuple(str(k) for k in range(1, 17))
"""AHA segments (Cerqueira et al. 2002, Circulation 105:539): basal 1-6, mid-cavity 7-12, apical 13-16."""


@dataclass(frozen=True)
class Phenotype:
    """One measure: UK Biobank `field`, short `name`, `unit`, `group`, whether it is a `target` of the method's
    regression, and its `meaning` in words."""

    field: int
    name: str
    unit: str
    group: str
    target: bool
    meaning: str


def read_phenotypes(path: Path) -> tuple[Phenotype, ...]:
    """All measures of a table like `phenotypes.csv`, in its order; ValueError names the file and what is wrong.

    Fields and names are unique, `target` is yes or no, and nothing is empty.
    """
    with open(path, encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    if header != list(Phenotype.__dataclass_fields__):
        raise ValueError(f"{path}: columns {header}, expected {list(Phenotype.__dataclass_fields__)}")
    for row in rows:
        if len(row) != len(header) or not all(row) or not row[0].isdigit() or row[4] not in ("yes", "no"):
            raise ValueError(
                f"{path}: row {row}, expected {', '.join(header)} with a number as field, yes or no as target"
            )
    for k in (0, 1):
        values = [row[k] for row in rows]
        if repeated := [value for n, value in enumerate(values) if value in values[:n]]:
            raise ValueError(f"{path}: {header[k]} {repeated[0]} is there twice")
    return tuple(Phenotype(int(row[0]), *row[1:4], row[4] == "yes", row[5]) for row in rows)


PHENOTYPES = read_phenotypes(Path(__file__).with_suffix(".csv"))
"""All 82, in the order of their UK Biobank fields."""

GROUPS = {
    group: tuple(p.name for p in PHENOTYPES if p.group == group)
    for group in dict.fromkeys(p.group for p in PHENOTYPES if p.target)
}
"""Names of the groups that the method regresses."""

TARGETS = tuple(p.name for p in PHENOTYPES if p.target)
"""The 61 names that the method regresses."""

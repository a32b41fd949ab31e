"""The 82 CMR phenotypes of Bai et al. (2020, Nature Medicine 26:1654), UK Biobank category 157, fields 24100-24181.

The method regresses 61 of them: left and right ventricle, wall thickness, circumferential and radial strain.
"""

from __future__ import annotations

from dataclasses import dataclass

SEGMENTS = tuple(str(k) for k in range(1, 17))
"""AHA segments (Cerqueira et al. 2002, Circulation 105:539): basal 1-6, mid-cavity 7-12, apical 13-16."""


@dataclass(frozen=True)
class Phenotype:
    """One measure: UK Biobank `field`, short `name`, `unit` and `group`."""

    field: int
    name: str
    unit: str
    group: str


def _chamber(prefix: str) -> list[tuple[str, str, str]]:
    names = (("EDV", "ml"), ("ESV", "ml"), ("SV", "ml"), ("EF", "%"))
    return [(prefix + name, unit, prefix) for name, unit in names]


def _atrium(prefix: str) -> list[tuple[str, str, str]]:
    names = (("max", "ml"), ("min", "ml"), ("SV", "ml"), ("EF", "%"))
    return [(prefix + name, unit, prefix) for name, unit in names]


def _aorta(prefix: str) -> list[tuple[str, str, str]]:
    return [
        (f"{prefix}_max_area", "mm2", "Aorta"),
        (f"{prefix}_min_area", "mm2", "Aorta"),
        (f"{prefix}_distensibility", "10-3 mmHg-1", "Aorta"),
    ]


def _regional(prefix: str, regions: tuple[str, ...], unit: str) -> list[tuple[str, str, str]]:
    return [(f"{prefix}_{region}", unit, prefix) for region in (*regions, "global")]


_MEASURES = [
    *_chamber("LV"),
    ("LVCO", "l/min", "LV"),
    ("LVM", "g", "LV"),
    *_chamber("RV"),
    *_atrium("LA"),
    *_atrium("RA"),
    *_aorta("AAo"),
    *_aorta("DAo"),
    *_regional("WT", SEGMENTS, "mm"),
    *_regional("Ecc", SEGMENTS, "%"),
    *_regional("Err", SEGMENTS, "%"),
    *_regional("Ell", SEGMENTS[:6], "%"),
]

PHENOTYPES = tuple(Phenotype(24100 + k, *measure) for k, measure in enumerate(_MEASURES))
"""All 82, in the order of their UK Biobank fields."""

GROUPS = {group: tuple(p.name for p in PHENOTYPES if p.group == group) for group in ("LV", "RV", "WT", "Ecc", "Err")}
"""Names of the groups that the method regresses."""

TARGETS = tuple(name for names in GROUPS.values() for name in names)
"""The 61 names that the method regresses."""

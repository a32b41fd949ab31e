"""What a cohort consists of and how it is read: one YAML file per cohort in `data_manifests/`.

Keys are the fields of `Manifest`; one that is unknown is an error, so that a misspelling never passes for a default.
Patterns are relative to the raw folder and hold `{subject}`, and `{visit}` where files differ by visit.
"""

from __future__ import annotations

import dataclasses
import types
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from mmcl.data.splits import FRACTIONS
from mmcl.paths import ROOT

READERS = {"ecg": ("wfdb", "cardiosoft", "array"), "cmr": ("nifti", "nifti_pair", "dicom_zip", "acdc")}
"""Names of the readers of each modality.

`array`: `files.ecg` is one file of all subjects, whose rows are those of the participants table, or are named by its
column `row` (`mmcl.data.arrays`). `nifti_pair` takes the end-systolic volume from the pattern `cmr_es`.
"""

SPLIT_RULES = ("profile", "fractions", "column")
LABEL_RULES = ("icd10", "none")


@dataclass(frozen=True)
class Files:
    """Patterns of raw files; a modality that the cohort lacks is left out."""

    ecg: str | None = None
    cmr: str | None = None
    cmr_es: str | None = None
    segmentation: str | None = None
    segmentation_es: str | None = None


@dataclass(frozen=True)
class Tables:
    """Tables in the raw folder; `participants` lists the subjects, without it the files found do."""

    participants: str | None = None
    phenotypes: str | None = None
    records: str | None = None
    withdrawn: str | None = None


@dataclass(frozen=True)
class Readers:
    """Which reader opens the files."""

    ecg: str = "wfdb"
    cmr: str = "nifti"


@dataclass(frozen=True)
class SplitRule:
    """`profile`: the sizes of the profile's cohort; `fractions`: shares; `column`: as the participants table says."""

    rule: str = "fractions"
    fractions: tuple[float, ...] = FRACTIONS
    column: str | None = None


@dataclass(frozen=True)
class Manifest:
    """One cohort. `shareable` says whether figures and numbers made from it may be published with the code.

    `visits` are instances of the tables, one row of the store for each that a subject has. `cavity_label` marks the
    left ventricular cavity in the segmentations. `ed_column` and `es_column` name columns of the participants table
    that hold the end-diastolic and end-systolic frame, counted from 0; without the former cines begin at end-diastole.
    """

    name: str
    description: str
    version: str
    licence: str
    shareable: bool
    files: Files
    tables: Tables = field(default_factory=Tables)
    readers: Readers = field(default_factory=Readers)
    split: SplitRule = field(default_factory=SplitRule)
    labels: str = "none"
    visits: tuple[int, ...] = (2,)
    cavity_label: int = 3
    ed_column: str | None = None
    es_column: str | None = None
    source: str | None = None


def load_manifest(path: Path) -> Manifest:
    """Read and validate a manifest; ValueError names the file, the key, its value and what was expected."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not valid YAML ({error})") from error
    try:
        manifest = _build(Manifest, content, "manifest")
        _check(manifest)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return manifest


def cohort_manifest(cohort: str) -> Manifest:
    """The manifest `data_manifests/<cohort>.yaml` of the compendium."""
    return load_manifest(ROOT / "data_manifests" / f"{cohort}.yaml")


def _build(kind: type, content: Any, where: str) -> Any:
    """A dataclass from a mapping, every value checked against the field's type."""
    if not isinstance(content, dict):
        raise ValueError(f"{where} is {type(content).__name__}, expected a mapping")
    known = {item.name: item for item in dataclasses.fields(kind)}
    if unknown := [key for key in content if key not in known]:
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(known)}")
    required = [
        name
        for name, item in known.items()
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    if missing := [name for name in required if name not in content]:
        raise ValueError(f"{where}: key {missing[0]!r} is missing")
    hints = get_type_hints(kind)
    return kind(**{key: _convert(hints[key], value, f"{where}.{key}") for key, value in content.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    if get_origin(hint) in (Union, types.UnionType):
        return None if value is None else _convert(get_args(hint)[0], value, where)
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not value:
            raise ValueError(f"{where} is {value!r}, expected a list")
        return tuple(_convert(get_args(hint)[0], item, where) for item in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # A bool is an int to Python, but `visits: [true]` is a mistake.
    if type(value) is not hint or value == "":
        raise ValueError(f"{where} is {value!r}, expected {hint.__name__}")
    return value


def _check(manifest: Manifest) -> None:
    files, tables = dataclasses.asdict(manifest.files), dataclasses.asdict(manifest.tables)
    for name, text in {**files, **tables}.items():
        if text is not None and (PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts):
            raise ValueError(f"{name} is {text!r}, expected a path inside the raw folder")
    whole = manifest.readers.ecg == "array"
    if whole and files["ecg"] and (not tables["participants"] or "{subject}" in files["ecg"]):
        raise ValueError(f"files.ecg is {files['ecg']!r}; the reader array wants one file and tables.participants")
    for name, pattern in files.items():
        if pattern is not None and "{subject}" not in pattern and not (whole and name == "ecg"):
            raise ValueError(f"files.{name} is {pattern!r}, expected a pattern with {{subject}}")
        if pattern is not None and len(manifest.visits) > 1 and "{visit}" not in pattern:
            raise ValueError(f"files.{name} is {pattern!r}, expected {{visit}} in it as there are several visits")
    if not manifest.files.ecg and not manifest.files.cmr:
        raise ValueError("files name neither ecg nor cmr")
    pair = manifest.readers.cmr == "nifti_pair"
    for name, other in (("cmr", "cmr_es"), ("segmentation", "segmentation_es")):
        if (files[other] is not None) != (pair and files[name] is not None):
            raise ValueError(f"files.{other} is {files[other]!r}; it goes with {name} and the reader nifti_pair only")
    if manifest.files.segmentation and not manifest.files.cmr:
        raise ValueError("files.segmentation needs files.cmr")
    for modality, known in READERS.items():
        _one_of(f"readers.{modality}", getattr(manifest.readers, modality), known)
    _one_of("split.rule", manifest.split.rule, SPLIT_RULES)
    _one_of("labels", manifest.labels, LABEL_RULES)
    if (manifest.split.rule == "column") != (manifest.split.column is not None):
        raise ValueError(f"split.column is {manifest.split.column!r}; it goes with the rule column and no other")
    if (manifest.split.column or manifest.ed_column or manifest.es_column) and not tables["participants"]:
        raise ValueError("split.column, ed_column and es_column need tables.participants")
    if manifest.labels == "icd10" and not tables["records"]:
        raise ValueError("labels icd10 needs tables.records")


def _one_of(where: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{where} is {value!r}, expected one of {', '.join(known)}")

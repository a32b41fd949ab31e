"""What a cohort consists of and how it is read: one YAML file per cohort in `data_manifests/`.

Keys are the fields of `Manifest`; one that is unknown is an error, so that a misspelling never passes for a default.
Patterns are relative to the raw folder. `{subject}` in one stands for the subject, `{visit}` for the visit, and any
other name in braces for that column of the participants table; `**` stands for folders between, as in a shell.
`data_manifests/template.yaml` says all of this for one's own cohort.
"""

from __future__ import annotations

import dataclasses
import datetime
import re
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

SUBJECT_RULES = ("table", "files")
SPLIT_RULES = ("profile", "fractions", "column")
LABEL_RULES = ("none", "records", "columns", "ptbxl", "cinc", "acdc")
LABEL_SOURCES = ("icd10", "icd9", "self_report", "operations")
TIMINGS = ("any", "prevalent", "incident")


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
    statements: str | None = None


@dataclass(frozen=True)
class Columns:
    """Names of columns of the participants table, where they are not UK Biobank's field numbers.

    `subject` names the subject, and `recording` each recording in a table of one row a recording: it then stands for
    the visit. `age` in years, `height` cm, `weight` kg, `systolic` mmHg; values of `sex` that mean `female` and `male`
    are told apart by the lists, in any case.
    """

    subject: str | None = None
    recording: str | None = None
    age: str | None = None
    sex: str | None = None
    height: str | None = None
    weight: str | None = None
    systolic: str | None = None
    female: tuple[str, ...] = ("female", "f", "woman", "w")
    male: tuple[str, ...] = ("male", "m", "man")


@dataclass(frozen=True)
class LabelRule:
    """Where labels come from.

    `records`: hospital records and what participants report, by the code lists of `mmcl.data.labels`, from `sources`.
    `columns`: 0 or 1 in columns of the participants table; `columns` maps the label's name to the column's. `ptbxl`:
    the five superclasses of its statements, from `tables.statements`. `cinc`: the scored diagnoses of the
    PhysioNet/CinC challenge 2021, from the comments of WFDB headers. `acdc`: the five groups of its patients, from
    their `Info.cfg`.

    Of `records`, `timing` says what CAD, AF and DM mean: on record at `any` time, as published, `prevalent` at the
    visit or `incident` after it. `horizon` limits incident disease to so many years after the visit, and `censored`
    (ISO date) is when records end: whom they do not follow for so long, without disease, has no label.
    """

    rule: str = "none"
    sources: tuple[str, ...] = ("icd10",)
    timing: str = "any"
    horizon: float | None = None
    censored: str | None = None
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Download:
    """One file that may be fetched: `url`, its name `file` in the raw folder, SHA-256 and bytes where they are known.

    `unpack` is the folder within a zip whose files go to the raw folder, "." for all of it; None keeps the file as it
    is. `sums` marks a list of SHA-256 and names, as sha256sum writes it, of further files beside the `url`, all of
    which are fetched, or those whose names fit a pattern in `only`, where `*` stands for folders too.
    """

    url: str
    file: str
    sha256: str | None = None
    size: int | None = None
    unpack: str | None = None
    sums: bool = False
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Readers:
    """Which reader opens the files."""

    ecg: str = "wfdb"
    cmr: str = "nifti"


@dataclass(frozen=True)
class SplitRule:
    """`profile`: the sizes of the profile's cohort; `fractions`: shares; `column`: as the participants table says.

    `stratify` names columns of the store, each split having its share of every combination of their values, numbers in
    quarters. Values of `column` are the names of the splits, or those listed under `train`, `validation` and `test`.
    """

    rule: str = "fractions"
    fractions: tuple[float, ...] = FRACTIONS
    stratify: tuple[str, ...] = ()
    column: str | None = None
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """One cohort.

    `licence` is its licence or the way to access, `consent` what its subjects agreed to. `shareable` says whether
    figures and numbers of single subjects may be published with the code; `restricted` that access is controlled:
    subjects then have pseudonyms in everything that is written, and nothing is written where git could track it.

    `subjects` is `table` where everybody in the participants table belongs to the cohort, so that a missing file is a
    fault, or `files` where those do who have a file, as in UK Biobank, whose tables list half a million. `visits` are
    instances of the tables, one row of the store for each that a subject has. `cavity_label` marks the
    left ventricular cavity in the segmentations. `ed_column` and `es_column` name columns of the participants table
    that hold the end-diastolic and end-systolic frame, counted from 0; without the former cines begin at end-diastole.
    `checksums` names a list in the raw folder, as sha256sum writes it, that raw files are held to.
    """

    name: str
    description: str
    version: str
    licence: str
    consent: str
    shareable: bool
    files: Files
    restricted: bool = False
    source: str | None = None
    download: tuple[Download, ...] = ()
    checksums: str | None = None
    tables: Tables = field(default_factory=Tables)
    columns: Columns = field(default_factory=Columns)
    readers: Readers = field(default_factory=Readers)
    split: SplitRule = field(default_factory=SplitRule)
    labels: LabelRule = field(default_factory=LabelRule)
    subjects: str = "table"
    visits: tuple[int, ...] = (2,)
    cavity_label: int = 3
    ed_column: str | None = None
    es_column: str | None = None


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
    if get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is {value!r}, expected a mapping")
        return {_convert(str, key, where): _convert(str, item, f"{where}.{key}") for key, item in value.items()}
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
    _check_files(manifest)
    tables, split, labels = manifest.tables, manifest.split, manifest.labels
    for modality, known in READERS.items():
        _one_of(f"readers.{modality}", getattr(manifest.readers, modality), known)
    _one_of("subjects", manifest.subjects, SUBJECT_RULES)
    _one_of("split.rule", split.rule, SPLIT_RULES)
    _one_of("labels.rule", labels.rule, LABEL_RULES)
    _one_of("labels.timing", labels.timing, TIMINGS)
    for source in labels.sources:
        _one_of("labels.sources", source, LABEL_SOURCES)
    if (split.rule == "column") != (split.column is not None):
        raise ValueError(f"split.column is {split.column!r}; it goes with the rule column and no other")
    if (split.train or split.validation or split.test) and split.rule != "column":
        raise ValueError("split.train, validation and test list values of split.column and go with no other rule")
    if split.stratify and split.rule != "fractions":
        raise ValueError(f"split.stratify is {list(split.stratify)}; it goes with the rule fractions and no other")
    named = [value for value in dataclasses.astuple(manifest.columns)[:7] if value]
    if (split.column or manifest.ed_column or manifest.es_column or named) and not tables.participants:
        raise ValueError("columns, split.column, ed_column and es_column need tables.participants")
    if manifest.columns.recording and (tables.phenotypes or tables.records):
        raise ValueError("columns.recording: a table of recordings does not go with tables of phenotypes or records")
    if labels.rule == "records" and not tables.records:
        raise ValueError("labels.rule records needs tables.records")
    if labels.rule == "ptbxl" and not tables.statements:
        raise ValueError("labels.rule ptbxl needs tables.statements")
    if (labels.rule == "columns") != bool(labels.columns):
        raise ValueError("labels.columns goes with the rule columns and no other")
    if (labels.timing != "any" or labels.horizon or labels.censored) and labels.rule != "records":
        raise ValueError("labels.timing, horizon and censored go with the rule records and no other")
    if labels.censored is not None:
        try:
            datetime.date.fromisoformat(labels.censored)
        except ValueError as error:
            raise ValueError(f"labels.censored is {labels.censored!r}, expected a date such as 2022-10-31") from error
    if labels.horizon is not None and not labels.horizon > 0:
        raise ValueError(f"labels.horizon is {labels.horizon}, expected years above 0")
    if manifest.restricted and manifest.shareable:
        raise ValueError("restricted and shareable are both true; access-controlled data are not shareable")
    for entry in manifest.download:
        _inside(f"download.file of {entry.url}", entry.file)
        if not entry.url.startswith("https://"):
            raise ValueError(f"download.url is {entry.url!r}, expected https://")
        if entry.only and not entry.sums:
            raise ValueError(f"download.only of {entry.file} goes with sums")
        if entry.sums and entry.unpack is not None:
            raise ValueError(f"download.unpack of {entry.file} goes with a zip, not with sums")
        if entry.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", entry.sha256):
            raise ValueError(f"download.sha256 of {entry.file} is {entry.sha256!r}, expected 64 hexadecimal digits")


def _check_files(manifest: Manifest) -> None:
    files, tables = dataclasses.asdict(manifest.files), dataclasses.asdict(manifest.tables)
    for name, text in {**files, **tables, "checksums": manifest.checksums}.items():
        if text is not None:
            _inside(name, text)
    whole, each = manifest.readers.ecg == "array", manifest.columns.recording is not None
    if whole and files["ecg"] and (not tables["participants"] or "{subject}" in files["ecg"]):
        raise ValueError(f"files.ecg is {files['ecg']!r}; the reader array wants one file and tables.participants")
    for name, pattern in files.items():
        if pattern is None:
            continue
        others = set(re.findall(r"{([^{}]*)}", pattern)) - {"subject", "visit"}
        if others and not tables["participants"]:
            raise ValueError(f"files.{name} is {pattern!r}; columns in braces need tables.participants")
        if "**" in pattern and others:
            raise ValueError(f"files.{name} is {pattern!r}, expected ** or columns of a table, not both")
        if each and not (others or "{visit}" in pattern):
            raise ValueError(f"files.{name} is {pattern!r}, expected {{visit}} or a column of the table of recordings")
        if "{subject}" not in pattern and not others and not (whole and name == "ecg") and not each:
            raise ValueError(f"files.{name} is {pattern!r}, expected a pattern with {{subject}}")
        if len(manifest.visits) > 1 and "{visit}" not in pattern and not each:
            raise ValueError(f"files.{name} is {pattern!r}, expected {{visit}} in it as there are several visits")
    if not manifest.files.ecg and not manifest.files.cmr:
        raise ValueError("files name neither ecg nor cmr")
    pair = manifest.readers.cmr == "nifti_pair"
    for name, other in (("cmr", "cmr_es"), ("segmentation", "segmentation_es")):
        if (files[other] is not None) != (pair and files[name] is not None):
            raise ValueError(f"files.{other} is {files[other]!r}; it goes with {name} and the reader nifti_pair only")
    if manifest.files.segmentation and not manifest.files.cmr:
        raise ValueError("files.segmentation needs files.cmr")


def _inside(name: str, text: str) -> None:
    if PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts:
        raise ValueError(f"{name} is {text!r}, expected a path inside the raw folder")


def _one_of(where: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{where} is {value!r}, expected one of {', '.join(known)}")

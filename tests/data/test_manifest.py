import dataclasses
import re
from typing import get_type_hints

import pytest
import yaml

from mmcl.data.manifest import (
    LABEL_RULES,
    LABEL_SOURCES,
    READERS,
    SPLIT_RULES,
    TIMINGS,
    Columns,
    Download,
    Files,
    LabelRule,
    Manifest,
    Readers,
    SplitRule,
    Tables,
    cohort_manifest,
    load_manifest,
)
from mmcl.paths import ROOT

BASE = {
    "name": "x", "description": "d", "version": "1", "licence": "CC0-1.0", "consent": "none", "shareable": True,
    "files": {"ecg": "ecg/{subject}.hea"},
}  # fmt: skip


def write(path, **changes):
    content = {**BASE, **changes}
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value != "absent"}))
    return path


def test_every_manifest_of_the_compendium_is_valid():
    paths = sorted((ROOT / "data_manifests").glob("*.yaml"))
    assert paths
    for path in paths:
        assert load_manifest(path).name == path.stem


def test_simulated():
    manifest = cohort_manifest("simulated")
    assert manifest.shareable is True and manifest.files.segmentation == "cmr/{subject}_seg.nii.gz"
    assert manifest.split.rule == "profile" and manifest.visits == (2,) and manifest.cavity_label == 3


def test_defaults(tmp_path):
    manifest = load_manifest(write(tmp_path / "x.yaml"))
    assert (
        manifest.split.fractions == (0.70, 0.15, 0.15) and manifest.labels.rule == "none" and manifest.files.cmr is None
    )


PAIR = {"ecg": "{subject}.hea", "cmr": "{subject}_ed.nii", "cmr_es": "{subject}_es.nii"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licnce": "MIT"}, "unknown key 'licnce'"),
        ({"files": {"ecg": "{subject}.hea", "ekg": "x"}}, "files: unknown key 'ekg'"),
        ({"licence": "absent"}, "key 'licence' is missing"),
        ({"shareable": "yes"}, "shareable is 'yes', expected bool"),
        ({"name": ""}, "name is '', expected str"),
        ({"version": 1}, "version is 1, expected str"),
        ({"files": {"ecg": "ecg/all.hea"}}, "expected a pattern with {subject}"),
        ({"files": {"ecg": "../{subject}.hea"}}, "inside the raw folder"),
        ({"files": {"ecg": "/data/{subject}.hea"}}, "inside the raw folder"),
        ({"files": {}}, "neither ecg nor cmr"),
        ({"files": "ecg"}, "expected a mapping"),
        ({"files": PAIR}, "goes with cmr and the reader nifti_pair"),
        ({"readers": {"ecg": "pickle"}}, "readers.ecg is 'pickle', expected one of"),
        ({"visits": [2, 3]}, "several visits"),
        ({"visits": [True]}, "expected int"),
        ({"visits": 2}, "expected a list"),
        ({"split": {"rule": "random"}}, "split.rule is 'random'"),
        ({"split": {"rule": "column"}}, "split.column is None"),
        ({"split": {"rule": "column", "column": "fold"}}, "need tables.participants"),
        ({"labels": {"rule": "records"}}, "needs tables.records"),
    ],
)
def test_refusals(tmp_path, changes, message):
    with pytest.raises(ValueError, match="x.yaml") as caught:
        load_manifest(write(tmp_path / "x.yaml", **changes))
    assert message in str(caught.value)


def test_unsafe_and_broken_yaml(tmp_path):
    path = tmp_path / "x.yaml"
    for text in ("!!python/object/apply:os.system ['true']", "a: [", "- 1"):
        path.write_text(text)
        with pytest.raises(ValueError, match="x.yaml"):
            load_manifest(path)
    with pytest.raises(ValueError, match="cannot be read"):
        load_manifest(tmp_path / "none.yaml")


def test_pair(tmp_path):
    manifest = load_manifest(write(tmp_path / "x.yaml", files=PAIR, readers={"cmr": "nifti_pair"}))
    assert manifest.files.cmr_es == "{subject}_es.nii"


def template_keys():
    """Section -> keys in the template, those in comments too; the keys at the left margin are those of ""."""
    sections, section = {"": set()}, ""
    for line in (ROOT / "data_manifests" / "template.yaml").read_text(encoding="utf-8").splitlines():
        if match := re.match(r"(?:# )?([a-z_0-9]+):(?: |$)", line):
            section = match[1]
            sections[""].add(section)
        elif match := re.match(r"#?  +(?:# |- )?([a-z_0-9]+): ", line):
            sections.setdefault(section, set()).add(match[1])
    return sections


def test_template_names_every_key_and_no_other():
    keys = template_keys()
    parts = {
        "files": Files, "tables": Tables, "columns": Columns, "readers": Readers, "split": SplitRule,
        "labels": LabelRule, "download": Download,
    }  # fmt: skip
    assert keys.pop("") == {item.name for item in dataclasses.fields(Manifest)}
    keys["labels"] -= {"infarct", "fibrillation"}  # names of labels
    assert keys == {name: {item.name for item in dataclasses.fields(part)} for name, part in parts.items()}
    nested = {hint for hint in get_type_hints(Manifest).values() if dataclasses.is_dataclass(hint)} | {Download}
    assert nested == set(parts.values())


def test_template_names_every_choice():
    text = (ROOT / "data_manifests" / "template.yaml").read_text(encoding="utf-8")
    choices = (*READERS["ecg"], *READERS["cmr"], *SPLIT_RULES, *LABEL_RULES, *LABEL_SOURCES, *TIMINGS)
    assert not [choice for choice in choices if not re.search(rf"\b{choice}\b", text)]


def test_open_cohorts_say_how_they_are_read():
    ptbxl, cinc, acdc = map(cohort_manifest, ("ptbxl", "cinc", "acdc"))
    assert ptbxl.columns.female == ("1",) and ptbxl.columns.male == ("0",)  # PTB-XL: 0 is male, UK Biobank: 1
    assert {*ptbxl.split.train, *ptbxl.split.validation, *ptbxl.split.test} == {str(k) for k in range(1, 11)}
    assert ptbxl.checksums == "SHA256SUMS.txt" and [entry.sums for entry in ptbxl.download] == [False, True]
    assert (ptbxl.labels.rule, cinc.labels.rule, acdc.labels.rule) == ("ptbxl", "cinc", "acdc")
    assert len({entry.url for entry in acdc.download}) == 1 and not cinc.download
    assert not any(manifest.restricted for manifest in (ptbxl, cinc, acdc)) and not acdc.shareable

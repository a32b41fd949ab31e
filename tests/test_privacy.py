"""The scan on repositories with planted faults, and where products of restricted cohorts may go."""

import subprocess
import sys

import pytest

from mmcl import privacy
from mmcl.data.manifest import load_manifest
from mmcl.paths import ROOT
from mmcl.privacy import guard, record, scan, tracked

EID = str(2_345_678)  # written so that this file holds no such number
PNG = b"\x89PNG\r\n\x1a\n\0\0"
MANIFEST = "name: toy\nshareable: {}\nrestricted: {}\n"


def git(folder, *arguments):
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path):
    """A clean repository with one published figure."""
    root = tmp_path / "repository"
    files = {
        ".gitignore": b"build/\n*.secret\n",
        "README.md": b"Seed 0, version 1.2.3456789, 1234567.8 g, 0.1234567 mV, 1,234,567 weights\n",
        "code.py": b"MANY = 1_234_567\nHEX = 0x1234567\nUID = '1.2.826.0.1.3680043.10.1338'\nSNOMED = 426783006\n",
        "data_manifests/toy.yaml": MANIFEST.format("true", "false").encode(),
        "data_manifests/ukb.yaml": MANIFEST.format("false", "true").encode(),
        "figures/a.png": PNG,
        "figures/a.json": b"[1.2345678, 7654321]",
    }
    for name, content in files.items():
        plant(root, name, content, add=False)
    record("toy", root)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    return root


def plant(root, name, content=b"", add=True):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if add:
        git(root, "add", "--force", name)


def test_this_compendium_is_clean():
    if not (ROOT / ".git").exists():
        pytest.skip("needs the git checkout")
    assert [str(finding) for finding in scan()] == []


def test_a_clean_repository(checkout):
    assert scan(checkout) == []
    assert tracked(checkout)[:2] == [".gitignore", "README.md"]


@pytest.mark.parametrize(
    ("name", "content", "place", "problem"),
    [
        ("notes.md", f"one\nsubject {EID} is odd\n", "notes.md:2", EID),
        ("list.py", f"EIDS = [{EID},{EID}]\n", "list.py:1", EID),
        ("a.json", f'{{"subject": "eid{EID}"}}', "a.json:1", EID),
        ("a.yaml", f"file: ecg/{EID}_20205_2_0.xml", "a.yaml:1", EID),
        ("latin.txt", b"caf\xe9\n" + EID.encode(), "latin.txt:2", EID),
        (f"ecg/{EID}_20205_2_0.txt", "", f"ecg/{EID}_20205_2_0.txt", "its name holds"),
        ("t.csv", "eid,31-0.0\n", "t.csv:1", "'eid'"),
        ("t.tsv", "x\tp31\tp21003_i2\n", "t.tsv:1", "'p21003_i2'"),
        ("t.txt", '"f.eid","f.31.0.0"\n', "t.txt:1", "'f.eid'"),
        ("t.tab", "x,participant.eid\n", "t.tab:1", "'participant.eid'"),
        ("a.ipynb", "{}", "a.ipynb", "a notebook"),
        ("weights", b"\x80\x04\0", "weights", "a binary file"),
        ("docs/a.png", PNG, "docs/a.png", "outside figures/"),
        ("figures/deep/a.png", PNG, "figures/deep/a.png", "outside figures/"),
        ("figures/b.svg", "<svg/>", "figures/b.svg", "without the JSON"),
        ("figures/b.json", "[]", "figures/b.json", "no cohort is stated"),
        ("figures/a.png", PNG + b"2", "figures/a.png", "changed since"),
        ("figures/a.json", "[2]", "figures/a.json", "changed since"),
        ("figures/source.json", '{"cohort": "ukb", "files": {}}', "figures/source.json", "does not say"),
        ("figures/source.json", '{"cohort": "none", "files": {}}', "figures/source.json", "no manifest"),
        ("figures/source.json", '{"cohort": "../x", "files": {}}', "figures/source.json", "no name"),
        ("figures/source.json", "[]", "figures/source.json", "cannot be read"),
    ],
)
def test_planted_faults_are_found(checkout, name, content, place, problem):
    plant(checkout, name, content)
    found = [finding for finding in scan(checkout) if finding.place == place]
    assert found and problem in found[0].problem and found[0].remedy


SUFFIXES = "dcm nii nii.gz dat mat hea xml zip npy npz pt pth h5 hdf5 edf parquet ckpt pkl DCM".split()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_data_files_are_found(checkout, suffix):
    plant(checkout, f"deep/a.{suffix}", "x")
    assert [finding.place for finding in scan(checkout)] == [f"deep/a.{suffix}"]


def test_what_git_does_not_track_is_not_scanned(checkout):
    plant(checkout, "notes.md", EID, add=False)
    plant(checkout, "build/a.dcm", "x", add=False)
    assert scan(checkout) == []


def test_a_manifest_that_becomes_restricted_takes_its_figures_along(checkout):
    for said in (("false", "false"), ("true", "true"), ("yes", "false")):
        plant(checkout, "data_manifests/toy.yaml", MANIFEST.format(*said))
        assert [finding.place for finding in scan(checkout)] == ["figures/source.json"]
        with pytest.raises(ValueError, match="cannot be published"):
            record("toy", checkout)


def test_exceptions_hold_for_their_file_and_number_alone(checkout, monkeypatch):
    allowed = privacy.Allowed("notes.md", int(EID), int(EID), "test")
    monkeypatch.setattr(privacy, "ALLOWED", (allowed,))
    plant(checkout, "notes.md", f"{EID}\n{int(EID) + 1}\n")
    plant(checkout, "other.md", EID)
    assert [finding.place for finding in scan(checkout)] == ["notes.md:2", "other.md:1"]


def test_every_exception_says_why():
    assert all(allowed.reason and allowed.first <= allowed.last < allowed.first + 1000 for allowed in privacy.ALLOWED)


def test_numbers_of_published_records_are_no_identifiers(checkout):
    plant(checkout, "a.md", f"https://zenodo.org/records/{EID} doi:10.5281/zenodo.{EID}\n")
    assert scan(checkout) == []
    plant(checkout, "a.md", f"https://zenodo.org/records/{EID} {EID}\n")
    assert [finding.place for finding in scan(checkout)] == ["a.md:1"]


def test_a_hook_of_git_scans_the_right_checkout(checkout, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(checkout / "none"))
    assert scan(checkout) == []


def test_the_command_exits_with_1_and_the_place(checkout, monkeypatch, capsys):
    monkeypatch.setattr(privacy.scan, "__defaults__", (checkout,))
    assert privacy.main([]) == 0 and capsys.readouterr().out == ""
    plant(checkout, "notes.md", f"\n{EID}")
    assert privacy.main([]) == 1
    assert capsys.readouterr().out.startswith(f"notes.md:2: {EID} looks like an identifier; remove it")


def test_no_checkout_has_nothing_to_publish(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(privacy.scan, "__defaults__", (tmp_path,))
    assert privacy.main([]) == 0 and "no git checkout" in capsys.readouterr().out


def test_it_needs_the_standard_library_alone():
    code = "import sys, mmcl.privacy; print(sorted({'numpy', 'yaml', 'torch', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_manifests_are_read_as_yaml_reads_them():
    for path in (ROOT / "data_manifests").glob("*.yaml"):
        manifest = load_manifest(path)
        may = manifest.shareable and not manifest.restricted
        assert (privacy._not_shareable(ROOT, manifest.name) is None) == may


def test_products_of_restricted_cohorts(checkout, tmp_path):
    inside, link = checkout / "build" / "demo" / "x", tmp_path / "link"
    guard(inside, True, checkout)
    guard(checkout / "build", True, checkout)
    guard(checkout / "data.secret", True, checkout)
    guard(tmp_path / "elsewhere" / "x", True, checkout)
    guard(checkout / "results", False, checkout)
    link.symlink_to(checkout / "results")
    for folder in (checkout / "results", checkout, checkout / "figures", checkout / "builds", link):
        with pytest.raises(ValueError, match="git could track"):
            guard(folder, True, checkout)
    with pytest.raises(ValueError, match="git could track"):
        guard(checkout / "results", True, tmp_path)  # another checkout is one too


@pytest.mark.parametrize("installed", [True, False])
def test_without_a_checkout_only_build_is_sure(tmp_path, monkeypatch, installed):
    if not installed:
        monkeypatch.setattr(privacy, "_git", lambda folder, *arguments: None)
    root = tmp_path / "unpacked"
    root.mkdir()
    guard(root / "build" / "x", True, root)
    guard(tmp_path / "x", True, root)
    for folder in (root, root / "results", root / "buildings"):
        with pytest.raises(ValueError, match="git could track"):
            guard(folder, True, root)

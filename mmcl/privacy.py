"""Nothing of access-controlled data in git: the scan that `make lint` runs, and the guard of products.

    python -m mmcl.privacy                     scan all tracked files; exit status 1 when one looks like such data
    python -m mmcl.privacy --record <cohort>   state that `figures/` was drawn from this cohort, which is shareable

It needs the standard library and git alone. A scan is a net, not a proof: it knows shapes of identifiers and of files.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mmcl.paths import ROOT

FIGURES = "figures"
RECORD = f"{FIGURES}/source.json"
"""The cohort that figures were drawn from, and the SHA-256 of every figure and its data at that time."""

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".svg", ".pdf", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".mp4"})
DATA = frozenset(
    {
        *(".dcm", ".ima", ".nii", ".nrrd", ".mha", ".mhd", ".dat", ".mat", ".hea", ".xml", ".edf", ".scp", ".atr"),
        *(".npy", ".npz", ".pt", ".pth", ".ckpt", ".safetensors", ".pkl", ".pickle", ".joblib", ".h5", ".hdf5"),
        *(".parquet", ".feather", ".arrow", ".sqlite", ".db", ".rds", ".rdata", ".dta", ".sav", ".xls", ".xlsx"),
        *(".zip", ".gz", ".tar", ".tgz", ".bz2", ".xz", ".7z"),
    }
)
TABLES = frozenset({".csv", ".tsv", ".txt", ".tab"})

# A UK Biobank identifier is a number of seven digits that begins with 1 to 6. Not one: a part of a longer number, of a
# word, of a decimal fraction or of an identifier with dots (DICOM UIDs, versions, DOIs).
_EID = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9]\.)(?:eid|ukb|sub|subject|participant|patient|id)?"
    r"(?P<number>[1-6][0-9]{6})(?![0-9A-Za-z])(?!\.[0-9])",
    re.IGNORECASE,
)
_CITED = re.compile(r"(?:zenodo\.org/records?/|10\.5281/zenodo\.|pubmed\.ncbi\.nlm\.nih\.gov/)[0-9]+", re.IGNORECASE)
"""Numbers of published records."""

_HEADER = re.compile(
    r"(?:participant\.)?(?:f\.)?eid|[0-9]{1,6}-[0-9]{1,2}\.[0-9]{1,3}|f\.[0-9]+\.[0-9]+\.[0-9]+|p[0-9]+_i[0-9]+(?:_a[0-9]+)?"
)


@dataclass(frozen=True)
class Allowed:
    """Numbers from `first` to `last` that stand in files fitting the pattern `file`, and the `reason`."""

    file: str
    first: int
    last: int
    reason: str


ALLOWED = (
    Allowed("tests/*.py", 1_000_000, 1_000_099, "made-up subjects of tests, counted from one million"),
    Allowed("mmcl/data/cinc.yaml", 6_374_002, 6_374_002, "SNOMED CT code of bundle branch block"),
)
"""Exceptions; each is as narrow as it can be."""


@dataclass(frozen=True)
class Finding:
    """What is wrong at `place` (file, or file:line), and what to do."""

    place: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}; {self.remedy}"


def scan(root: Path = ROOT) -> list[Finding]:
    """Everything tracked in the git checkout `root` that looks like access-controlled data, in the order of files.

    ValueError where `root` is no git checkout.
    """
    names = tracked(root)
    known = set(names)
    recorded, findings = _read_record(root, known)
    for name in names:
        findings += _scan_file(root, name, known, recorded)
    return findings


def tracked(root: Path) -> list[str]:
    """Names of the files that git tracks below `root`, staged ones included."""
    listed = _git(root, "ls-files", "-z", "--cached")
    if listed is None or listed.returncode:
        raise ValueError(f"{root}: no git checkout")
    return sorted({name for name in os.fsdecode(listed.stdout).split("\0") if name})


def record(cohort: str, root: Path = ROOT) -> Path:
    """State in `figures/source.json` that all figures there, as they are, were drawn from `cohort`.

    ValueError for a cohort without a manifest, or with one that is not shareable.
    """
    if problem := _not_shareable(root, cohort):
        raise ValueError(f"figures of {cohort} cannot be published: {problem}")
    folder = root / FIGURES
    files = sorted(
        path for path in folder.glob("*") if path.suffix.lower() in (*IMAGES, ".json") and path != root / RECORD
    )
    content = {"cohort": cohort, "files": {path.name: _digest(path) for path in files}}
    part = folder / ".source.json.partial"
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return part.replace(root / RECORD)


def guard(folder: Path, restricted: bool, root: Path = ROOT) -> None:
    """Raise ValueError where products of a `restricted` cohort would be written where git could track them.

    `folder` need not exist. Inside any git checkout it must be ignored; where `root` is none, or git is not installed,
    only `build/` inside `root` and folders outside it are accepted.
    """
    if not restricted:
        return
    folder, root = Path(folder).resolve(), Path(root).resolve()
    there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    # A pattern such as `build/` fits a folder only if it exists, or holds the file that is asked for.
    answer = _git(there, "check-ignore", "--quiet", "--", str(folder / "product"))
    code = 128 if answer is None else answer.returncode
    if code == 0:
        return
    if code != 1:
        outside = not folder.is_relative_to(root)
        if outside or folder.is_relative_to(root / "build"):
            return
    raise ValueError(
        f"{folder}: git could track files here, and the cohort is restricted; write to build/, or outside the checkout"
    )


def _scan_file(root: Path, name: str, known: set[str], recorded: dict[str, str]) -> Iterator[Finding]:
    path, suffix = root / name, PurePosixPath(name).suffix.lower()
    for number in _identifiers(name, name):
        yield Finding(name, f"its name holds {number}, which looks like an identifier", "rename or remove it")
    if suffix == ".ipynb":
        yield Finding(name, "a notebook, whose outputs may show subjects", "track the .py, `git rm --cached` this")
    elif suffix in DATA:
        yield Finding(name, f"a data file ({suffix})", "`git rm --cached` it; code that makes such a file may stay")
    elif suffix in IMAGES:
        yield from _scan_image(root, name, known, recorded)
    elif path.is_file() and not path.is_symlink():
        content = path.read_bytes()
        if b"\0" in content:
            yield Finding(name, "a binary file", "`git rm --cached` it; figures go to figures/, data nowhere")
        else:
            yield from _scan_text(name, suffix, content.decode("utf-8", errors="replace"))
    if name.startswith(f"{FIGURES}/") and suffix == ".json" and name != RECORD:
        yield from _compare(root, name, recorded)


def _scan_image(root: Path, name: str, known: set[str], recorded: dict[str, str]) -> Iterator[Finding]:
    if PurePosixPath(name).parent.as_posix() != FIGURES:
        yield Finding(name, "an image outside figures/", "move it there with its JSON, or `git rm --cached` it")
        return
    if PurePosixPath(name).with_suffix(".json").as_posix() not in known:
        yield Finding(name, "a figure without the JSON that it was drawn from", "add the JSON, or remove it")
    yield from _compare(root, name, recorded)


def _compare(root: Path, name: str, recorded: dict[str, str]) -> Iterator[Finding]:
    """A figure is what it was when its cohort was stated."""
    remedy = "draw it from a shareable cohort, then `python -m mmcl.privacy --record <cohort>`"
    short = name.removeprefix(f"{FIGURES}/")
    if short not in recorded:
        yield Finding(name, f"no cohort is stated for it in {RECORD}", remedy)
    elif (root / name).is_file() and _digest(root / name) != recorded[short]:
        yield Finding(name, f"changed since its cohort was stated in {RECORD}", remedy)


def _scan_text(name: str, suffix: str, text: str) -> Iterator[Finding]:
    lines = text.split("\n")
    if suffix in TABLES:
        cells = [cell.strip().strip('"') for cell in re.split("[,;\t]", lines[0].removeprefix("\ufeff"))]
        if eid := next((cell for cell in cells if _HEADER.fullmatch(cell.lower())), None):
            yield Finding(f"{name}:1", f"a table of participants (column {eid!r})", "`git rm --cached` it")
    for count, line in enumerate(lines, start=1):
        for number in _identifiers(name, line):
            yield Finding(
                f"{name}:{count}",
                f"{number} looks like an identifier",
                "remove it; a number that is none is written with underscores, or allowed in mmcl/privacy.py",
            )


def _identifiers(file: str, text: str) -> list[str]:
    """Numbers in `text` that look like identifiers and are not allowed in `file`."""
    found = [match["number"] for match in _EID.finditer(text)]
    if not found:
        return []
    found = [match["number"] for match in _EID.finditer(_CITED.sub("", text))]
    return [
        number
        for number in found
        if not any(fnmatch.fnmatchcase(file, a.file) and a.first <= int(number) <= a.last for a in ALLOWED)
    ]


def _read_record(root: Path, known: set[str]) -> tuple[dict[str, str], list[Finding]]:
    """SHA-256 by name of the figures whose cohort is stated, and what is wrong with the statement."""
    if RECORD not in known:
        return {}, []
    try:
        content = json.loads((root / RECORD).read_text(encoding="utf-8"))
        cohort, files = content["cohort"], dict(content["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}, [Finding(RECORD, "cannot be read", "write it by `python -m mmcl.privacy --record <cohort>`")]
    if problem := _not_shareable(root, cohort):
        return files, [Finding(RECORD, f"figures of {cohort!r}: {problem}", "remove the figures")]
    return files, []


def _not_shareable(root: Path, cohort: object) -> str | None:
    """Why figures of a cohort may not be published, else None; two keys of its manifest are read without YAML."""
    if not isinstance(cohort, str) or not re.fullmatch("[A-Za-z0-9_-]+", cohort):
        return "no name of a cohort"
    path = root / "data_manifests" / f"{cohort}.yaml"
    if not path.is_file():
        return f"no manifest data_manifests/{cohort}.yaml"
    text = path.read_text(encoding="utf-8")
    keys = ("shareable", "restricted")
    said = {key: re.findall(rf"^{key}:[ ]*([a-z]+)[ ]*(?:#.*)?$", text, re.MULTILINE) for key in keys}
    if said["shareable"] != ["true"] or said["restricted"] not in ([], ["false"]):
        return "its manifest does not say that it is shareable"
    return None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess | None:
    """The answer of git in `folder`, None where git is not installed."""
    # Inside a hook git's own variables would point it at another checkout.
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    try:
        return subprocess.run(["git", "-C", str(folder), *arguments], env=env, capture_output=True)
    except FileNotFoundError:
        return None


def main(arguments: list[str] | None = None) -> int:
    """Run the scan, or write the record; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m mmcl.privacy", description="Access-controlled data in git?")
    parser.add_argument("--record", metavar="COHORT", help="state that figures/ was drawn from this shareable cohort")
    options = parser.parse_args(arguments)
    if options.record:
        try:
            print(record(options.record))
        except ValueError as error:
            print(f"mmcl.privacy: {error}", file=sys.stderr)
            return 1
        return 0
    try:
        findings = scan()
    except ValueError as error:
        print(f"{error}: nothing here that git could publish")
        return 0
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

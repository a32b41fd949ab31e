"""SHA-256 of files, and lists of them as sha256sum writes them and PhysioNet publishes them.

A line is 64 hexadecimal digits, a space, a second space or `*` (PhysioNet has neither), and the file's name.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path, PurePosixPath, PureWindowsPath

from mmcl.data.quarantine import reject

MOST_BYTES = 2**26
"""Of a list; 64 MiB is about 600,000 files, the PhysioNet/CinC challenge 2021 has 180,000."""

_LINE = re.compile(r"([0-9a-fA-F]{64}) [ *]?(\S.*)")


def read_checksums(path: Path) -> dict[str, str]:
    """Name -> SHA-256 in lower case, names with `/` and inside the list's folder, in the order of the list.

    Empty lines and those that begin with `#` are skipped. Raises `Unusable` for a list that is absent, longer than
    `MOST_BYTES` or not of this form, for a name that leaves the folder, and for one with two checksums.
    """
    path = Path(path)
    if not path.is_file():
        raise reject(path, "all", "missing checksums", "no file", "a file of this name")
    if path.stat().st_size > MOST_BYTES:
        raise reject(path, "all", "list of checksums too long", path.stat().st_size, f"at most {MOST_BYTES} bytes")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise reject(path, "all", "unreadable checksums", error.reason, "UTF-8 text") from error
    checksums: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        shown = f"line {number}: {ascii(line[:100])}"
        if match is None:
            raise reject(path, "all", "unreadable checksums", shown, "64 hexadecimal digits and a name")
        checksum, name = match[1].lower(), match[2]
        if not is_inside(name):
            raise reject(path, "all", "name outside the folder", shown, "names in the list's own folder")
        name = PurePosixPath(name).as_posix()
        if checksums.setdefault(name, checksum) != checksum:
            raise reject(path, "all", "two checksums of one file", shown, checksums[name])
    return checksums


def check(path: Path, expected: str, subject: str) -> None:
    """Raise `Unusable` unless the file at `path` has the SHA-256 `expected`, 64 hexadecimal digits in any case."""
    path = Path(path)
    if not path.is_file():
        raise reject(path, subject, f"missing {path.suffix or 'file'}", "no file", "a file of this name")
    if (found := digest(path)) != expected.lower():
        raise reject(path, subject, "checksum differs", found, f"SHA-256 {expected.lower()}")


def digest(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits, read piece by piece."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_inside(name: str) -> bool:
    """Whether a name from outside is that of a file below the folder that it is joined to, on any system."""
    parts, windows = PurePosixPath(name).parts, PureWindowsPath(name)
    if not parts or name.endswith("/") or not name.isprintable():
        return False
    return not (PurePosixPath(name).is_absolute() or windows.drive or windows.root or ".." in windows.parts)

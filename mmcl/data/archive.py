"""Zip files from outside, read in place: members are never unpacked to disk, and nothing is read beyond its bounds."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from mmcl.data.quarantine import Unusable, reject

MOST_MEMBERS = 5_000
"""A short-axis study has about 600 files; with repeats, under 2,000."""

MOST_BYTES = 2**31
"""Of all members together, unpacked as they declare; a study has about 60 MB."""

MOST_MEMBER_BYTES = 2**23
"""Of one member: one image with its header; a short-axis frame has about 0.1 MB."""

MOST_EXPANSION = 500
"""Times that one member may grow; an empty 16-bit image with its header grows about 200 times, a bomb 1,030 times."""

_DIRECTORY_BYTES = 400 * MOST_MEMBERS
_END, _END_SIZE = b"PK\x05\x06", 22
_WIDE_LOCATOR, _WIDE_LOCATOR_SIZE = b"PK\x06\x07", 20
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError)


class Archive:
    """The members of an open zip; `names` in the order of the file, without folders and without nested zips."""

    def __init__(self, file: zipfile.ZipFile, members: list[zipfile.ZipInfo]):
        self._file = file
        self._members = {member.filename: member for member in members}
        self.names = list(self._members)

    def read(self, name: str, limit: int = MOST_MEMBER_BYTES) -> bytes | None:
        """First `limit` bytes of a member; None where it is damaged."""
        try:
            with self._file.open(self._members[name]) as stream:
                return stream.read(limit)
        except _DAMAGED:
            return None


@contextmanager
def open_archive(path: Path, subject: str) -> Iterator[Archive]:
    """The zip at `path` for reading; `Unusable` for one that is damaged, encrypted, hostile, or beyond the bounds."""
    if not path.is_file():
        raise reject(path, subject, f"missing {path.suffix or 'file'}", "no file", "a file of this name")
    try:
        _check_directory(path, subject)
        file = zipfile.ZipFile(path)
    except Unusable:
        raise
    except (*_DAMAGED, struct.error, UnicodeError) as error:
        raise reject(path, subject, "unreadable zip", error, "a whole zip file") from error
    with file:
        yield Archive(file, _safe_members(file.infolist(), path, subject))


def _check_directory(path: Path, subject: str) -> None:
    """Refuse a directory of members too long to be listed in bounded memory, before it is read."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        # The end record may be followed by a comment of up to 64 kB.
        file.seek(max(0, size - _END_SIZE - _WIDE_LOCATOR_SIZE - 65_535))
        tail = file.read()
    # The same record as zipfile will take: the last bytes, else the last that a comment may follow.
    bare = tail[-_END_SIZE:].startswith(_END) and tail.endswith(b"\0\0")
    place = len(tail) - _END_SIZE if bare else tail.rfind(_END)
    if place < 0:
        raise zipfile.BadZipFile("no end of central directory")
    count, length = struct.unpack_from("<HI", tail, place + 10)
    wide = tail[max(0, place - _WIDE_LOCATOR_SIZE) :].startswith(_WIDE_LOCATOR)
    if wide or length > _DIRECTORY_BYTES or count > MOST_MEMBERS:
        raise reject(path, subject, "too many files in the zip", f"{count}, listed in {length} bytes", _bound())


def _safe_members(members: list[zipfile.ZipInfo], path: Path, subject: str) -> list[zipfile.ZipInfo]:
    def refuse(reason: str, value: object, expectation: str) -> Unusable:
        return reject(path, subject, reason, value, expectation)

    if len(members) > MOST_MEMBERS:
        raise refuse("too many files in the zip", len(members), _bound())
    total = sum(member.file_size for member in members)
    if total > MOST_BYTES:
        raise refuse("zip unpacks too large", f"{total} bytes", f"at most {MOST_BYTES}")
    for member in members:
        name = member.filename
        windows = PureWindowsPath(name)
        if PurePosixPath(name).is_absolute() or windows.drive or windows.root or ".." in windows.parts:
            raise refuse("zip member outside", ascii(name[:80]), "names of files in the zip's own folder")
        if member.flag_bits & 1:
            raise refuse("encrypted zip", ascii(name[:80]), "members without a password")
        # Other methods unpack without a bound on memory.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refuse("unknown zip compression", member.compress_type, "stored or deflated members")
        if member.file_size > MOST_MEMBER_BYTES and not _is_zip(name):
            raise refuse("zip member too large", f"{member.file_size} bytes", f"at most {MOST_MEMBER_BYTES}")
        if member.file_size > MOST_EXPANSION * max(member.compress_size, 1_000):
            raise refuse("zip member explodes", f"{member.compress_size} bytes to {member.file_size}", "an image")
    # ZipInfo.is_dir() fails for a member whose name is cut off before its first letter.
    named = [member for member in members if member.filename and not member.filename.endswith("/")]
    return [member for member in named if not _is_zip(member.filename)]


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _bound() -> str:
    return f"at most {MOST_MEMBERS}"

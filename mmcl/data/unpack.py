"""Zip files of published cohorts unpacked into the raw folder, each file whole or not at all.

Unlike `mmcl.data.archive`, whose zips are read in place, these hold a whole cohort: their bounds are wider, and follow
from the size of the zip.
"""

from __future__ import annotations

import shutil
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from mmcl.atomic import atomic_path
from mmcl.data.checksums import is_inside
from mmcl.data.quarantine import Unusable, reject

MOST_MEMBERS = 500_000
"""A cohort has some files a subject."""

MOST_GROWTH = 20
"""Times that all members together may be larger than their zip: tables shrink to a tenth, compressed images hardly."""

SPARE_BYTES = 2**20
"""Small zips of well-compressed text are let grow by this much in any case."""

_DIRECTORY_BYTES = 2**27
_END, _END_SIZE = b"PK\x05\x06", 22
_LOCATOR, _LOCATOR_SIZE = b"PK\x06\x07", 20
_WIDE_END, _WIDE_END_SIZE = b"PK\x06\x06", 56
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError, struct.error)
_CHUNK = 2**20


def unpack(path: Path, folder: str, raw: Path, subject: str, progress: bool = True) -> list[Path]:
    """Unpack the files below `folder` of the zip at `path` into `raw`, and return where they are.

    `folder` "." stands for the whole zip; otherwise its own name is left out. A file that is there with the size that
    the zip declares is not written again. Raises `Unusable` for a damaged or encrypted zip, for names that leave the
    folder, for links, for more than `MOST_MEMBERS` members or more than `MOST_GROWTH` times the size of the zip, for a
    zip without the folder, and for a file there of another size, which may be somebody's own. ValueError where the
    disk is too full. `subject` names the cohort in errors.
    """
    try:
        _check_directory(path, subject)
        with zipfile.ZipFile(path) as file:
            members = _members(file.infolist(), path, folder, subject)
            targets = {raw / name: member for name, member in members.items()}
            missing = {target: member for target, member in targets.items() if not _is_there(target, member, subject)}
            needed = sum(member.file_size for member in missing.values())
            if (free := shutil.disk_usage(raw).free) < needed:
                raise ValueError(f"{raw}: {free} bytes free, unpacking {path.name} needs {needed}")
            bar = tqdm(missing.items(), desc=f"unpacking {path.name}", unit="file", disable=None if progress else True)
            for target, member in bar:
                _write(file, member, target, path, subject)
    except _DAMAGED as error:
        raise reject(path, subject, "unreadable zip", error, "a whole zip file") from error
    return list(targets)


def _check_directory(path: Path, subject: str) -> None:
    """Refuse a directory of members too long to be listed in bounded memory, before it is read."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        # The end record may be followed by a comment of up to 64 kB, and has another before it in zips above 4 GB.
        begin = max(0, size - _END_SIZE - _LOCATOR_SIZE - 65_535)
        file.seek(begin)
        tail = file.read()
        # The same record as zipfile will take: the last bytes, else the last that a comment may follow.
        bare = tail[-_END_SIZE:].startswith(_END) and tail.endswith(b"\0\0")
        place = len(tail) - _END_SIZE if bare else tail.rfind(_END)
        if place < 0:
            raise zipfile.BadZipFile("no end of central directory")
        count, length = struct.unpack_from("<HI", tail, place + 10)
        locator = tail[max(0, place - _LOCATOR_SIZE) : place]
        if locator.startswith(_LOCATOR):
            # zipfile reads this record right before its locator, wherever the locator points.
            file.seek(max(0, begin + place - _LOCATOR_SIZE - _WIDE_END_SIZE))
            wide = file.read(_WIDE_END_SIZE)
            if not wide.startswith(_WIDE_END):
                raise zipfile.BadZipFile("no wide end of central directory")
            count, length = struct.unpack_from("<QQ", wide, 32)
    if length > _DIRECTORY_BYTES or count > MOST_MEMBERS:
        found = f"{count}, listed in {length} bytes"
        raise reject(path, subject, "too many files in the zip", found, f"at most {MOST_MEMBERS}")


def _members(listed: list[zipfile.ZipInfo], path: Path, folder: str, subject: str) -> dict[str, zipfile.ZipInfo]:
    """Name below `folder` -> member, folders left out."""

    def refuse(reason: str, value: object, expectation: str) -> Unusable:
        return reject(path, subject, reason, value, expectation)

    if len(listed) > MOST_MEMBERS:
        raise refuse("too many files in the zip", len(listed), f"at most {MOST_MEMBERS}")
    bound = MOST_GROWTH * path.stat().st_size + SPARE_BYTES
    if (total := sum(member.file_size for member in listed)) > bound:
        raise refuse("zip unpacks too large", f"{total} bytes", f"at most {bound}")
    prefix = "" if folder == "." else folder.rstrip("/") + "/"
    found: dict[str, zipfile.ZipInfo] = {}
    for member in listed:
        name = member.filename
        if not is_inside(name.rstrip("/")):
            raise refuse("zip member outside", ascii(name[:80]), "names of files in the zip's own folder")
        if member.flag_bits & 1:
            raise refuse("encrypted zip", ascii(name[:80]), "members without a password")
        if member.external_attr >> 28 == 0xA:
            raise refuse("link in the zip", ascii(name[:80]), "files and folders")
        # Other methods unpack without a bound on memory.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise refuse("unknown zip compression", member.compress_type, "stored or deflated members")
        if name and not name.endswith("/") and name.startswith(prefix):
            if name[len(prefix) :] in found:
                raise refuse("zip member named twice", ascii(name[:80]), "one member of each name")
            found[name[len(prefix) :]] = member
    if within := [name for name in found if any(str(parent) in found for parent in PurePosixPath(name).parents)]:
        raise refuse("file and folder of one name", ascii(within[0][:80]), "files below folders")
    if not found:
        tops = sorted({member.filename.partition("/")[0] for member in listed})[:5]
        raise refuse("folder missing in the zip", ", ".join(map(ascii, tops)), f"files below {folder}")
    return found


def _is_there(target: Path, member: zipfile.ZipInfo, subject: str) -> bool:
    if not target.exists():
        return False
    if not target.is_file() or target.stat().st_size != member.file_size:
        found = f"{target.stat().st_size} bytes" if target.is_file() else "no file"
        raise reject(target, subject, "file differs from the zip's", found, f"{member.file_size} bytes, or no file")
    return True


def _write(file: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, path: Path, subject: str) -> None:
    """One member; zipfile compares its checksum at the end of the stream."""
    with atomic_path(target) as part, file.open(member) as stream, open(part, "wb") as out:
        written = 0
        while piece := stream.read(_CHUNK):
            written += len(piece)
            if written > member.file_size:
                break
            out.write(piece)
        if written != member.file_size:
            found = f"{ascii(member.filename[:80])}, {written} bytes"
            raise reject(path, subject, "zip member of another size", found, f"{member.file_size} bytes as declared")

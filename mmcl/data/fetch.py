"""Open cohorts fetched over the net, as their manifests say, into the raw folder; nothing is fetched unless asked for.

A file has its name only when it is whole and has its checksum; until then it is `<name>.partial`, which a later call
goes on with. Beside it `<name>.partial.tag` holds the mark (ETag, or date) by which the server knows the version that
the part is of: a file that has changed since is begun anew.
"""

from __future__ import annotations

import fcntl
import fnmatch
import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, urljoin

import requests
from tqdm import tqdm

from mmcl.data import checksums
from mmcl.data.manifest import Download, Manifest
from mmcl.data.quarantine import Unusable, reject
from mmcl.data.unpack import unpack

THREADS = 4
"""Files of a list fetched at once: published cohorts lie on shared servers."""

TRIES = 5
"""Of one file, all together; between them are waits of 1, 2, 4 and 8 seconds, or as the server asks."""

LONGEST_WAIT = 60.0
"""Seconds, whatever the server asks for."""

TIMEOUT = (15.0, 60.0)
"""Seconds until a connection stands, and between two pieces of a file."""

MOST_BYTES = 2**37
"""Of one file whose size the manifest does not say, 128 GiB."""

RESERVE_BYTES = 2**28
"""Space on the disk that is left alone, 256 MiB."""

_CHUNK = 2**16  # as much is lost of a connection that is cut
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_CUT = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


@dataclass(frozen=True)
class _Wanted:
    """One file: where from, where to, and what is known of it."""

    url: str
    target: Path
    sha256: str | None
    size: int | None
    cohort: str
    most: int = MOST_BYTES

    @property
    def partial(self) -> Path:
        return self.target.with_name(f"{self.target.name}.partial")

    @property
    def tag(self) -> Path:
        return self.target.with_name(f"{self.target.name}.partial.tag")


class _Again(Exception):
    """A try that failed but may be repeated, after `wait` seconds where the server says so."""

    def __init__(self, reason: object, wait: float | None = None):
        super().__init__(str(reason))
        self.wait = wait


def fetch(manifest: Manifest, raw: Path, progress: bool = True, session: requests.Session | None = None) -> list[Path]:
    """Fetch what `manifest.download` names into the folder `raw`; returns all its files, fetched now or before.

    A file that is there stays as it is, after a comparison with its checksum and size where these are known; one that
    differs is an error and not replaced, as somebody may have changed it on purpose. Zips are unpacked and kept, so
    that a second call finds them. `progress` shows bars at a terminal.

    Raises ValueError for a cohort that cannot be fetched, saying how access is had, for a server that does not give
    the file after `TRIES` tries, and for a disk too full; `Unusable` for files that are not what they should be.
    """
    raw = Path(raw)
    if not manifest.download:
        source = f": see {manifest.source}" if manifest.source else ""
        raise ValueError(f"{manifest.name} cannot be fetched, its manifest names no download{source}."
                         f" Licence or way to access: {manifest.licence}")  # fmt: skip
    raw.mkdir(parents=True, exist_ok=True)
    with _alone(raw):
        _check_space(manifest, raw)
        found: list[Path] = []
        with requests.Session() as own:
            for entry in manifest.download:
                found += _fetch_entry(entry, manifest, raw, progress, session or own)
    return list(dict.fromkeys(found))


@contextmanager
def _alone(raw: Path) -> Iterator[None]:
    """Two calls at once would write to the same partial files; the lock goes with the process."""
    handle = os.open(raw, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems know no locks on folders
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(f"{raw}: another call is fetching into this folder") from error
        yield
    finally:
        os.close(handle)


def _check_space(manifest: Manifest, raw: Path) -> None:
    """Refuse to begin what the disk cannot hold, as far as the manifest says sizes; a zip is counted twice."""
    needed = 0
    for entry in {entry.file: entry for entry in manifest.download}.values():
        wanted = _Wanted(entry.url, raw / entry.file, entry.sha256, entry.size, manifest.name)
        if entry.size is not None and not wanted.target.exists():
            needed += entry.size * (1 if entry.unpack is None else 2) - _length(wanted.partial)
    if needed > 0 and (free := shutil.disk_usage(raw).free) < needed + RESERVE_BYTES:
        raise ValueError(f"{raw}: {free} bytes free, {manifest.name} needs {needed + RESERVE_BYTES}")


def _fetch_entry(
    entry: Download, manifest: Manifest, raw: Path, progress: bool, session: requests.Session
) -> list[Path]:
    if not checksums.is_inside(entry.file):
        raise ValueError(f"download.file is {entry.file!r}, expected a path inside the raw folder")
    if entry.only and not entry.sums:
        raise ValueError(f"download.only of {entry.file} goes with sums and no other")
    most = checksums.MOST_BYTES if entry.sums else MOST_BYTES
    wanted = _Wanted(entry.url, raw / entry.file, entry.sha256, entry.size, manifest.name, most)
    off = None if progress else True
    with tqdm(desc=entry.file, unit="B", unit_scale=True, unit_divisor=1024, disable=off) as bar:
        _fetch_file(wanted, session, bar)
    found = [wanted.target]
    if entry.sums:
        files = list(_listed(entry, wanted))
        with tqdm(desc=f"files of {entry.file}", total=len(files), unit="file", disable=off) as bar:
            _fetch_all(files, session, bar)
        found += [file.target for file in files]
    if entry.unpack is not None:
        found += unpack(wanted.target, entry.unpack, raw, manifest.name, progress)
    return found


def _listed(entry: Download, the_list: _Wanted) -> Iterator[_Wanted]:
    """The files of a list that are wanted."""
    found = checksums.read_checksums(the_list.target)
    fitting = [name for name in found if not entry.only or any(fnmatch.fnmatchcase(name, p) for p in entry.only)]
    for pattern in entry.only:
        # A pattern that fits nothing is a misspelling, or the cohort was laid out anew.
        if not fnmatch.filter(fitting, pattern):
            raise reject(the_list.target, the_list.cohort, "no file fits download.only", pattern, "names in the list")
    for name in fitting:
        url = urljoin(entry.url, quote(name))
        yield replace(
            the_list, url=url, target=the_list.target.parent / name, sha256=found[name], size=None, most=MOST_BYTES
        )


def _fetch_all(files: list[_Wanted], session: requests.Session, bar: tqdm) -> None:
    """Files with a few threads; after the first failure no further one is begun."""
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(_fetch_file, file, session) for file in files]
        try:
            for future in futures:
                future.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_file(file: _Wanted, session: requests.Session, bar: tqdm | None = None) -> None:
    """Fetch one file unless it is there, with its checksum and size where they are known."""
    if file.target.exists():
        _check(file, file.target)
        return
    file.target.parent.mkdir(parents=True, exist_ok=True)
    for number in range(TRIES):
        try:
            # A part of unknown version may not fit what follows it, which only the checksum shows: then begin anew.
            resumed = _receive(file, session, bar)
            try:
                _check(file, file.partial)
            except Unusable as error:
                _forget(file)
                if not resumed:
                    raise
                raise _Again(error) from error
            os.replace(file.partial, file.target)
            file.tag.unlink(missing_ok=True)
            return
        except _Again as error:
            if number == TRIES - 1:
                raise ValueError(
                    f"{file.url} could not be fetched in {TRIES} tries: {error}; a later call goes on from there"
                ) from error
            time.sleep(min(2.0**number if error.wait is None else error.wait, LONGEST_WAIT))


def _receive(file: _Wanted, session: requests.Session, bar: tqdm | None) -> bool:
    """One try to complete the partial file; returns whether it went on with an older part."""
    begin = _length(file.partial)
    tag = file.tag.read_text(encoding="latin-1") if file.tag.is_file() else None
    if begin and tag is None and file.sha256 is None:
        _forget(file)
        begin = 0
    # Bytes are counted and compared as the server has them, so it may not compress them on the way.
    headers = {"Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
        headers |= {"If-Range": tag} if tag is not None else {}
    try:
        with session.get(file.url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            return _take(file, answer, begin, bar)
    except _CUT as error:
        raise _Again(f"{type(error).__name__}, {_length(file.partial)} bytes are there") from error
    except requests.RequestException as error:
        raise ValueError(f"{file.url} could not be fetched: {error}") from error


def _take(file: _Wanted, answer: requests.Response, begin: int, bar: tqdm | None) -> bool:
    """Write the body of an answer to the partial file, after `begin` bytes if the server goes on there."""
    if file.url.startswith("https://") and not answer.url.startswith("https://"):
        raise ValueError(f"{file.url} leads to {answer.url!r}, expected https://")
    if answer.status_code == 416 and begin:
        # There is nothing after the part: it is whole, or of another version; the length tells.
        if answer.headers.get("Content-Range") == f"bytes */{begin}" and file.sha256 is not None:
            return True
        _forget(file)
        raise _Again("the part is longer than the file")
    if answer.status_code in _AGAIN:
        wait = answer.headers.get("Retry-After", "")
        raise _Again(f"status {answer.status_code}", float(wait) if re.fullmatch("[0-9]{1,6}", wait) else None)
    goes_on = answer.status_code == 206 and begin > 0
    if answer.status_code != 200 and not goes_on:
        raise ValueError(f"{file.url} could not be fetched: status {answer.status_code} {answer.reason}")
    if (coding := answer.headers.get("Content-Encoding", "identity")) != "identity":
        raise ValueError(f"{file.url} could not be fetched: it came as {coding!r}, expected it as it is")
    length = _total(answer, begin if goes_on else None)
    if goes_on and length is None:
        _forget(file)
        raise _Again(f"unexpected range {answer.headers.get('Content-Range')!r}")
    begin = begin if goes_on else 0
    bound = file.size if file.size is not None else file.most
    if length is not None and (length > bound or (file.size is not None and length != file.size)):
        raise reject(file.url, file.cohort, "file of another size", f"{length} bytes", _expected(file))
    room = begin + shutil.disk_usage(file.target.parent).free - RESERVE_BYTES
    if length is not None and length > room:
        raise ValueError(f"{file.target}: {room} bytes free, the file has {length}")
    if not goes_on:
        _remember(file, answer)
    if bar is not None:
        bar.total, bar.n = length, begin
        bar.refresh()
    with open(file.partial, "ab" if goes_on else "wb") as out:
        for piece in answer.iter_content(_CHUNK):
            begin += len(piece)
            if begin > bound:
                out.close()
                _forget(file)
                raise reject(file.url, file.cohort, "file of another size", f"over {bound} bytes", _expected(file))
            if begin > room:
                raise ValueError(f"{file.target}: the disk is full")
            out.write(piece)
            if bar is not None:
                bar.update(len(piece))
    if length is not None and begin < length:
        raise _Again(f"{begin} of {length} bytes came")
    return goes_on


def _total(answer: requests.Response, begin: int | None) -> int | None:
    """Length of the whole file as an answer states it; of a part, None unless it begins at `begin`."""
    if begin is None:
        length = answer.headers.get("Content-Length", "")
        return int(length) if re.fullmatch("[0-9]{1,15}", length) else None
    match = re.fullmatch(r"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15})", answer.headers.get("Content-Range", ""))
    return int(match[2]) if match and int(match[1]) == begin else None


def _remember(file: _Wanted, answer: requests.Response) -> None:
    """Keep the mark of the version that is being fetched; a weak ETag does not promise the same bytes."""
    etag = answer.headers.get("ETag", "")
    tag = etag if etag.startswith('"') else answer.headers.get("Last-Modified")
    if tag is None:
        file.tag.unlink(missing_ok=True)
    else:
        file.tag.write_text(tag[:1000], encoding="latin-1")


def _forget(file: _Wanted) -> None:
    file.partial.unlink(missing_ok=True)
    file.tag.unlink(missing_ok=True)


def _check(file: _Wanted, path: Path) -> None:
    if not path.is_file():
        raise reject(path, file.cohort, "no file of this name", "a folder", "a file, or nothing")
    if file.size is not None and path.stat().st_size != file.size:
        raise reject(path, file.cohort, "file of another size", f"{path.stat().st_size} bytes", _expected(file))
    if file.sha256 is not None:
        checksums.check(path, file.sha256, file.cohort)


def _expected(file: _Wanted) -> str:
    return f"at most {file.most} bytes" if file.size is None else f"{file.size} bytes"


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0

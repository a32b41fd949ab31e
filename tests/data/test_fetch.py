"""Fetching from a server in this process, on the loopback address alone: cut, changed, wrong and hostile."""

import hashlib
import io
import os
import re
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from mmcl.data import fetch as fetching
from mmcl.data.fetch import TRIES, fetch
from mmcl.data.manifest import Download, Files, Manifest
from mmcl.data.quarantine import Unusable

BODY = bytes(range(256)) * 3000
PIECE = 2**16  # whole pieces alone reach the disk
MOST_REQUESTS = 60


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Site(ThreadingHTTPServer):
    """Files by path, and what goes wrong with them; `log` holds (path, Range, status) of every request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.log = {}, []
        self.ranges, self.etags, self.lengths = True, True, True
        self.cuts = {}  # path -> numbers of bytes after which connections are cut, one a request
        self.statuses = {}  # path -> statuses to answer first
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """A client that leaves is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        site, path, wanted = self.server, self.path, self.headers.get("Range")
        status = 500 if len(site.log) >= MOST_REQUESTS else 200
        if site.statuses.get(path):
            status = site.statuses[path].pop(0)
        elif path not in site.files:
            status = 404
        data = site.files.get(path, b"")
        etag = f'"{sha(data)[:8]}"'
        begin = 0
        if status == 200 and wanted and site.ranges and self.headers.get("If-Range", etag) == etag:
            begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            status = 206 if begin < len(data) else 416
        site.log.append((path, wanted, status))
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        if status == 416:
            self.send_header("Content-Range", f"bytes */{len(data)}")
        if site.etags:
            self.send_header("ETag", etag)
        body = data[begin:] if status in (200, 206) else b""
        if site.lengths:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if site.cuts.get(path):
            self.wfile.write(body[: site.cuts[path].pop(0)])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)
        self.close_connection = not site.lengths


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: site.waits.append(seconds))
    site = Site()
    site.waits = []
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield site
    site.shutdown()
    site.server_close()
    thread.join(5)
    assert len(site.log) < MOST_REQUESTS


@pytest.fixture
def go(site, tmp_path):
    """Fetch the given downloads into a folder, without a proxy that the environment may name."""

    def run(*downloads):
        manifest = Manifest("toy", "d", "1", "CC0-1.0", "none", True, Files(ecg="{subject}.hea"), download=downloads)
        with requests.Session() as session:
            session.trust_env = False
            return fetch(manifest, tmp_path / "raw", progress=False, session=session)

    return run


def one(site, data=BODY, **known):
    site.files["/a.bin"] = data
    return Download(f"{site.url}/a.bin", "a.bin", **known)


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_file_is_fetched_once(site, go, tmp_path):
    entry = one(site, sha256=sha(BODY), size=len(BODY))
    for _ in range(2):
        assert go(entry) == [tmp_path / "raw" / "a.bin"]
    assert (tmp_path / "raw" / "a.bin").read_bytes() == BODY
    assert left(tmp_path / "raw") == ["a.bin"] and len(site.log) == 1


@pytest.mark.parametrize("known", [{}, {"sha256": sha(BODY)}])
def test_a_cut_connection_is_resumed_where_it_broke(site, go, tmp_path, known):
    entry = one(site, **known)
    site.cuts["/a.bin"] = [5 * PIECE, 3 * PIECE]
    go(entry)
    assert (tmp_path / "raw" / "a.bin").read_bytes() == BODY
    assert [(wanted, status) for _, wanted, status in site.log] == [
        (None, 200), ("bytes=327680-", 206), ("bytes=524288-", 206),
    ]  # fmt: skip
    assert site.waits == [1.0, 2.0] and left(tmp_path / "raw") == ["a.bin"]


def test_a_later_call_goes_on_from_there(site, go, tmp_path):
    entry = one(site, size=len(BODY))
    site.cuts["/a.bin"] = [2 * PIECE] * TRIES
    with pytest.raises(ValueError, match=f"a.bin could not be fetched in {TRIES} tries"):
        go(entry)
    assert len(site.log) == TRIES
    assert left(tmp_path / "raw") == ["a.bin.partial", "a.bin.partial.tag"]
    go(entry)
    assert (tmp_path / "raw" / "a.bin").read_bytes() == BODY and site.log[-1][1:] == ("bytes=655360-", 206)


@pytest.mark.parametrize("what", ["ranges", "etags"])
def test_begun_anew_where_resuming_is_impossible(site, go, tmp_path, what):
    """Either the server ignores Range, or nothing tells that the version is still the same."""
    setattr(site, what, False)
    site.cuts["/a.bin"] = [5 * PIECE]
    go(one(site))
    assert (tmp_path / "raw" / "a.bin").read_bytes() == BODY
    assert site.log[-1] == ("/a.bin", "bytes=327680-" if what == "ranges" else None, 200)


def test_a_file_that_changed_in_between_is_begun_anew(site, go, tmp_path):
    entry = one(site)
    site.cuts["/a.bin"] = [2 * PIECE] * TRIES
    with pytest.raises(ValueError, match="could not be fetched"):
        go(entry)
    new = BODY[::-1]
    go(one(site, new))
    assert (tmp_path / "raw" / "a.bin").read_bytes() == new
    assert site.log[-1] == ("/a.bin", "bytes=655360-", 200)


def test_a_wrong_part_is_given_up_when_the_checksum_shows_it(site, go, tmp_path):
    entry = one(site, sha256=sha(BODY))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.bin.partial").write_bytes(b"x" * 1000)
    go(entry)
    assert (tmp_path / "raw" / "a.bin").read_bytes() == BODY
    assert [wanted for _, wanted, _ in site.log] == ["bytes=1000-", None]


def test_a_part_that_was_whole_only_gets_its_name(site, go, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.bin.partial").write_bytes(BODY)
    go(one(site, sha256=sha(BODY)))
    assert [status for *_, status in site.log] == [416] and left(tmp_path / "raw") == ["a.bin"]


def test_a_wrong_checksum_leaves_nothing(site, go, tmp_path):
    with pytest.raises(Unusable, match="checksum differs"):
        go(one(site, sha256=sha(b"other")))
    assert left(tmp_path / "raw") == [] and len(site.log) == 1


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("size", [len(BODY) - 1, len(BODY) + 1])
def test_a_wrong_size_leaves_nothing(site, go, tmp_path, size, lengths):
    site.lengths = lengths
    with pytest.raises(Unusable, match="file of another size"):
        go(one(site, size=size))
    assert left(tmp_path / "raw") == []


def test_a_file_of_unknown_size_is_bounded(site, go, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "MOST_BYTES", PIECE)
    site.lengths = False
    with pytest.raises(Unusable, match=f"over {PIECE} bytes"):
        go(one(site))
    assert left(tmp_path / "raw") == []


def test_a_file_that_is_there_and_differs_is_not_replaced(site, go, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.bin").write_bytes(b"mine")
    with pytest.raises(Unusable, match="checksum differs"):
        go(one(site, sha256=sha(BODY)))
    with pytest.raises(Unusable, match="another size"):
        go(one(site, size=len(BODY)))
    assert (tmp_path / "raw" / "a.bin").read_bytes() == b"mine" and not site.log


def test_what_the_server_refuses_is_not_asked_again(site, go, tmp_path):
    with pytest.raises(ValueError, match="status 404"):
        go(Download(f"{site.url}/none", "none"))
    assert len(site.log) == 1 and left(tmp_path / "raw") == []


def test_a_busy_server_is_asked_again_a_few_times(site, go, tmp_path):
    site.statuses["/a.bin"] = [503, 429]
    go(one(site))
    assert (tmp_path / "raw" / "a.bin").read_bytes() == BODY and len(site.log) == 3
    site.statuses["/b"] = [503] * 20
    with pytest.raises(ValueError, match="status 503"):
        go(Download(f"{site.url}/b", "b"))
    assert len(site.log) == 3 + TRIES


def test_a_full_disk_is_seen_first(site, go, monkeypatch):
    usage = type(fetching.shutil.disk_usage("/"))
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage(10**9, 0, 10**9))
    with pytest.raises(ValueError, match="bytes free, toy needs"):
        go(one(site, size=10**9))
    assert not site.log
    monkeypatch.setattr(fetching, "RESERVE_BYTES", 10**9 - len(BODY) + 1)
    with pytest.raises(ValueError, match="bytes free, the file has"):
        go(one(site))


def test_two_calls_at_once_are_refused(site, go, tmp_path):
    (tmp_path / "raw").mkdir()
    with fetching._alone(tmp_path / "raw"), pytest.raises(ValueError, match="another call is fetching"):
        go(one(site))
    assert not site.log


def test_without_a_download_the_way_to_access_is_named(tmp_path):
    manifest = Manifest("ukb", "d", "1", "on application", "written", False, Files(ecg="{subject}.xml"))
    with pytest.raises(ValueError, match="see https://example.org.*on application"):
        fetch(replace(manifest, source="https://example.org"), tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


LISTED = {"LICENSE.txt": b"CC", "t.csv": b"1,2\n", "r/0/a b.dat": b"abc" * 50, "r/0/b.dat": b"", "low/a.dat": b"no"}


def a_list(site, only=(), lines=None, spelling="{} {}", **known):
    lines = lines or [spelling.format(sha(data), name) for name, data in LISTED.items()]
    text = "".join(f"{line}\n" for line in lines).encode()
    site.files |= {f"/v1/{name.replace(' ', '%20')}": data for name, data in LISTED.items()}
    site.files["/v1/SUMS"] = text
    return Download(f"{site.url}/v1/SUMS", "SUMS", sums=True, only=only, **known)


@pytest.mark.parametrize("spelling", ["{} {}", "{}  {}", "{} *{}", "{}  ./{}"])
def test_a_list_brings_its_files(site, go, tmp_path, spelling):
    found = go(a_list(site, spelling=spelling))
    raw = tmp_path / "raw"
    assert [path.relative_to(raw).as_posix() for path in found] == ["SUMS", *LISTED]
    assert all((raw / name).read_bytes() == data for name, data in LISTED.items())


def test_only_what_is_wanted_of_a_list(site, go, tmp_path):
    go(a_list(site, only=("r/*", "*.csv")))
    assert left(tmp_path / "raw") == ["SUMS", "r/0/a b.dat", "r/0/b.dat", "t.csv"]
    with pytest.raises(Unusable, match="no file fits download.only"):
        go(a_list(site, only=("r/*", "*.cvs")))


def test_a_list_goes_on_by_file(site, go, tmp_path):
    entry = a_list(site)
    missing = site.files.pop("/v1/r/0/a%20b.dat")
    with pytest.raises(ValueError, match="status 404"):
        go(entry)
    site.files["/v1/r/0/a%20b.dat"] = missing
    go(entry)
    paths = [path for path, _, status in site.log if status == 200]
    assert sorted(paths) == sorted(["/v1/SUMS", *(f"/v1/{name.replace(' ', '%20')}" for name in LISTED)])
    (tmp_path / "raw" / "r/0/b.dat").write_bytes(b"rotten")
    with pytest.raises(Unusable, match="b.dat.*checksum differs"):
        go(entry)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "C:\\x", "..\\x", "a\x07", "a/"])
def test_a_list_cannot_write_outside(site, go, tmp_path, name):
    with pytest.raises(Unusable, match="outside the folder"):
        go(a_list(site, lines=[f"{sha(b'x')}  {name}"]))
    assert left(tmp_path) == ["raw/SUMS"] and len(site.log) == 1


def test_a_list_whose_own_checksum_is_known(site, go):
    with pytest.raises(Unusable, match="checksum differs"):
        go(a_list(site, sha256=sha(b"other")))
    assert len(site.log) == 1


def a_zip(members, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data, **options)
    return buffer.getvalue()


MEMBERS = {"top/": b"", "top/in/p1/Info.cfg": b"ED: 1", "top/in/p1/x.nii": os.urandom(5000), "top/out/p2/x": b"2"}


def test_zips_are_unpacked_once(site, go, tmp_path):
    raw = tmp_path / "raw"
    entry = one(site, a_zip(MEMBERS), unpack="top/in")
    assert go(entry) == [raw / "a.bin", raw / "p1/Info.cfg", raw / "p1/x.nii"]
    assert (raw / "p1/x.nii").read_bytes() == MEMBERS["top/in/p1/x.nii"]
    written = (raw / "p1/x.nii").stat().st_mtime_ns
    (raw / "p1/Info.cfg").unlink()
    go(entry, replace(entry, unpack="top/out"))
    assert left(raw) == ["a.bin", "p1/Info.cfg", "p1/x.nii", "p2/x"]
    assert (raw / "p1/x.nii").stat().st_mtime_ns == written and len(site.log) == 1
    (raw / "p1/x.nii").write_bytes(b"mine")
    with pytest.raises(Unusable, match="differs from the zip's"):
        go(entry)


def lying_zip():
    """A member that declares 5 bytes and unpacks to 5 million."""
    data = bytearray(a_zip({"x": bytes(5_000_000)}))
    for place in (data.find(b"PK\x03\x04") + 22, data.find(b"PK\x01\x02") + 24):
        data[place : place + 4] = (5).to_bytes(4, "little")
    return bytes(data)


def linking_zip():
    member = zipfile.ZipInfo("x")
    member.external_attr = 0o120777 << 16
    return a_zip({member: "/etc"})


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (a_zip({"../x": b"1"}), "outside"),
        (a_zip({"/x": b"1"}), "outside"),
        (a_zip({"a\\..\\x": b"1"}), "outside"),
        (a_zip({"x": bytes(60_000_000)}), "unpacks too large"),
        (a_zip({"x": b"1", "x/y": b"2"}), "file and folder"),
        (a_zip({"x": os.urandom(5000)})[:-100], "unreadable zip"),
        (a_zip({"x": b"1" * 5000}).replace(b"PK\x01\x02", b"PK\x01\x09"), "unreadable zip"),
        (linking_zip(), "link in the zip"),
        (lying_zip(), "unreadable zip|another size"),
        (b"<html>sign in</html>", "unreadable zip"),
        (a_zip({"other/x": b"1"}), None),
    ],
)
def test_hostile_zips_write_nothing(site, go, tmp_path, data, reason):
    folder = "." if reason else "database"
    with pytest.raises(Unusable, match=reason or "folder missing in the zip.*'other'"):
        go(one(site, data, unpack=folder))
    assert left(tmp_path) == ["raw/a.bin"]


def test_too_many_members(site, go, monkeypatch):
    monkeypatch.setattr("mmcl.data.unpack.MOST_MEMBERS", 3)
    with pytest.raises(Unusable, match="too many files"):
        go(one(site, a_zip({str(k): b"" for k in range(4)}), unpack="."))


def test_a_long_directory_is_refused_before_it_is_read(site, go, monkeypatch):
    monkeypatch.setattr("mmcl.data.unpack._DIRECTORY_BYTES", 100)
    data = a_zip({str(k): b"" for k in range(4)})
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(Unusable, match="too many files"):
        go(one(site, data, unpack="."))


def test_zips_above_four_gigabytes_have_a_wide_directory(site, go, tmp_path, monkeypatch):
    """The wide records are written for a small zip, by a lower limit in the writer."""
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    data = a_zip(MEMBERS)
    monkeypatch.undo()
    assert b"PK\x06\x06" in data
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: None)
    go(one(site, data, unpack="top"))
    assert left(tmp_path / "raw") == ["a.bin", "in/p1/Info.cfg", "in/p1/x.nii", "out/p2/x"]


def test_a_download_that_leaves_the_folder_is_refused(site, go, tmp_path):
    with pytest.raises(ValueError, match="inside the raw folder"):
        go(Download(f"{site.url}/a.bin", "../a.bin"))
    with pytest.raises(ValueError, match="goes with sums"):
        go(Download(f"{site.url}/a.bin", "a.bin", only=("*",)))
    assert left(tmp_path) == [] and not site.log


def test_a_redirection_to_plain_http_is_refused(tmp_path):
    answer = requests.Response()
    answer.url, answer.status_code = "http://127.0.0.1/a", 200
    file = fetching._Wanted("https://127.0.0.1/a", tmp_path / "a", None, None, "toy")
    with pytest.raises(ValueError, match="expected https://"):
        fetching._take(file, answer, 0, None)
    assert left(tmp_path) == []

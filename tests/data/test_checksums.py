import hashlib
import shutil
import subprocess

import pytest

from mmcl.data import checksums
from mmcl.data.checksums import check, digest, is_inside, read_checksums
from mmcl.data.quarantine import Unusable

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of no bytes, as FIPS 180-4's examples have it."""


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
@pytest.mark.parametrize("option", ["--text", "--binary"])
def test_lists_of_sha256sum(tmp_path, option):
    (tmp_path / "r").mkdir()
    contents = {"a.dat": b"abc", "r/b c.dat": b"", "r/*d": b"1"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    listed = subprocess.run(["sha256sum", option, *contents], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "sums").write_bytes(listed.stdout)
    found = read_checksums(tmp_path / "sums")
    assert list(found) == list(contents) and found["r/b c.dat"] == EMPTY
    for name, expected in found.items():
        check(tmp_path / name, expected.upper(), name)
        assert digest(tmp_path / name) == hashlib.sha256(contents[name]).hexdigest()


def test_spellings_and_what_is_skipped(tmp_path):
    path = tmp_path / "sums"
    path.write_bytes(f"# v1\r\n\r\n{EMPTY.upper()} a\r\n{EMPTY} *./b\n{EMPTY}  a\n".encode())
    assert read_checksums(path) == {"a": EMPTY, "b": EMPTY}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{EMPTY[:-1]}  a", "unreadable checksums"),
        (f"{EMPTY}", "unreadable checksums"),
        (f"\\{EMPTY}  a\\nb", "unreadable checksums"),
        ("d41d8cd98f00b204e9800998ecf8427e  a", "unreadable checksums"),
        (f"{EMPTY}  ../a", "outside"),
        (f"{EMPTY}  /a", "outside"),
        (f"{EMPTY}  c:a", "outside"),
        (f"{EMPTY}  a\n{'0' * 64}  ./a", "two checksums"),
    ],
)
def test_bad_lists(tmp_path, text, reason):
    path = tmp_path / "sums"
    path.write_text(text)
    with pytest.raises(Unusable, match=reason):
        read_checksums(path)


def test_lists_are_bounded_and_text(tmp_path, monkeypatch):
    path = tmp_path / "sums"
    with pytest.raises(Unusable, match="missing"):
        read_checksums(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(Unusable, match="unreadable"):
        read_checksums(path)
    monkeypatch.setattr(checksums, "MOST_BYTES", 1)
    with pytest.raises(Unusable, match="too long"):
        read_checksums(path)


def test_check_names_file_subject_and_both_sums(tmp_path):
    path = tmp_path / "a.dat"
    with pytest.raises(Unusable, match="missing .dat"):
        check(path, EMPTY, "s1")
    path.write_bytes(b"abc")
    with pytest.raises(Unusable, match="a.dat: subject s1: checksum differs: ba7816bf.*expected SHA-256 e3b0c442"):
        check(path, EMPTY, "s1")


def test_names_inside():
    assert all(map(is_inside, ["a", "a/b c", "./a", "a..b/c", "ü"]))
    assert not any(map(is_inside, ["", ".", "..", "a/..", "/a", "a/", "\\a", "c:\\a", "c:a", "a\n", "a/../../b"]))

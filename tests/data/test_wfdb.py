"""WFDB records of several segments, and headers that promise what no file holds."""

import resource

import numpy as np
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcl.config import LEADS
from mmcl.data.quarantine import Unusable
from mmcl.data.readers import read_wfdb
from mmcl.data.signals import Recording, harmonise

SIGNAL = np.random.default_rng(0).normal(0, 0.05, (12, 5000)).cumsum(axis=1).clip(-5, 5)
LAYOUT = "lay 12 500 0\n" + "".join(f"~ 0 1000(0)/mV 16 0 0 0 0 {name}\n" for name in LEADS)


def write_segment(folder, name, signal, leads=LEADS):
    count = len(leads)
    wfdb.wrsamp(
        name, fs=500, units=["mV"] * count, sig_name=list(leads), p_signal=signal.T, fmt=["16"] * count,
        adc_gain=[1000.0] * count, baseline=[0] * count, write_dir=str(folder),
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A folder with two segments of 4 and 6 s, and one of 6 s that has leads II and I alone."""
    write_segment(tmp_path, "one", SIGNAL[:, :2000])
    write_segment(tmp_path, "two", SIGNAL[:, 2000:])
    write_segment(tmp_path, "few", SIGNAL[[1, 0], 2000:], ("II", "I"))
    (tmp_path / "lay.hea").write_text(LAYOUT)
    return tmp_path


def record(folder, text):
    path = folder / "all.hea"
    path.write_text(text)
    return path


def reason(path):
    with pytest.raises(Unusable) as caught:
        read_wfdb(path, "s")
    return caught.value.rejection.reason


def test_segments_one_after_the_other(folder):
    found = read_wfdb(record(folder, "all/2 12 500 5000\none 2000\ntwo 3000\n"), "s")
    assert found.names == LEADS and set(found.units) == {"mV"} and found.sampling_rate == 500
    np.testing.assert_allclose(found.signal, SIGNAL, atol=6e-4)
    assert "nan" not in {flag.partition(":")[0] for flag in harmonise(found).flags}


def test_a_gap_between_segments_is_missing(folder):
    found = read_wfdb(record(folder, "all/4 12 500 5100\nlay 0\none 2000\n~ 100\ntwo 3000\n"), "s")
    assert np.isnan(found.signal[:, 2000:2100]).all()
    np.testing.assert_allclose(np.delete(found.signal, slice(2000, 2100), axis=1), SIGNAL, atol=6e-4)
    assert {f"nan:{name}" for name in LEADS} <= set(harmonise(found).flags)


def test_a_segment_with_fewer_leads_in_another_order(folder):
    found = read_wfdb(record(folder, "all/3 12 500 5000\nlay 0\none 2000\nfew 3000\n"), "s")
    np.testing.assert_allclose(found.signal[:2], SIGNAL[:2], atol=6e-4)
    assert np.isnan(found.signal[2:, 2000:]).all() and not np.isnan(found.signal[:, :2000]).any()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all/2 12 500 5000\none 2000\nthree 3000\n", "missing .hea"),
        ("all/2 12 500 5000\none 2000\n../two 3000\n", "signal file elsewhere"),
        ("all/2 12 500 5000\none 2000\n/two 3000\n", "signal file elsewhere"),
        ("all/2 12 500 5000\none 2000\nall 3000\n", "unreadable ECG"),
        ("all/2 12 500 5000\none 2000\n", "unreadable ECG"),
        ("all/3 12 500 5000000002000\nlay 0\none 2000\n~ 5000000000000\n", "too many samples"),
        ("all 12 500 5000000000\n" + 'one.dat 16 1000(0)/mV 16 0 0 0 0 "I"\n' * 12, "too many samples"),
        ("all/0 12 500 5000\n", "unreadable ECG"),
    ],
)
def test_refusals(folder, text, expected):
    assert reason(record(folder, text)) == expected


def test_a_segment_may_not_name_files_elsewhere(folder):
    path = record(folder, "all/2 12 500 5000\none 2000\ntwo 3000\n")
    header = folder / "two.hea"
    header.write_text(header.read_text().replace("two.dat", "../two.dat"))
    assert reason(path) == "signal file elsewhere"
    header.write_text(header.read_text().replace("../two.dat", "three.dat"))
    assert reason(path) == "missing .dat"


def test_formats_that_could_unpack_without_a_bound(folder):
    header = folder / "one.hea"
    text = header.read_text()
    for form in ("508", "516", "524", "16x17", "16x999999999"):
        header.write_text(text.replace("one.dat 16 ", f"one.dat {form} "))
        assert reason(header) == "unknown signal format"
        assert reason(record(folder, "all/2 12 500 5000\none 2000\ntwo 3000\n")) == "unknown signal format"
    header.write_text(text + "#" * 300_000)
    assert reason(header) == "unreadable ECG"


_WORDS = st.sampled_from(
    ["one.dat", "two", "~", "16", "212", "16x2", "80", "310", "16+24", "1000(0)/mV", "0/mV", "nan/mV", "-1", "0",
     "12", "500", "1e9", "inf", "9" * 12, "all/3", "one/2", "#", "I", "V1", "..", "/", "\n", "\0",
     "one.dat 16 1000(0)/mV 16 0 0 0 0 I\n"]
)  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_header_ends_in_a_recording_or_a_reason(folder, data):
    """Words of a good header and its record line exchanged for others, lines left out, and headers of words alone."""
    write_segment(folder, "one", SIGNAL[:, :2000])
    path = folder / "one.hea"
    lines = [line.split(" ") for line in path.read_text().splitlines()]
    for _ in range(data.draw(st.integers(1, 4))):
        line = lines[data.draw(st.integers(0, len(lines) - 1))]
        line[data.draw(st.integers(0, len(line) - 1))] = data.draw(_WORDS | st.text(max_size=6))
    text = "\n".join(" ".join(line) for line in lines)
    text = data.draw(st.just(text) | st.lists(_WORDS, max_size=30).map(" ".join) | st.text(max_size=60))
    path.write_text(text, encoding="utf-8", errors="replace")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        found = read_wfdb(path, "s")
    except Unusable as unusable:
        assert unusable.rejection.reason
    else:
        assert isinstance(found, Recording) and found.signal.shape[0] == len(found.names) == len(found.units)
        try:
            harmonise(found)
        except Unusable as unusable:
            assert unusable.rejection.reason
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 << 10


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=4_000))
def test_any_signal_file_ends_in_a_recording_or_a_reason(folder, content):
    write_segment(folder, "one", SIGNAL[:, :2000])
    (folder / "one.dat").write_bytes(content)
    try:
        found = read_wfdb(folder / "one.hea", "s")
    except Unusable as unusable:
        assert unusable.rejection.reason
    else:
        assert found.signal.shape == (12, 2000)

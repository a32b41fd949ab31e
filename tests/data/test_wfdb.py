"""WFDB records of several segments, and headers that promise what no file holds."""

import numpy as np
import pytest
import wfdb

from mmcl.config import LEADS
from mmcl.data.quarantine import Unusable
from mmcl.data.readers import read_wfdb
from mmcl.data.signals import harmonise

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

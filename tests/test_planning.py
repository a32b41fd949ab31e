"""Plans of larger cohorts: storage, hours and the bottleneck, against sums done by hand."""

import dataclasses

import pytest

from mmcl.planning import Rates, best_rates, bottleneck, plan_hours, plan_storage, stored_bytes
from mmcl.profiles import profile

PAPER = profile("paper")
RATES = Rates(preprocess_ecg=1000, preprocess_cine=2, read=1e5, mdm=2000, mmcl=500, raw_ecg=2e5, raw_cine=1e7)


def test_the_published_cohort_takes_the_published_storage():
    """28,030 ECGs of 12 x 5,000 half-precision numbers are 3.4 GB; their hearts half a gigabyte."""
    each = stored_bytes(PAPER)
    assert 28030 * each["ecg"] == pytest.approx(3.36e9, rel=0.01)
    assert 28030 * each["cine"] == pytest.approx(0.51e9, rel=0.01)


def test_storage_of_a_million():
    table = plan_storage(RATES, PAPER, 1_000_000, 100_000)
    assert table.loc["ECG", "raw_TB"] == pytest.approx(0.2)
    assert table.loc["ECG", "store_TB"] == pytest.approx(0.12)
    assert table.loc["cine CMR", "raw_TB"] == pytest.approx(1.0)
    assert table.loc["both", "recordings"] == 1_100_000


def test_hours_divide_by_devices_and_multiply_by_epochs():
    hours = plan_hours(RATES, PAPER, 1_000_000, 100_000, devices=(1, 8))
    assert hours.loc["preprocess ECGs", "hours_1"] == pytest.approx(1000 / 3600)
    assert hours.loc["pre-train MDM", "epoch"] == pytest.approx(500 / 3600)
    assert hours.loc["pre-train MDM", "hours_1"] == pytest.approx(400 * 500 / 3600)
    assert hours.loc["pre-train MMCL", "hours_8"] == pytest.approx(300 * 200 / 3600 / 8)


def test_the_bottleneck_is_named_with_what_limits_it():
    hours = plan_hours(RATES, PAPER, 1_000_000, 100_000)
    assert bottleneck(hours, RATES).startswith("Pre-train MDM takes longest") and "computing" in bottleneck(
        hours, RATES
    )
    slow = dataclasses.replace(RATES, read=100)
    hours = plan_hours(slow, PAPER, 1_000_000, 100_000)
    assert hours.loc["pre-train MDM", "a_second"] == 100
    assert "reading" in bottleneck(hours, slow)
    many = dataclasses.replace(RATES, preprocess_cine=0.001)
    assert bottleneck(plan_hours(many, PAPER, 1_000_000, 100_000), many).startswith("Preprocess cines")


def test_rates_of_make_bench_replace_rough_ones_of_the_same_device():
    rows = [{"operation": "MDM step", "fast": 3000.0}, {"operation": "simulation", "fast": 1.0}]
    rough = dataclasses.asdict(RATES)
    assert best_rates(rough, "this", {"device": "this", "rows": rows}) == dataclasses.replace(RATES, mdm=3000.0)
    assert best_rates(rough, "this", {"device": "other", "rows": rows}) == best_rates(rough, "this") == RATES


def test_what_cannot_be_is_an_error():
    with pytest.raises(ValueError, match="mdm = 0: expected a positive number"):
        dataclasses.replace(RATES, mdm=0)
    with pytest.raises(ValueError, match="0 cines"):
        plan_hours(RATES, PAPER, 10, 0)

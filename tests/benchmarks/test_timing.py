"""Two ways are timed in turn, and pairs tell how many times faster one is."""

import pytest
import torch

from tests.benchmarks.timing import Comparison, in_turn, markdown, rate


def test_turns_alternate_after_a_first_call_of_each():
    calls = []
    comparison = Comparison("adding", "one", "sums", limit=1.0)
    sides = [(lambda name=name: calls.append(name), items) for name, items in (("a", 2), ("b", 1))]
    in_turn(comparison, *sides, torch.device("cpu"), rounds=3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert len(comparison.fast) == len(comparison.reference) == 3


def test_ratios_are_of_pairs():
    comparison = Comparison("adding", "one", "sums", limit=0.5, fast=[1.0, 2.0, 4.0], reference=[3.0, 8.0, 20.0])
    row = comparison.row()
    assert row["ratio"] == {"median": 4.0, "low": 3.5, "high": 4.5, "n": 3}
    assert row["fast"] == 0.5 and row["share_of_limit"] == 0.25 and row["limit"] == 2.0
    assert "| adding | one | 0.5 sums/s | 0.125 | 4 (3.5 to 4.5) | 25 % |" in markdown([row], "device")


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1,234"), (45.64, "45.6"), (0.7891, "0.789")])
def test_three_digits(value, text):
    assert rate(value) == text

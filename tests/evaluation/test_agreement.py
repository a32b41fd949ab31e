"""Two ways of training are compared by what seeds differ."""

import itertools

import pandas as pd
import pytest

from mmcl.evaluation.agreement import agreement, compare_curves


def curves(shift):
    """Three seeds at 1, 2 and 3 in both paths; the fast one is moved by `shift` in the second epoch."""
    rows = itertools.product(("fast", "reference"), (1, 2, 3), (0, 1))
    return pd.DataFrame(
        {"arm": "mdm", "path": path, "seed": seed, "epoch": epoch, "loss": seed + shift * epoch * (path == "fast")}
        for path, seed, epoch in rows
    )


@pytest.mark.parametrize(("shift", "within"), [(0.9, True), (-0.9, True), (1.1, False)])
def test_a_difference_counts_when_it_exceeds_the_spread_between_seeds(shift, within):
    table = compare_curves(curves(shift))
    assert table["spread"].tolist() == pytest.approx([1.0, 1.0])
    assert table["difference"].tolist() == pytest.approx([0.0, shift])
    assert table["within"].tolist() == [True, within]
    sentence = agreement(table)["mdm"]
    assert ("no larger than" if within else "LARGER than") in sentence and f"{1 + within} of 2 epochs" in sentence


def test_one_seed_has_no_spread():
    one = curves(0.0)
    with pytest.raises(ValueError, match="two seeds"):
        compare_curves(one[one["seed"] == 1])
    with pytest.raises(ValueError, match="expected"):
        compare_curves(one[one["path"] == "fast"])

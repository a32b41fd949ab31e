"""Sentences follow the numbers, whichever way they fall."""

import numpy as np
import pandas as pd
import pytest

from mmcl.interpretation.verdict import LEAST, findings, sanity_verdicts

ROW = {"arm": "mmcl", "map": "occlusion", "measure": "pixel AUROC", "region": "heart", "n": 20, "baseline": 0.5}
ROW |= {"value": 0.7, "low": 0.6, "high": 0.8, "shuffled": 0.45, "gain_low": 0.1, "gain_n": 20}
ROW |= {"random": 0.55, "over_random_low": 0.05, "over_random_n": 20}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "supported, 0.700 (0.600 to 0.800, n = 20) is above the baseline (0.500), shuffled subjects (0.450), "
             "random weights (0.550)."),
        ({"over_random_low": -0.01}, "not supported, 0.700 (0.600 to 0.800, n = 20) is above the baseline (0.500), "
             "shuffled subjects (0.450); not above random weights (0.550)."),
        ({"low": 0.4, "gain_low": 0.0}, "not above the baseline (0.500), shuffled subjects (0.450)."),
        ({"over_random_n": 0}, "open, 0.700 (0.600 to 0.800, n = 20) is above the baseline (0.500), shuffled subjects "
             "(0.450); not compared with random weights."),
        ({"gain_n": LEAST - 1, "low": 0.4}, "not supported"),
        ({"n": 0, "value": np.nan}, "could not be measured."),
        ({"n": LEAST - 1}, "n = 9), too few subjects to tell."),
    ],
)  # fmt: skip
def test_supported_is_what_meets_every_condition(change, expected):
    (said,) = findings(pd.DataFrame([ROW | change]))
    assert said.startswith("mmcl, occlusion, pixel AUROC, heart: ") and expected in said


def test_outcomes_that_agree_in_two_subjects_support_nothing():
    certain = ROW | {"value": 1.0, "low": 1.0, "high": 1.0, "gain_low": 1.0, "over_random_low": 1.0}
    few = {"n": 2, "gain_n": 2, "over_random_n": 2}
    told = findings(pd.DataFrame([certain, certain | few]))
    assert ": supported" in told[0] and "supported" not in told[1]


def check(name, low, high, n=20):
    place = {"check": name, "side": "ecg", "map": "rollout", "step": "embedding"}
    return place | {"measure": "Spearman", "value": (low + high) / 2, "low": low, "high": high, "n": n}


@pytest.mark.parametrize(
    ("low", "high", "passes"), [(-0.2, 0.3, True), (0.4, 0.6, False), (-0.9, -0.8, False), (-0.6, 0.1, False)]
)
def test_a_map_turned_upside_down_still_depends_on_nothing_new(low, high, passes):
    (found,) = sanity_verdicts(pd.DataFrame([check("random weights", low, high)])).to_dict("records")
    assert (found["passed"], found["failed"]) == ((["random weights"], []) if passes else ([], ["random weights"]))
    assert found["verdict"].endswith("passes 0 of 1 checks: it means nothing.") != passes


def test_few_subjects_decide_no_check():
    rows = [check("random weights", -0.1, 0.1), check("other training", -0.1, 0.1, LEAST - 1)]
    (told,) = sanity_verdicts(pd.DataFrame(rows))["verdict"]
    assert told == "rollout over the ECG passes 1 of 2 checks (random weights): too few subjects to tell (n = 9)."

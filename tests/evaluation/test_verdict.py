"""Sentences and tallies follow the interval, whichever way it falls."""

import numpy as np
import pandas as pd

from mmcl.evaluation.verdict import tally, verdicts


def table():
    same = {"task": "risk", "arm": "mdm+mmcl", "mode": "probe", "labels": "200", "metric": "AUROC"}
    rows = [
        {"target": "CAD", "reference": "mdm", "value": 0.05, "low": 0.02, "high": 0.08},
        {"target": "AF", "reference": "mdm", "value": -0.05, "low": -0.08, "high": -0.02},
        {"target": "DM", "reference": "mdm", "value": 0.01, "low": -0.02, "high": 0.04},
        {"target": "CAD", "reference": "", "value": 0.8, "low": 0.7, "high": 0.9},
        {"target": "CAD", "reference": "mmcl", "value": np.nan, "low": np.nan, "high": np.nan},
    ]
    return pd.DataFrame([same | row for row in rows])


def test_sentences_follow_the_interval():
    better, worse, unclear, unknown = verdicts(table(), ["CAD", "AF", "DM"], "AUROC")
    assert better == "CAD, probe, 200 labels: mdm+mmcl is better than mdm: AUROC +0.050 (+0.020 to +0.080)"
    assert "is worse than mdm" in worse
    assert "is not clearly different from mdm" in unclear
    assert unknown.endswith("could not be scored")


def test_a_share_of_the_labels_is_told_in_per_cent():
    (first, *_) = verdicts(table().assign(labels="0.01"), ["CAD"], "AUROC")
    assert first.startswith("CAD, probe, 1 % of labels: ")


def test_the_tally_counts_each_way():
    counts = tally(table(), ["CAD", "AF", "DM"], "AUROC")
    assert counts.loc[("probe", "200", "mdm")].tolist() == [1, 1, 1, 0]
    assert counts.loc[("probe", "200", "mmcl")].tolist() == [0, 0, 0, 1]

"""Published numbers stand beside ours, apart, and as the source has them."""

import numpy as np
import pandas as pd
import pytest

from mmcl.evaluation.published import (
    FILE,
    beside_published,
    largest_gains,
    published_claims,
    published_numbers,
)
from mmcl.evaluation.tables import COLUMNS


def results(**changes) -> pd.DataFrame:
    rows = [
        {"target": "LVEDV", "arm": "mdm", "value": 0.31, "low": 0.25, "high": 0.36},
        {"target": "LVM", "arm": "mdm+mmcl", "value": 0.4, "low": 0.35, "high": 0.45},
    ]
    same = {"task": "phenotypes", "reference": "", "mode": "finetune", "labels": "all", "metric": "R2", "subgroup": ""}
    return pd.DataFrame(rows).assign(**(same | changes)).reindex(columns=list(COLUMNS))


def test_the_table_is_the_published_one():
    table = published_numbers().pivot(index="encoder", columns="target", values="value")
    assert table.shape == (4, 5)
    assert table.loc["MMCL (the method)", "LVM"] == 0.597 and table.loc["ECG masked autoencoder", "LVEF"] == 0.233
    assert published_claims()["value"].tolist() == [12.19, 27.59]


def test_ours_stand_apart_and_what_has_no_counterpart_is_a_dash():
    table = beside_published(results(), "simulated")
    theirs, ours = table["UK Biobank, patients (published)"], table["simulated (ours)"]
    assert theirs.loc["ECG masked autoencoder", "LVEDV"] == "0.478"
    assert ours.loc["ECG masked autoencoder", "LVEDV"] == "0.310 (0.250 to 0.360)"
    assert ours.loc["MMCL (the method)", "LVM"].startswith("0.400")
    assert (
        ours.loc["cross-modal autoencoder"].eq("missing").all() and ours.loc["MMCL (the method)", "LVEDV"] == "missing"
    )
    assert beside_published(results(reference="mdm"), "simulated")["simulated (ours)"].eq("missing").all(axis=None)


def test_the_largest_gain_of_each_metric():
    rows = results(reference="scratch", relative=[20.0, np.nan])
    assert largest_gains(rows)["target"].tolist() == ["LVEDV"]
    assert largest_gains(results(reference="mdm", relative=3.0)).empty


def test_an_encoder_with_too_few_values_is_named(tmp_path):
    path = tmp_path / "published.yaml"
    path.write_text(FILE.read_text().replace("[0.394, ", "["))
    with pytest.raises(ValueError, match="ECG transformer, supervised has 4 values; expected 5"):
        published_numbers(path)

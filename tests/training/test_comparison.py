"""The table of the comparison: which cells it has and what its adjusted and paired rows mean."""

import numpy as np
import pytest

from mmcl.phenotypes import GROUPS, TARGETS
from mmcl.setting import open_setting
from mmcl.training.cells import Cell, run_cell
from mmcl.training.comparison import MISSING_SEED, compare, read_entries, score
from mmcl.training.experiments import METHOD

PRETRAINED = ("mdm", "mmcl", "mdm+mmcl")
PROBED, TUNED = ("random", *PRETRAINED, "cmr"), ("scratch", *PRETRAINED, "cmr")


@pytest.mark.slow
def test_every_cell_is_there_and_differences_are_of_the_plain_scores(smoke_run):
    setting = open_setting("smoke", device="cpu")
    entries = compare("phenotypes", setting)
    few = str(setting.profile.downstream.few_labels[0])
    cells = {(entry.arm, entry.mode, entry.labels) for entry in entries}
    assert cells >= {(arm, "probe", n) for arm in PROBED for n in (few, "all")}
    assert cells >= {(arm, "knn", n) for arm in PROBED for n in (few, "all")}
    assert cells >= {(arm, "finetune", n) for arm in TUNED for n in (few, "all")}
    assert ("demographics", "", "all") in cells

    whole = table = score(entries, "phenotypes", setting)
    table = table[table["target"].eq("LVM") & table["labels"].eq("all")].set_index(["arm", "mode", "metric"])
    plain = table[table["reference"].eq("")]["value"]
    paired = table[table["reference"].eq("mdm")]["value"]
    for metric in ("r", "R2"):
        expected = plain[METHOD, "probe", metric] - plain["mdm", "probe", metric]
        np.testing.assert_allclose(paired[METHOD, "probe", metric], expected, atol=1e-9)
    assert plain["demographics", "", "partial R2"] < 0.2

    compared = whole[(whole["reference"] != "") & whole["p"].notna()]
    assert compared["p"].between(0, 1).all() and (compared["p_holm"] >= compared["p"]).all()
    assert whole["p_holm"][whole["reference"] == ""].isna().all() and whole["subgroup"].eq("").all()
    gains = compared[compared["target"].eq("LVM") & compared["metric"].eq("R2") & compared["mode"].eq("finetune")]
    gains = gains.set_index(["reference", "labels"])["value"]
    for reference in ("mdm", "scratch"):
        expected = gains[reference, few] - gains[reference, "all"]
        np.testing.assert_allclose(gains[reference, f"{few} less all"], expected, atol=1e-9)


def test_a_cell_without_results_shows_as_missing(own_setting):
    for arm in ("demographics", "ecg features"):
        assert run_cell(Cell(arm, "linear", "phenotypes", None, 0), own_setting) == "done"
    found = read_entries("phenotypes", own_setting)
    assert not (own_setting.run.checkpoints).exists(), "nothing is trained"
    there = {(entry.arm, entry.labels) for entry in found if entry.outcomes}
    assert there == {("demographics", "all"), ("ecg features", "all")}
    table = score(found, "phenotypes", own_setting)
    lacking = table[(table["arm"] == "mdm") & (table["mode"] == "finetune") & (table["labels"] == "all")]
    assert set(lacking["seed"]) == {MISSING_SEED} and set(lacking["n"]) == {0} and lacking["value"].isna().all()
    alone = table[(table["arm"] == "demographics") & (table["labels"] == "all")]
    assert set(lacking["target"]) == set(alone["target"]) == {*TARGETS, *(f"{group} mean" for group in GROUPS)}
    assert alone["n"].gt(0).any() and MISSING_SEED not in set(alone["seed"])
    unpaired = table[(table["reference"] == "demographics") & (table["labels"] == "all")]
    assert set(unpaired["arm"]) == {METHOD} and unpaired["value"].isna().all() and unpaired["n"].eq(0).all()

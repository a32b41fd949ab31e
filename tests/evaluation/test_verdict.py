"""Verdicts follow interval and corrected p, whichever way they fall, and what is missing is said to be."""

import numpy as np
import pandas as pd
import pytest

from mmcl.evaluation.verdict import (
    BEYOND,
    CLAIMS,
    FAILS,
    HOLDS,
    MISSING,
    OPEN,
    Claim,
    best_of,
    ideas_on,
    judge,
    sentences,
    summary,
    tally,
)

TARGETS = ["CAD", "AF", "DM"]
CLAIM = Claim("MDM + MMCL is better than MDM alone", ("mdm",))


def table(**changes):
    same = {"task": "risk", "arm": "mdm+mmcl", "reference": "mdm", "mode": "probe", "labels": "200", "metric": "AUROC"}
    rows = [
        {"target": "CAD", "value": 0.05, "low": 0.02, "high": 0.08, "p_holm": 0.002, "relative": 8.1},
        {"target": "AF", "value": -0.05, "low": -0.08, "high": -0.02, "p_holm": 0.0001, "relative": np.nan},
        {"target": "DM", "value": 0.01, "low": -0.02, "high": 0.04, "p_holm": 1.0, "relative": 1.4},
    ]
    return pd.DataFrame([same | row | {"subgroup": ""} for row in rows]).assign(**changes)


def verdicts(results, claim=CLAIM, mode="probe", labels="200"):
    judged = judge(results, TARGETS, "AUROC", "200", [claim])
    return judged[(judged["mode"] == mode) & (judged["labels"] == labels)].set_index("target")["verdict"].tolist()


def test_verdicts_follow_interval_and_corrected_p():
    assert verdicts(table()) == [HOLDS, FAILS, OPEN]
    assert verdicts(table(p_holm=0.2)) == [OPEN, OPEN, OPEN]
    assert verdicts(table(p_holm=np.nan)) == [OPEN, OPEN, OPEN]
    assert verdicts(table(value=np.nan)) == [MISSING] * 3
    assert verdicts(table(), mode="finetune") == verdicts(table(), labels="all") == [MISSING] * 3
    reverse = Claim("MDM alone is better", ("mdm",), better="reference")
    assert verdicts(table(), reverse) == [FAILS, HOLDS, OPEN]


def test_few_labels_are_judged_by_rows_of_their_own():
    claim = Claim("gains more with few labels", ("mdm",), few=True)
    assert verdicts(table(), claim, labels="200 less all") == [MISSING] * 3
    assert verdicts(table(labels="200 less all"), claim, labels="200 less all") == [HOLDS, FAILS, OPEN]


def test_an_arm_of_ones_own_is_asked_about_among_the_ideas_and_an_ablation_is_not():
    results = pd.concat([table(), table(reference="hot"), table(reference="mdm+mmcl.temperature_0.3")])
    judged = judge(results, TARGETS, "AUROC", "200")
    own = judged[judged["reference"] == "hot"]
    assert set(own["claim"]) == {"The arm hot is better than MDM + MMCL"}
    assert own[(own["mode"] == "probe") & (own["labels"] == "200")]["verdict"].tolist() == [FAILS, HOLDS, OPEN]
    assert "mdm+mmcl.temperature_0.3" not in set(judged["reference"])
    assert ideas_on(results) == [*(claim.references[0] for claim in BEYOND), "hot"]


def test_subgroups_and_double_rows_do_not_mix_in():
    parts = table(subgroup="women", value=-1.0)
    assert verdicts(pd.concat([parts, table()])) == [HOLDS, FAILS, OPEN]
    with pytest.raises(ValueError, match="more than one difference"):
        verdicts(pd.concat([table(), table()]))


def test_a_sentence_holds_all_numbers():
    (sentence,) = sentences(
        judge(table(), TARGETS, "AUROC", "200", [CLAIM]).query("mode == 'probe' and labels == '200'")
    )
    assert sentence == (
        "MDM + MMCL is better than MDM alone (linear probe, 200 labels): "
        "holds for CAD AUROC +0.050 (+0.020 to +0.080, +8 %, p 0.002). "
        "Does not hold for AF AUROC -0.050 (-0.080 to -0.020, p < 0.001). "
        "Cannot be told for DM AUROC +0.010 (-0.020 to +0.040, +1 %, p 1, interval includes 0)."
    )
    (other,) = sentences(judge(table(p_holm=0.2), ["CAD"], "AUROC", "200", [CLAIM]).iloc[:1])
    assert "p 0.2, not after Holm's correction" in other
    (absent,) = sentences(judge(table().iloc[:0], TARGETS, "AUROC", "200", [CLAIM]).iloc[:3])
    assert absent.endswith("(linear probe, 200 labels): missing for CAD; AF; DM.")


def test_the_summary_counts_each_way_for_every_claim():
    counts = summary(judge(table(), TARGETS, "AUROC", "200"))
    assert counts.loc[(CLAIM.words, "mdm", "probe", "200")].tolist() == [1, 1, 1, 0]
    assert counts.loc[(CLAIM.words, "mdm", "finetune", "all")].tolist() == [0, 0, 0, 3]
    assert counts.sum(axis=1).eq(3).all()
    assert set(counts.index.get_level_values("claim")) == {claim.words for claim in CLAIMS}


def test_the_best_arm_is_named_with_those_that_are_missing():
    rows = table(reference="", arm=["a", "a", "a"], value=[0.7, 0.6, 0.8])
    rows = pd.concat([rows, table(reference="", arm="b", value=0.75), table(reference="", arm="c", value=np.nan)])
    line = best_of(rows, ["a", "b", "c", "d"], TARGETS, "AUROC", "probe", "200")
    assert line == "linear probe, 200 labels, mean AUROC of CAD, AF, DM: b 0.750, a 0.700; missing: c, d"
    assert best_of(rows, ["d"], TARGETS, "AUROC", "probe", "200").endswith("DM; missing: d")
    assert all(len(claim.references) == 1 for claim in BEYOND)


def test_the_tally_counts_each_way():
    results = pd.concat([table(), table(reference="mmcl", value=np.nan)])
    counts = tally(results, TARGETS, "AUROC")
    assert counts.loc[("probe", "200", "mdm")].tolist() == [1, 1, 1, 0]
    assert counts.loc[("probe", "200", "mmcl")].tolist() == [0, 0, 0, 3]

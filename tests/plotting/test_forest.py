"""Forests and subgroups: every number in its place, arms in their colours, what is missing or not told said so."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from mmcl.plotting.forest import draw_forest
from mmcl.plotting.style import ARMS
from mmcl.plotting.subgroups import draw_subgroups


def table(**changes) -> pd.DataFrame:
    rows = [
        {"target": target, "arm": name, "mode": mode, "value": value}
        for target in ("CAD", "AF")
        for name, mode, value in (
            ("mdm", "probe", 0.6),
            ("mdm+mmcl", "probe", 0.7),
            ("mdm", "finetune", 0.65),
            ("demographics", "", 0.72),
        )
    ]
    same = {"reference": "", "labels": "all", "metric": "AUROC", "n": 1500, "seed": "0 101", "p_holm": np.nan}
    frame = pd.DataFrame(rows).assign(**(same | changes))
    return frame.assign(low=frame.value - 0.04, high=frame.value + 0.03)


def differences() -> pd.DataFrame:
    frame = table(p_holm=[0.01, 0.2] * 4)
    frame = frame[frame.arm != "mdm+mmcl"]
    return frame.assign(reference=frame.arm, arm="mdm+mmcl", value=frame.value - 0.65)


def dots(figure, gid):
    return [line for axes in figure.axes for line in axes.get_lines() if line.get_gid() == gid]


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_arms_stand_in_sections_at_their_values_in_their_colours():
    figure = draw_forest(table(), ["CAD", "AF"], "AUROC", "simulated")
    left = figure.axes[0]
    labels = [text.get_text() for text in left.get_yticklabels()]
    assert labels == ["Linear probe", "MDM", "MDM + MMCL", "Fine-tuned", "MDM", "Reference", "Demographics"]
    (dot,) = dots(figure, "mdm+mmcl probe CAD")
    assert float(dot.get_xdata()[0]) == pytest.approx(0.7) and float(dot.get_ydata()[0]) == left.get_yticks()[2]
    assert to_hex(dot.get_color()).upper() == ARMS["mdm+mmcl"].colour
    bars = [line.get_xdata() for line in left.get_lines() if len(line.get_xdata()) == 2]
    assert any(np.allclose(bar, [0.66, 0.73]) for bar in bars), "the interval"
    assert any(np.allclose(bar, [0.7, 0.7]) for bar in bars), "the line through the method"
    foot = figure.texts[0].get_text()
    assert "95 % bootstrap interval" in foot and "n = 1,500" in foot and "2 training seeds" in foot


def test_a_missing_result_says_so():
    results = table()
    gone = results.value.where((results.arm != "mdm") | (results.target != "AF") | (results["mode"] != "probe"))
    for each in (results.assign(value=gone), results[gone.notna()]):
        figure = draw_forest(each, ["CAD", "AF"], "AUROC", "simulated")
        assert words(figure) == ["missing"] and not dots(figure, "mdm probe AF")
    nothing = results.assign(value=np.nan, n=0, seed="missing")
    assert "No result yet" in draw_forest(nothing, ["CAD"], "AUROC", "simulated").texts[0].get_text()


def test_a_result_far_beyond_the_others_is_named_at_the_edge():
    rows = table()
    far = rows.assign(value=rows.value.where(rows.index != 3, -12.0), low=rows.low.where(rows.index != 3, -20.0))
    figure = draw_forest(far, ["CAD", "AF"], "AUROC", "simulated")
    assert words(figure) == ["◂ -12.0"] and figure.axes[0].get_xlim()[0] > 0.3
    low, high = draw_forest(rows, ["CAD", "AF"], "AUROC", "simulated").axes[0].get_xlim()
    assert low < 0.56 and high > 0.75, "all intervals are in view"


def test_differences_are_named_by_the_other_arm_and_filled_when_told_apart():
    figure = draw_forest(differences(), ["CAD", "AF"], "AUROC", "simulated", titles={"CAD": "Coronary disease"})
    assert figure.axes[0].get_title("left") == "Coronary disease" and figure.axes[1].get_xlabel() == (
        "MDM + MMCL less the arm, AUROC"
    )
    (told,), (not_told,) = dots(figure, "mdm probe CAD"), dots(figure, "demographics  CAD")
    assert told.get_markerfacecolor() == ARMS["mdm"].colour and not_told.get_markerfacecolor() == "white"
    assert len(dots(figure, "zero")) == 2 and "after Holm's correction" in figure.texts[0].get_text()


def test_mixed_doubled_and_unknown_rows_are_refused():
    with pytest.raises(ValueError, match="scores and differences"):
        draw_forest(pd.concat([table(), differences()]), ["CAD"], "AUROC", "simulated")
    with pytest.raises(ValueError, match="more than one AUROC for CAD / mdm"):
        draw_forest(pd.concat([table(), table()]), ["CAD"], "AUROC", "simulated")
    with pytest.raises(ValueError, match="unknown mode"):
        draw_forest(table(mode="lasso"), ["CAD"], "AUROC", "simulated")


def test_parts_stand_above_their_differences():
    rows = [("women", "", 0.7), ("men", "", 0.6), ("women", "men", 0.1), ("old", "", np.nan)]
    parts = pd.DataFrame(rows, columns=["subgroup", "reference", "value"]).assign(target="CAD", arm="mdm")
    same = {"metric": "AUROC", "mode": "probe", "labels": "all", "n": 400, "seed": "0"}
    parts = parts.assign(low=parts.value - 0.1, high=parts.value + 0.1, **same)
    figure = draw_subgroups(pd.concat([parts, table(subgroup="")]), ["CAD"], "AUROC", "simulated")
    upper, lower = figure.axes
    assert [text.get_text() for text in upper.get_yticklabels()] == ["women", "men", "old"]
    assert [text.get_text() for text in lower.get_yticklabels()] == ["women\nless men"]
    (dot,) = dots(figure, "mdm women men CAD")
    assert float(dot.get_xdata()[0]) == pytest.approx(0.1) and words(figure) == ["missing"]
    assert lower.get_xlabel() == "Difference in AUROC" and "n = 400" in figure.texts[0].get_text()
    nobody = draw_subgroups(table(subgroup=""), ["CAD"], "AUROC", "simulated")
    assert words(nobody)[0].startswith("missing: this cohort does not know")

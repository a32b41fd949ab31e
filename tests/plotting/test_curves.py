"""Scaling and ablation curves: arms are read from their names, settings stand in order, gaps are crosses."""

import numpy as np
import pandas as pd
import pytest

from mmcl.plotting.curves import draw_ablations, draw_scaling, varied


def table() -> pd.DataFrame:
    values = {
        "mdm": 0.5,
        "mdm+mmcl": 0.6,
        "mdm.pairs_0.1": 0.4,
        "mdm+mmcl.pairs_0.1": np.nan,
        "mdm+mmcl.pairs_500": 0.55,
        "mdm+mmcl.temperature_0.5": 0.45,
        "mdm+mmcl.temperature_0.05": 0.58,
        "mdm+mmcl.temperature_learnt": 0.59,
        "mdm.mask_0.4": 0.44,
        "mdm+mmcl.published": 0.57,
        "simclr": 0.5,
    }
    same = {
        "target": "CAD",
        "metric": "AUROC",
        "mode": "probe",
        "labels": "all",
        "reference": "",
        "n": 900,
        "seed": "0",
    }
    frame = pd.DataFrame({"arm": list(values), "value": list(values.values())}).assign(**same)
    return frame.assign(low=frame.value - 0.05, high=frame.value + 0.05)


def line(figure, gid):
    (found,) = [each for axes in figure.axes for each in axes.get_lines() if each.get_gid() == gid]
    return found


def test_names_are_read():
    rows = varied(table()).set_index("arm")[["base", "number", "setting"]]
    assert rows.loc["mdm+mmcl.temperature_learnt"].tolist() == ["mdm+mmcl", "temperature", "learnt"]
    assert rows.loc["mdm+mmcl.published"].tolist() == ["mdm+mmcl", "variant", "published"]
    assert len(rows) == 8 and "simclr" not in rows.index


def test_scaling_ends_at_all_subjects_and_crosses_what_is_missing():
    figure = draw_scaling(table(), ["CAD"], "AUROC", "simulated", 1000)
    np.testing.assert_allclose(line(figure, "mdm CAD").get_xydata(), [[100, 0.4], [1000, 0.5]])
    np.testing.assert_allclose(line(figure, "mdm+mmcl CAD").get_xydata(), [[500, 0.55], [1000, 0.6]])
    assert line(figure, "missing mdm+mmcl CAD").get_xdata().tolist() == [100]
    axes = figure.axes[0]
    assert axes.get_xscale() == "log" and [t.get_text() for t in axes.get_xticklabels()] == ["100", "500", "1,000"]
    assert "Crosses: missing" in figure.texts[0].get_text()


def test_ablations_stand_in_order_around_the_default():
    figure = draw_ablations(table(), "CAD", "AUROC", "simulated", {"temperature": 0.1}, {"mask": "masking ratio"})
    first, second = figure.axes[:2]
    assert (first.get_title("left"), second.get_title("left")) == ("temperature", "masking ratio")
    assert [t.get_text() for t in first.get_xticklabels()] == ["0.05", "0.1", "0.5", "learnt"]
    assert line(figure, "mdm+mmcl temperature").get_ydata().tolist() == [0.58, 0.6, 0.45, 0.59]
    assert [t.get_text() for t in second.get_xticklabels()] == ["0.4", "default"]
    assert figure.axes[2].get_title("left") == "variant"
    assert line(figure, "mdm mask").get_ydata().tolist() == [0.44, 0.5]


def test_where_nothing_was_varied_the_figure_says_so():
    plain = table()[~table().arm.str.contains(r"\.")]
    for figure in (
        draw_scaling(plain, ["CAD"], "AUROC", "simulated", 1000),
        draw_ablations(plain, "CAD", "AUROC", "simulated"),
    ):
        assert figure.axes[0].texts[0].get_text().startswith("missing: no ")
    with pytest.raises(ValueError, match="more than one AUROC"):
        draw_scaling(pd.concat([table(), table()]), ["CAD"], "AUROC", "simulated", 1000)

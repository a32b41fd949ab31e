"""Result figures: every number in its place, arms in their colours, what is missing said so."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve

from mmcl.evaluation.calibration import reliability
from mmcl.evaluation.predictions import Predictions
from mmcl.plotting.predictions import draw_reliability, draw_roc, draw_scatter
from mmcl.plotting.results import draw_adjusted, draw_label_efficiency
from mmcl.plotting.training import draw_training


def table(**changes) -> pd.DataFrame:
    rows = [
        {"target": target, "arm": name, "labels": labels, "value": value + shift - (labels == "200") * 0.1}
        for target, shift in (("LVEDV", 0.0), ("LVM", 0.1))
        for name, value in (("mdm", 0.4), ("mdm+mmcl", 0.5), ("demographics", 0.6))
        for labels in ("200", "all")
    ]
    same = {"task": "phenotype", "reference": "", "mode": "probe", "metric": "R2", "n": 1500, "seed": "0 101"}
    frame = pd.DataFrame(rows).assign(**(same | changes), seed_sd=0.01)
    return frame.assign(low=frame.value - 0.04, high=frame.value + 0.03)


def dots(figure, gid):
    return [line for axes in figure.axes for line in axes.get_lines() if line.get_gid() == gid]


def test_label_efficiency_runs_from_few_to_all():
    figure = draw_label_efficiency(table(), ["LVEDV", "LVM"], "R2", "simulated")
    (line,) = dots(figure, "mdm LVM")
    assert list(line.get_ydata()) == pytest.approx([0.4, 0.5])
    axes = figure.axes[1]
    assert axes.get_title("left") == "LVM" and [t.get_text() for t in axes.get_xticklabels()] == ["200", "all"]
    assert axes.get_xlabel() == "Labelled subjects"


def test_a_missing_number_of_labels_is_a_cross_and_shares_are_per_cent():
    results = table().replace({"labels": {"200": "0.01"}})
    results = results[~((results.arm == "mdm") & (results.labels == "0.01") & (results.target == "LVM"))]
    figure = draw_label_efficiency(results, ["LVEDV", "LVM"], "R2", "simulated")
    (cross,) = dots(figure, "missing mdm LVM")
    assert (
        cross.get_marker() == "x" and cross.get_xdata().size == 1 and "Crosses: missing" in figure.texts[0].get_text()
    )
    assert not dots(figure, "missing mdm LVEDV")
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1 %", "all"]


def test_ambiguous_absent_or_unknown_results_are_refused():
    with pytest.raises(ValueError, match="more than one R2 for LVEDV / mdm / 200"):
        draw_label_efficiency(pd.concat([table(), table()]), ["LVEDV"], "R2", "simulated")
    with pytest.raises(ValueError, match="no results of AUROC for CAD"):
        draw_label_efficiency(table(), ["CAD"], "AUROC", "simulated")


def test_adjusted_panels_share_scale_and_arms():
    results = table()[table().labels == "all"]
    adjusted = results.assign(value=results.value / 2, low=results.low / 2, high=results.high / 2)
    figure = draw_adjusted(results, adjusted, ["LVEDV", "LVM"], "R2", "simulated")
    left, right = figure.axes
    assert len(dots(figure, "chance")) == 2
    assert left.get_xlim() == right.get_xlim() and right.get_xlabel() == "Partial R²"
    assert [float(dot.get_xdata()[0]) for dot in dots(figure, "mdm LVM")] == pytest.approx([0.5, 0.25])
    foot = left.figure.texts[0].get_text()
    assert "95 % bootstrap interval" in foot and "n = 1,500" in foot and "2 training seeds" in foot
    with pytest.raises(ValueError, match="gain in AUROC"):
        draw_adjusted(results, adjusted, ["CAD"], "AUROC", "simulated")


def example(names=("LVEDV", "LVM"), n=200) -> Predictions:
    generator = np.random.default_rng(0)
    truth = generator.normal(100, 20, size=(n, len(names)))
    score = truth + generator.normal(0, 10, size=truth.shape)
    truth[:20, 0] = np.nan
    return Predictions(np.arange(n).astype(str), names, truth, score)


def test_scatter_shows_given_labels_units_and_scores():
    figure = draw_scatter(example(), {"LVEDV": "ml", "LVM": "g"}, "simulated", np.random.default_rng(0), resamples=50)
    (cloud,) = dots(figure, "LVEDV")
    assert cloud.get_xdata().size == 180 and figure.axes[0].get_title("left") == "LVEDV, n = 180"
    assert figure.axes[1].get_xlabel() == "True (g)" and figure.axes[1].get_aspect() == 1
    assert figure.axes[0].texts[0].get_text().startswith("R² 0.")


def test_reliability_shows_shares_of_cases_and_everybody():
    generator = np.random.default_rng(0)
    probability = generator.uniform(0, 0.4, size=(1000, 1))
    labels = (generator.random((1000, 1)) < probability).astype(float)
    labels[:10] = np.nan
    predictions = Predictions(np.arange(1000).astype(str), ("CAD",), labels, probability)
    figure = draw_reliability({"mdm": predictions, "demographics": predictions}, "CAD", "simulated", bins=5)
    expected = reliability(labels[:, 0], probability[:, 0], 5)
    upper, _, lower, _ = figure.axes
    (curve,) = [bars.lines[0] for bars in upper.containers if bars.get_label() != "mdm"][:1]
    np.testing.assert_allclose(curve.get_xydata(), expected[["predicted", "observed"]])
    assert sum(bar.get_height() for bar in lower.patches) == 990
    assert upper.get_xlim()[1] < 0.7 and upper.get_ylabel() == "Share of CAD"
    assert f"n = 990, {int(np.nansum(labels))} cases" in figure.texts[0].get_text()


def test_roc_curve_equals_scikit_learn():
    generator = np.random.default_rng(0)
    labels = (generator.random(300) < 0.2).astype(float)
    score = np.round(np.clip(0.3 * labels + 0.7 * generator.random(300), 0, 1), 2)
    predictions = Predictions(np.arange(300).astype(str), ("CAD",), labels[:, None], score[:, None])
    figure = draw_roc({"mdm": predictions}, "CAD", "simulated", np.random.default_rng(0), resamples=30)
    (curve,) = dots(figure, "mdm")
    false, true, _ = roc_curve(labels, score, drop_intermediate=False)
    np.testing.assert_allclose(curve.get_ydata(), np.interp(curve.get_xdata(), false, true), atol=1e-9)
    assert figure.axes[0].get_legend().get_texts()[0].get_text().startswith("MDM  0.")
    assert f"{int(labels.sum())} cases" in figure.texts[0].get_text()


def test_training_curves_and_chance():
    history = pd.DataFrame({"epoch": [0, 1, 2], "train_loss": [3.0, 2.0, 1.0], "validation_loss": [3.1, 2.2, np.nan]})
    figure = draw_training({"mmcl": history}, "simulated", chance={"loss": np.log(64)})
    (train,), (validation,) = dots(figure, "mmcl train loss"), dots(figure, "mmcl validation loss")
    assert list(train.get_xdata()) == [1, 2, 3] and list(validation.get_ydata()) == [3.1, 2.2]
    axes = figure.axes[0]
    assert any(np.allclose(line.get_ydata(), np.log(64)) for line in axes.get_lines() if line.get_linestyle() == ":")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Epoch", "Loss")
    with pytest.raises(ValueError, match="hold none of loss"):
        draw_training({"mmcl": history[["epoch"]]}, "simulated")

"""Result figures: every number in its place, arms in their colours, what is missing said so."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from sklearn.metrics import roc_curve

from mmcl.evaluation.predictions import Predictions
from mmcl.plotting.predictions import draw_roc, draw_scatter
from mmcl.plotting.results import draw_adjusted, draw_label_efficiency, draw_results
from mmcl.plotting.style import ARMS
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


def test_dots_stand_at_their_values_in_the_colour_of_their_arm():
    figure = draw_results(table()[table().labels == "all"], ["LVM", "LVEDV"], "R2", "simulated")
    (dot,) = dots(figure, "mdm+mmcl probe LVM")
    assert float(dot.get_xdata()[0]) == pytest.approx(0.6) and round(float(dot.get_ydata()[0])) == 0
    assert to_hex(dot.get_color()).upper() == ARMS["mdm+mmcl"].colour
    axes = figure.axes[0]
    bars = [line.get_xdata() for line in axes.get_lines() if len(line.get_xdata()) == 2 and not line.get_gid()]
    assert any(np.allclose(bar, [0.56, 0.63]) for bar in bars)
    assert axes.get_xlabel() == "R²" and [t.get_text() for t in axes.get_yticklabels()] == ["LVM", "LVEDV"]
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["MDM", "MDM + MMCL", "Demographics"]
    foot = figure.texts[0].get_text()
    assert "95 % bootstrap interval" in foot and "n = 1,500" in foot and "2 training seeds" in foot


def test_a_missing_result_says_so():
    results = table()[table().labels == "all"]
    results = results[~((results.arm == "mdm") & (results.target == "LVM"))]
    figure = draw_results(results, ["LVM", "LVEDV"], "R2", "simulated")
    assert [text.get_text() for text in figure.axes[0].texts] == ["no result"]
    assert not dots(figure, "mdm probe LVM")


def test_fine_tuned_dots_are_open():
    results = table()[table().labels == "all"]
    both = pd.concat([results, results[results.arm == "mdm"].assign(mode="finetune")])
    figure = draw_results(both, ["LVM"], "R2", "simulated")
    (open_dot,), (filled,) = dots(figure, "mdm finetune LVM"), dots(figure, "mdm probe LVM")
    boosted = both.assign(arm=both.arm.where(both["mode"] == "probe", "demographics"))
    boosted["mode"] = boosted["mode"].replace("finetune", "boosted")
    (tree,) = dots(draw_results(boosted, ["LVM"], "R2", "simulated"), "demographics boosted LVM")
    assert tree.get_markerfacecolor() == "white"
    with pytest.raises(ValueError, match="unknown mode"):
        draw_results(both.assign(mode="lasso"), ["LVM"], "R2", "simulated")
    assert open_dot.get_markerfacecolor() == "white" and filled.get_markerfacecolor() == ARMS["mdm"].colour
    assert "fine-tuned or boosted" in [t.get_text() for t in figure.legends[0].get_texts()]


def test_differences_name_their_reference():
    results = table(reference="mdm")
    figure = draw_results(results[(results.labels == "all") & (results.arm != "mdm")], ["LVM"], "R2", "simulated")
    assert figure.axes[0].get_xlabel() == "Difference in R² to MDM"


def test_ambiguous_absent_or_unknown_results_are_refused():
    with pytest.raises(ValueError, match="more than one R2 for LVEDV / mdm / probe"):
        draw_results(table(), ["LVEDV"], "R2", "simulated")
    with pytest.raises(ValueError, match="no results of AUROC for CAD"):
        draw_results(table(), ["CAD"], "AUROC", "simulated")
    with pytest.raises(ValueError, match="unknown arm 'gan'"):
        draw_label_efficiency(table(arm="gan").drop_duplicates(["target", "labels"]), ["LVM"], "R2", "simulated")


def test_label_efficiency_runs_from_few_to_all():
    figure = draw_label_efficiency(table(), ["LVEDV", "LVM"], "R2", "simulated")
    (line,) = dots(figure, "mdm LVM")
    assert list(line.get_ydata()) == pytest.approx([0.4, 0.5])
    axes = figure.axes[1]
    assert axes.get_title("left") == "LVM" and [t.get_text() for t in axes.get_xticklabels()] == ["200", "all"]
    assert axes.get_xlabel() == "Labelled subjects"


def test_adjusted_panels_share_scale_and_arms():
    results = table()[table().labels == "all"]
    adjusted = results.assign(value=results.value / 2, low=results.low / 2, high=results.high / 2)
    figure = draw_adjusted(results, adjusted, ["LVEDV", "LVM"], "R2", "simulated")
    left, right = figure.axes
    assert len(dots(figure, "chance")) == 2
    assert left.get_xlim() == right.get_xlim() and right.get_xlabel() == "Partial R²"
    assert [float(dot.get_xdata()[0]) for dot in dots(figure, "mdm probe LVM")] == pytest.approx([0.5, 0.25])
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

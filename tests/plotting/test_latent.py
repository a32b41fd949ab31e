"""Figures of the latent space: planes, paths, layers, nearest neighbours and predicted segments."""

import numpy as np
import pandas as pd
import pytest

from mmcl.config import LEADS
from mmcl.data.store import Store
from mmcl.interpretation.counterfactual import PROPERTIES, Path
from mmcl.interpretation.pairing import Pairs
from mmcl.interpretation.plane import principal_plane
from mmcl.interpretation.segments import Segments
from mmcl.plotting.latent import FIRST, draw_latent, draw_paths
from mmcl.plotting.layers import draw_layers
from mmcl.plotting.neighbours import OWN, SHOWN, draw_neighbours, neighbour_queries
from mmcl.plotting.regional import draw_predicted


def test_latent_axes_name_their_variance_and_leave_missing_out():
    generator = np.random.default_rng(0)
    embedding = generator.normal(size=(100, 6)) * [5, 3, 1, 1, 1, 1]
    plane = principal_plane(embedding)
    values = embedding[:, 0].copy()
    values[:10] = np.nan
    disease = (generator.random(100) < 0.3).astype(float)
    figure = draw_latent({"mdm": plane}, {"LVM": values}, {"CAD": disease}, {"LVM": "g"}, "simulated", "PCA.")
    phenotype, cases = figure.axes[:2]
    assert phenotype.collections[0].get_offsets().shape == (90, 2)
    assert phenotype.get_xlabel() == f"PC1 ({plane.share[0]:.0%})" and phenotype.get_ylabel().startswith("MDM\nPC2")
    assert cases.get_legend().get_texts()[1].get_text() == f"cases ({int(disease.sum())})"
    assert figure.axes[2].get_ylabel() == "g"
    assert "PCA." in figure.texts[0].get_text() and "n = 100." in figure.texts[0].get_text()


def test_paths_lie_in_the_plane_and_beside_the_truth():
    generator = np.random.default_rng(0)
    plane = principal_plane(generator.normal(size=(30, 4)))
    features = generator.normal(size=(6, 3, 4))
    true, predicted = np.tile([1.0, 2, 3], (6, 1)), generator.normal(size=(6, 3))
    path = Path(PROPERTIES[0], true, predicted, features, {}, np.ones(4))
    figure = draw_paths([path], plane, "simulated")
    above, below = figure.axes
    np.testing.assert_allclose(np.stack([line.get_xydata() for line in above.get_lines()]), plane.project(features))
    starts = next(c for c in above.collections if np.allclose(c.get_facecolor()[0][:3], _rgb(FIRST)))
    np.testing.assert_allclose(starts.get_offsets(), plane.project(features)[:, 0])
    (mean,) = (line for line in below.get_lines() if line.get_gid() == "mean")
    np.testing.assert_allclose(mean.get_ydata(), predicted.mean(axis=0))
    assert (below.get_xlabel(), below.get_ylabel()) == ("True (g)", "Predicted (g)")
    assert "6 simulated hearts" in figure.texts[0].get_text()


def test_layers_are_columns_and_targets_rows_with_their_numbers():
    layers, targets = ["embedding", "block 1", "pooled"], ["LVM", "LV mean"]
    index = pd.MultiIndex.from_product([["random", "mdm"], layers, targets], names=["arm", "layer", "target"])
    value = np.arange(12) / 20
    table = pd.DataFrame({"value": value, "low": value - 0.04, "high": value + 0.04, "n": 70}, index=index)
    figure = draw_layers(table, ["LV mean", "LVM"], "simulated")
    random, mdm = figure.axes[:2]
    assert [axes.get_title("left") for axes in (random, mdm)] == ["Random weights", "MDM"]
    assert [label.get_text() for label in random.get_xticklabels()] == layers
    assert [label.get_text() for label in random.get_yticklabels()] == ["LV mean", "LVM"]
    expected = table["value"].xs(("mdm", "pooled"), level=("arm", "layer"))
    np.testing.assert_allclose(mdm.get_images()[0].get_array()[:, 2], [expected["LV mean"], expected["LVM"]])
    assert mdm.texts[2].get_text() == f"{expected['LV mean']:.2f}"
    assert "n = 70" in figure.texts[0].get_text() and "+-0.04" in figure.texts[0].get_text()


def test_neighbours_stand_beside_the_own_cmr_with_their_phenotypes(smoke_run):
    store = Store.open(smoke_run.store)
    rows = store.indices("test")
    generator = np.random.default_rng(0)
    ecg = generator.normal(size=(len(rows), 4))
    pairs = Pairs(rows, ecg, ecg[::-1].copy())
    queries = neighbour_queries(pairs, store, {"median": 0, "worst": 3})
    figure = draw_neighbours(queries, "simulated", sampling_rate=125)
    panels = figure.axes
    assert panels[0].get_title("left") == f"median:\nown CMR ranks {pairs.ranks[0]:g} of 8"
    assert [line.get_gid() for line in panels[0].get_lines()] == list(SHOWN) and set(SHOWN) < set(LEADS)
    assert [axes.get_title("left").split()[0] for axes in panels[1:5]] == ["own", "nearest", "2nd", "3rd"]
    np.testing.assert_array_equal(panels[2].get_images()[0].get_array(), store.cmr[rows[7], 2])
    assert panels[1].title.get_color() != OWN and panels[1]._left_title.get_color() == OWN
    wanted = store.subjects["LVM"].iloc[rows[7]]
    text = panels[2].get_xlabel()
    assert (f"LVM {wanted:.3g} g" if np.isfinite(wanted) else "LVM missing") in text and "scar" not in text


def test_predicted_segments_stand_beside_the_true_ones_on_one_scale():
    generator = np.random.default_rng(0)
    true = generator.normal(8, 1, size=(20, 16))
    measure = Segments("Wall thickness", "mm", true, true + generator.normal(size=(20, 16)))
    figure = draw_predicted([measure], {"median": 4, "worst": 9}, "simulated", "By error.")
    panels = [axes for axes in figure.axes if axes.patches]
    assert len(panels) == 5, "two subjects, true and predicted, and R2"
    bar = next(axes for axes in figure.axes if axes.get_xlabel() == "mm")
    shown = np.concatenate([true[[4, 9]], measure.predicted[[4, 9]]])
    assert bar.get_xlim() == pytest.approx((shown.min(), shown.max()))
    least = np.unravel_index(true[[4, 9]].argmin(), (2, 16))
    assert panels[0].get_ylabel() == "median" and panels[0].get_title("left") == "Wall thickness\ntrue"
    darkest = panels[2 * least[0]].patches[least[1]]
    assert darkest.get_gid() == str(least[1] + 1) and np.mean(darkest.get_facecolor()[:3]) < 0.4


def _rgb(colour: str) -> tuple[float, ...]:
    from matplotlib.colors import to_rgb

    return to_rgb(colour)

"""Figures of maps: what is drawn, and an animation that opens, turns and stays small."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmcl.interpretation.study import Beat
from mmcl.plotting.animation import draw_beat, draw_stills, save_animation
from mmcl.plotting.maps import draw_cascade, draw_measures

SOURCE = "simulated cohort, test"


@pytest.fixture
def table():
    numbers = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 20, "baseline": 0.25, "shuffled": 0.3, "gain": 0.2}
    return pd.DataFrame(
        [
            {"arm": arm, "map": name, "region": region, "measure": "positive share", **numbers}
            for arm in ("random", "mmcl")
            for name in ("localisation", "occlusion")
            for region in ("heart", "scar")
        ]
    )


@pytest.fixture
def beat():
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (78, 78)).astype(np.uint8)
    labels = np.zeros((78, 78), np.uint8)
    labels[20:50, 20:50] = 3
    return Beat(random.uniform(-1, 1, (12, 4, 4)), image, labels, random.normal(size=300), 2.4)


def test_a_panel_a_region_a_row_a_map_and_a_mark_an_arm(table):
    figure = draw_measures(table, "positive share", SOURCE)
    assert [axes.get_title("left") for axes in figure.axes] == ["heart", "scar"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["localisation", "occlusion"]
    filled = [line for line in figure.axes[0].lines if line.get_fillstyle() == "full" and line.get_xdata() == [0.5]]
    open_ = [line for line in figure.axes[0].lines if line.get_fillstyle() == "none" and line.get_xdata() == [0.3]]
    assert len(filled) == len(open_) == 4
    note = next(text.get_text() for text in figure.texts if text.get_gid() == "source").replace("\n", " ")
    assert "share of the area" in note and "n = 20" in note and "simulated" in note


def test_two_values_in_one_place_are_refused(table):
    with pytest.raises(ValueError, match="several values of positive share"):
        draw_measures(pd.concat([table, table[:1]]), "positive share", SOURCE)


def test_the_cascade_starts_from_the_map_itself():
    rows = [
        {"check": "random weights", "side": side, "map": name, "step": step, "measure": "Spearman"}
        for side in ("ecg", "cmr")
        for name in ("localisation", "occlusion")
        for step in ("head", "embedding")
    ]
    figure = draw_cascade(pd.DataFrame(rows).assign(value=0.1, low=0.0, high=0.2), SOURCE)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["localisation", "occlusion"]
    labels = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert labels == ["trained", "head", "embedding"]
    assert [line.get_ydata()[0] for line in figure.axes[1].lines if len(line.get_xdata()) == 3] == [1.0, 1.0]


def test_a_cascade_of_many_maps_shows_each_in_a_look_of_its_own():
    place = {"check": "random weights", "measure": "Spearman", "value": 0.1, "low": 0.0, "high": 0.2}
    rows = [
        place | {"side": side, "map": f"map {k}", "step": step}
        for side in ("ecg", "cmr")
        for k in range(13)
        for step in ("head", "embedding")
    ]
    handles = draw_cascade(pd.DataFrame(rows), SOURCE).legends[0].legend_handles
    assert len({(line.get_color(), line.get_marker()) for line in handles}) == 13


def test_the_beat_is_a_small_animation_and_a_strip_of_stills(beat, tmp_path):
    path = save_animation(draw_beat(beat, SOURCE), tmp_path / "beat", beat.seconds)
    with Image.open(path) as animation:
        assert path.suffix == ".gif" and animation.n_frames == 12 and animation.info["duration"] == 200
    assert path.stat().st_size < 2**20
    again = save_animation(draw_beat(beat, SOURCE), tmp_path / "again", beat.seconds)
    assert path.read_bytes() == again.read_bytes()


def test_stills_stand_over_the_times_they_belong_to(beat):
    figure = draw_stills(beat, SOURCE, "MDM + MMCL; median subject.", count=4)
    titles = [axes.get_title("left") for axes in figure.axes]
    assert titles[:4] == ["0.0 s", "0.8 s", "1.4 s", "2.2 s"]
    (trace,) = (axes for axes in figure.axes if axes.get_ylabel() == "Lead II (SD)")
    assert [patch.get_x() for patch in trace.patches] == pytest.approx([0.0, 0.8, 1.4, 2.2])
    np.testing.assert_array_equal(trace.lines[0].get_ydata(), beat.trace)
    note = next(text.get_text() for text in figure.texts if text.get_gid() == "source").replace("\n", " ")
    assert "MDM + MMCL; median subject." in note and "end-diastole" in note

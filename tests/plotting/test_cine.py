"""Frames with contours, maps with a named scale, stacks side by side."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mmcl.plotting.cine import (
    CONTOURS,
    SliceStack,
    draw_beside,
    draw_frame,
    draw_frames,
    draw_maps,
    read_real_stack,
)

SIDE = 48


def heart(scar: bool = False):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    radius = np.hypot(rows - 24, columns - 26)
    labels = np.zeros((SIDE, SIDE), dtype=np.uint8)
    labels[np.hypot(rows - 24, columns - 14) < 10] = 1
    labels[radius < 13] = 2
    labels[radius < 8] = 3
    if scar:
        labels[(labels == 2) & (rows < 15)] = 4
    return labels * 60 + 10, labels


def contour_colours(axes):
    return {tuple(np.round(c.get_edgecolor()[0][:3], 3)) for c in axes.collections if len(c.get_edgecolor())}


def test_contours_of_the_structures_that_are_there():
    image, labels = heart()
    axes = Figure().subplots()
    draw_frame(axes, image, labels, caption="ED")
    assert len(contour_colours(axes)) == len(CONTOURS)
    epicardium = [c for c in axes.collections][1].get_paths()[0].get_extents()
    assert epicardium.x0 == pytest.approx(26 - 13, abs=1) and epicardium.y1 == pytest.approx(24 + 13, abs=1)
    bare = Figure().subplots()
    draw_frame(bare, image, np.zeros_like(labels))
    assert not bare.collections and axes.texts[0].get_text() == "ED"


def test_bar_is_fifty_millimetres():
    axes = Figure().subplots()
    draw_frame(axes, heart()[0], spacing=2.0)
    (bar,) = axes.get_lines()
    assert np.ptp(bar.get_xdata()) * SIDE * 2.0 == pytest.approx(50)


def test_frames_name_phases_and_scar_only_where_there_is_one():
    for scar in (False, True):
        image, labels = heart(scar)
        figure = draw_frames(["A", "B"], [image] * 2, [image] * 2, "simulated", [labels] * 2, np.stack([labels] * 2))
        words = [text.get_text() for text in figure.legends[0].get_texts()]
        assert ("Scar" in words) == scar and len(words) == 3 + scar
        assert [axes.texts[0].get_text() for axes in figure.axes] == ["ED", "ED", "ES", "ES"]


def test_diverging_maps_share_a_scale_about_zero_and_name_it():
    image, labels = heart()
    maps = [np.full((4, 4), -0.2), np.linspace(-0.1, 0.5, 16).reshape(4, 4)]
    figure = draw_maps([image] * 2, maps, ["A", "B"], "Cosine similarity", "simulated", [labels] * 2)
    shown = [i for axes in figure.axes for i in axes.get_images() if i.get_gid() == "map"]
    assert [i.get_clim() for i in shown] == [(-0.5, 0.5)] * 2
    assert shown[1].get_array().shape == image.shape and shown[1].get_array()[2, 2] == pytest.approx(-0.1, abs=0.02)
    assert figure.axes[-1].get_ylabel() == "Cosine similarity"
    plain = draw_maps([image], [maps[1] + 1], ["A"], "Drop", "simulated", diverging=False)
    assert [i.get_clim() for a in plain.axes for i in a.get_images() if i.get_gid() == "map"] == [(0.9, 1.5)]


def test_stacks_of_other_spacing_are_drawn_at_one_scale():
    def stack(title, side, spacing):
        rows, columns = np.mgrid[:side, :side] - (side - 1) / 2
        disc = (np.hypot(rows, columns) * spacing < 30) * 200.0
        return SliceStack(title, np.stack([disc] * 3), np.stack([disc] * 3), spacing)

    figure = draw_beside([stack("real", 192, 1.0), stack("simulated", 88, 1.8)], (0, 2), "real and simulated")
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title("left") for axes in panels[:4]] == [
        "slice 1, ED",
        "slice 1, ES",
        "slice 3, ED",
        "slice 3, ES",
    ]
    assert [panels[k].get_ylabel() for k in (0, 4)] == ["real", "simulated"]
    area = [(axes.images[0].get_array() > 100).sum() * 1.8**2 for axes in panels]
    assert area == pytest.approx([np.pi * 30**2] * 8, rel=0.03)
    (bar,) = panels[0].get_lines()
    assert np.ptp(bar.get_xdata()) * 158 == pytest.approx(50)
    with pytest.raises(ValueError, match="slice 5"):
        draw_beside([stack("real", 192, 1.0)], (5,), "real")
    with pytest.raises(ValueError, match="158 mm"):
        draw_beside([stack("real", 60, 1.0)], (0,), "real")


def test_a_missing_real_volume_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="acdc_sax_ed"):
        read_real_stack(tmp_path)

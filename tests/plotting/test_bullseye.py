"""Bull's-eye: segments at their places, colours by value."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

from mmcl.plotting.bullseye import draw_bullseye
from mmcl.simulation.anatomy import SEGMENT_ANGLE


def wedges(axes):
    return {int(p.get_gid()): p for p in axes.patches if isinstance(p, Wedge)}


def test_segments_lie_where_the_anatomy_has_them():
    axes = Figure().subplots()
    draw_bullseye(axes, np.arange(16.0), 0, 15, numbers=True)
    found = wedges(axes)
    assert sorted(found) == list(range(1, 17))
    for number, wedge in found.items():
        middle = np.deg2rad((wedge.theta1 + wedge.theta2) / 2)
        assert np.cos(middle - SEGMENT_ANGLE[number - 1]) == pytest.approx(1)
    radii = [found[k].r for k in (1, 7, 13)]
    assert radii == sorted(radii, reverse=True)
    assert [text.get_text() for text in axes.texts] == [str(k) for k in range(1, 17)]


def test_colour_follows_value_and_nothing_is_white():
    axes = Figure().subplots()
    values = np.array([np.nan, *np.linspace(0, 1, 15)])
    draw_bullseye(axes, values, 0, 1, "gray", outlined=(3,))
    found = wedges(axes)
    shades = [found[k].get_facecolor()[0] for k in range(2, 17)]
    assert shades == sorted(shades) and shades[-1] == 1 and found[1].get_facecolor()[:3] == (1, 1, 1)
    assert found[3].get_linewidth() > found[4].get_linewidth()


def test_other_numbers_of_segments_are_refused():
    with pytest.raises(ValueError, match="16 segments"):
        draw_bullseye(Figure().subplots(), np.zeros(17), 0, 1)

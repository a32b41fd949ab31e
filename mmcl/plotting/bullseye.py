"""The left ventricle as a bull's-eye: 16 AHA segments, base outside, apex inside, as seen from the apex.

Layout: Cerqueira et al. 2002, Circulation 105:539. Segments 1, 7 and 13 (anterior) are up, the septum is left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Wedge

from mmcl.plotting.style import INK, QUIET

RINGS = ((6, 1.0, 0.7), (6, 0.7, 0.4), (4, 0.4, 0.1))
"""Segments, outer and inner radius of the basal, mid-cavity and apical ring."""


def draw_bullseye(
    axes: Axes,
    values: np.ndarray,
    low: float,
    high: float,
    colours: str = "viridis",
    numbers: bool = False,
    outlined: Sequence[int] = (),
) -> None:
    """Colour each segment by its entry of `values` (16,) from `low` to `high`; NaN is left white.

    `numbers` writes each segment's number; `outlined` segments (1 to 16) have a strong border.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (16,):
        raise ValueError(f"values of shape {values.shape}: expected one for each of the 16 segments")
    scale = ScalarMappable(Normalize(low, high), colours)
    for index, (centre, width, outer, inner) in enumerate(_places()):
        strong = index + 1 in outlined
        colour = scale.to_rgba(values[index]) if np.isfinite(values[index]) else "white"
        edge = {"edgecolor": INK if strong else QUIET, "linewidth": 1.6 if strong else 0.5, "zorder": 2 + strong}
        span = (centre - width / 2, centre + width / 2)
        axes.add_patch(Wedge((0, 0), outer, *span, width=outer - inner, facecolor=colour, gid=str(index + 1), **edge))
        if numbers:
            radius = (outer + inner) / 2
            x, y = radius * np.cos(np.deg2rad(centre)), radius * np.sin(np.deg2rad(centre))
            dark = np.dot(colour[:3], (0.3, 0.6, 0.1)) < 0.5 if colour != "white" else False
            label = {"ha": "center", "va": "center", "fontsize": 7, "zorder": 4}
            axes.text(x, y, str(index + 1), color="white" if dark else INK, **label)
    axes.set(xlim=(-1.06, 1.06), ylim=(-1.06, 1.06), aspect="equal", xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _places() -> list[tuple[float, float, float, float]]:
    """Centre and width in degrees, outer and inner radius of each segment; 90 degrees is up."""
    return [(90 + 360 / count * k, 360 / count, outer, inner) for count, outer, inner in RINGS for k in range(count)]

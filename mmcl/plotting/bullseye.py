"""The left ventricle as a bull's-eye: 16 AHA segments, base outside, apex inside, as seen from the apex.

Layout: Cerqueira et al. 2002, Circulation 105:539. Segments 1, 7 and 13 (anterior) are up, the septum is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Wedge

from mmcl.interpretation.segments import Segments
from mmcl.plotting.style import INK, QUIET, new_figure, style

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


def draw_predicted(measures: Sequence[Segments], chosen: Mapping[str, int], source: str, note: str = "") -> Figure:
    """True beside predicted bull's-eyes: a row a subject of `chosen` (name -> position), then R2 of each segment.

    Each measure has one colour scale for all its bull's-eyes, from the 2nd to the 98th percentile of the truth.
    """
    rows, columns = len(chosen) + 1, len(measures)
    with style():
        n = len(measures[0].true)
        note = " ".join(
            filter(None, (note, f"Last row: R2 of each segment over n = {n:,} test subjects; white: none."))
        )
        figure = new_figure(1.5 * rows + 1.1, source, width=2.75 * columns + 0.5, note=note)
        panels = figure.subplots(rows, 2 * columns, squeeze=False)
        for column, measure in enumerate(measures):
            low, high = np.nanquantile(measure.true, [0.02, 0.98])
            pair = panels[:, 2 * column : 2 * column + 2]
            for row, (name, position) in zip(pair, chosen.items(), strict=False):
                for axes, values, title in zip(
                    row, (measure.true, measure.predicted), ("true", "predicted"), strict=True
                ):
                    draw_bullseye(axes, values[position], low, high)
                    axes.set_title(title, fontsize=8.5, weight="normal", loc="center", pad=1)
                if column == 0:
                    row[0].set_ylabel(name)
            pair[0, 0].set_title(f"{measure.name}\ntrue", fontsize=9, loc="center", pad=2)
            _bar(figure, pair[:-1], low, high, "viridis", measure.unit)
            draw_bullseye(pair[-1, 0], measure.r2, 0, 1, "magma", numbers=True)
            pair[-1, 1].set_axis_off()
            _bar(figure, pair[-1:, :1], 0, 1, "magma", "R2")
        panels[-1, 0].set_ylabel("R2")
    return figure


def _bar(figure: Figure, panels: np.ndarray, low: float, high: float, colours: str, label: str) -> None:
    scale = ScalarMappable(Normalize(low, high), colours)
    figure.colorbar(scale, ax=panels.ravel().tolist(), label=label, shrink=0.7, pad=0.02, aspect=25)

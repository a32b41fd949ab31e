"""Predicted beside true bull's-eyes: what linear probes on an ECG tell of each AHA segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mmcl.interpretation.segments import Segments
from mmcl.plotting.bullseye import draw_bullseye
from mmcl.plotting.style import new_figure, style


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

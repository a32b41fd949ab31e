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

    Each measure has one colour scale, from the least to the largest of its values that are shown.
    """
    rows, columns, places = len(chosen) + 1, len(measures), list(chosen.values())
    with style():
        n = len(measures[0].true)
        note = " ".join(filter(None, (note, f"R2 of each segment over n = {n:,} test subjects. White: unknown.")))
        figure = new_figure(1.35 * rows + 1.3, source, width=max(2.6 * columns + 0.4, 4.6), note=note)
        panels = figure.subplots(rows, 2 * columns, squeeze=False)
        for column, measure in enumerate(measures):
            pair = panels[:, 2 * column : 2 * column + 2]
            shown = np.stack([measure.true[places], measure.predicted[places]], axis=1)
            low, high = np.nanmin(shown), np.nanmax(shown)
            for row, values in zip(pair, shown, strict=False):
                for axes, segments in zip(row, values, strict=True):
                    draw_bullseye(axes, segments, low, high)
            pair[0, 0].set_title(f"{measure.name}\ntrue", fontsize=9)
            pair[0, 1].set_title("predicted", fontsize=9)
            _bar(figure, pair[:-1], low, high, "viridis", measure.unit)
            draw_bullseye(pair[-1, 0], measure.r2, 0, 1, "magma")
            pair[-1, 0].set_title("R2", fontsize=9)
            pair[-1, 1].set_axis_off()
            _bar(figure, pair[-1:, :1], 0, 1, "magma", "")
        for axes, name in zip(panels[:, 0], chosen, strict=False):
            axes.set_ylabel(name)
    return figure


def _bar(figure: Figure, panels: np.ndarray, low: float, high: float, colours: str, label: str) -> None:
    scale = ScalarMappable(Normalize(low, high), colours)
    figure.colorbar(
        scale,
        ax=panels.ravel().tolist(),
        label=label,
        location="bottom",
        shrink=0.8,
        pad=0.02,
        aspect=22,
        fraction=0.05,
    )

"""What each mending moves: a number of the published form and of the mended one, joined by a line."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmcl.plotting.style import INK, QUIET, new_figure, style

PUBLISHED, MENDED = "#E69F00", "#0072B2"


def draw_mended(changes: pd.DataFrame, source: str) -> Figure:
    """Dumbbells: measures down, published (open) and mended (filled) value across.

    changes: rows of `mmcl.mended.measure_changes`. Drawn are scores, cosines and shares, of which both forms lie
    between -1 and 1; counts are for the table. ValueError when no row is left.
    """
    both = changes[["published", "mended"]]
    shown = changes[np.isfinite(both).all(axis=1) & (both.abs() <= 1).all(axis=1)]
    if shown.empty:
        raise ValueError("no score, cosine or share of which both forms are known; expected at least one row to draw")
    with style():
        note = "Same subjects in both forms; no intervals. n is of subjects scored, or of draws."
        figure = new_figure(0.24 * len(shown) + 1.2, source, note=note)
        axes = figure.subplots()
        for place, row in enumerate(shown.itertuples()):
            axes.plot([row.published, row.mended], [place, place], color=QUIET, linewidth=1.2, zorder=1)
            axes.plot(row.published, place, "o", color=PUBLISHED, markerfacecolor="white", gid=f"published {place}")
            axes.plot(row.mended, place, "o", color=MENDED, markersize=4, gid=f"mended {place}")
        labels = [f"{row.choice}: {row.measure}, n = {row.n:,}" for row in shown.itertuples()]
        axes.set(yticks=range(len(shown)), yticklabels=labels, ylim=(len(shown) - 0.5, -0.5), xlabel="Value")
        axes.tick_params(axis="y", length=0, labelsize=7)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.grid(axis="x")
        handles = [
            Line2D([], [], linestyle="none", marker="o", color=PUBLISHED, markerfacecolor="white", label="published"),
            Line2D([], [], linestyle="none", marker="o", color=MENDED, markersize=4, label="mended"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    return figure

"""What a linear probe reads at each depth of an encoder: a panel an arm, phenotype groups against layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mmcl.plotting.style import arm, new_figure, style


def draw_layers(table: pd.DataFrame, targets: Sequence[str], source: str) -> Figure:
    """Heat map of test R2 with its value in each cell.

    `table` as of `mmcl.interpretation.decodability.decodability`; `targets` are the rows, from the top.
    """
    arms, layers = (list(table.index.unique(level)) for level in ("arm", "layer"))
    chosen = table.loc[table.index.isin(targets, level="target")]
    low, high = min(0.0, chosen["value"].min()), max(chosen["value"].max(), 0.05)
    width = (chosen["high"] - chosen["low"]).median() / 2
    with style():
        note = (
            f"Ridge probes on the mean token of the first window; test R2, n = {chosen['n'].max():,}; 95 % intervals "
            f"over subjects are about +-{width:.2f} (median). An R2 below 0 is worse than the mean."
        )
        columns = min(len(arms), 2)
        rows = -(-len(arms) // columns)
        figure = new_figure((0.26 * len(targets) + 0.85) * rows + 0.7, source, width=8.4, note=note)
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in panels.ravel()[len(arms) :]:
            axes.set_axis_off()
        for axes, name in zip(panels.ravel(), arms, strict=False):
            values = chosen.loc[name]["value"].unstack("layer").reindex(index=targets, columns=layers).to_numpy()
            image = axes.imshow(values, cmap="viridis", vmin=low, vmax=high, aspect="auto")
            for (row, column), value in np.ndenumerate(values):
                colour = "white" if value < (low + high) / 2 else "black"
                axes.text(column, row, f"{value:z.2f}", ha="center", va="center", fontsize=7.5, color=colour)
            axes.set_title(arm(name).label)
            axes.set(yticks=range(len(targets)), yticklabels=targets)
            axes.set_xticks(range(len(layers)), layers, fontsize=8)
            axes.tick_params(length=0)
        figure.colorbar(image, ax=panels.ravel().tolist(), label="R2", shrink=0.8, pad=0.01)
    return figure

"""Results with their uncertainty: few labels against all, and results beyond age, sex and body size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mmcl.evaluation.tables import label_order
from mmcl.plotting.marks import (
    METRIC_LABELS,
    arm_handles,
    chance_line,
    chosen_rows,
    crosses,
    dot,
    error_bars,
    interval_note,
    legend_height,
    ordered_arms,
)
from mmcl.plotting.style import LINEAR_MODES, arm, new_figure, style


def draw_label_efficiency(
    results: pd.DataFrame, targets: Sequence[str], metric: str, source: str, modes: Sequence[str] = LINEAR_MODES
) -> Figure:
    """One panel a target: each arm from few labels to all, with intervals; `labels` holds numbers or "all".

    Only results of `modes` are drawn: what probes and linear references reach, unless asked otherwise. A number of
    labels without a result has a cross in the arm's colour at the foot of its panel.
    """
    chosen = chosen_rows(results[results["mode"].isin(modes)], targets, metric, ["target", "arm", "labels"])
    labels = sorted(set(chosen.labels), key=label_order)
    shown = [text if text == "all" or float(text) >= 1 else f"{100 * float(text):g} %" for text in labels]
    arms = ordered_arms(chosen)
    handles = arm_handles(arms, chosen)
    columns = min(4, len(targets))
    rows = -(-len(targets) // columns)
    with style():
        cells = len(targets) * len(arms) * len(labels)
        gaps = " Crosses: missing." if chosen.value.notna().sum() < cells else ""
        figure = new_figure(2.35 * rows + 0.5 + legend_height(handles), source, note=interval_note(chosen) + gaps)
        panels = figure.subplots(rows, columns, squeeze=False, sharey=metric == "AUROC")
        for axes in panels.ravel()[len(targets) :]:
            axes.set_axis_off()
        for axes, target in zip(panels.ravel(), targets, strict=False):
            for place, name in enumerate(arms):
                shift = 0.045 * (place - (len(arms) - 1) / 2)
                one = chosen[(chosen.target == target) & (chosen.arm == name)].set_index("labels").reindex(labels)
                look, x = arm(name), np.arange(len(labels)) + shift
                error = error_bars(one)
                axes.plot(x, one.value, color=look.colour, linewidth=1.2, gid=f"{name} {target}")
                axes.errorbar(x, one.value, error, fmt=look.marker, color=look.colour, markersize=4.5, elinewidth=1)
                crosses(axes, x[one.value.isna()], name, f"{name} {target}")
            axes.set(xticks=range(len(labels)), xticklabels=shown, xlim=(-0.4, len(labels) - 0.6))
            axes.set_title(target)
            axes.grid(axis="y")
        for axes in panels[:, 0]:
            axes.set_ylabel(METRIC_LABELS.get(metric, metric))
        for axes in panels[-1]:
            axes.set_xlabel("Labelled subjects")
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


WORST = -1.05
"""Least R2 or r that a figure shows."""


def draw_adjusted(
    results: pd.DataFrame, adjusted: pd.DataFrame, targets: Sequence[str], metric: str, source: str
) -> Figure:
    """Results as they are, left, and what remains beyond age, sex and body size, right; same arms, same scale.

    `adjusted` holds R2 or r on residuals, as `mmcl.evaluation.adjusted.adjusted_phenotypes` makes them.
    """
    if metric not in ("R2", "r"):
        raise ValueError(f"adjusted {metric!r}; expected 'R2' or 'r' (the gain in AUROC has no such scale)")
    sides = [chosen_rows(table, targets, metric, ["target", "arm"]) for table in (results, adjusted)]
    arms = ordered_arms(pd.concat(sides))
    with style():
        note = (
            interval_note(sides[1])
            + " Right: residuals of a linear model of age, sex and body size, fitted in training."
            + (f" Some lie beyond {WORST}." if min(table.value.min() for table in sides) < WORST else "")
        )
        figure = new_figure(max(0.15 * len(targets) * (len(arms) + 1.2) + 1.3, 2.5), source, note=note)
        panels = figure.subplots(1, 2, sharey=True, sharex=True)
        titles = ("All information", "Beyond age, sex and body size")
        for axes, table, title in zip(panels, sides, titles, strict=True):
            for row, target in enumerate(targets):
                if row % 2 == 0:
                    axes.axhspan(row - 0.5, row + 0.5, color="#F6F6F6", zorder=0)
                for place, name in enumerate(arms):
                    offset = (place - (len(arms) - 1) / 2) / (len(arms) + 1.2)
                    one = table[(table.target == target) & (table.arm == name)]
                    dot(axes, one, name, row + offset, f"{name} {target}")
            axes.set_title(title)
            axes.set_xlabel(("Partial " if axes is panels[1] else "") + METRIC_LABELS.get(metric, metric))
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        # What is far worse than no prediction would flatten all else.
        left, right = panels[0].get_xlim()
        panels[0].set_xlim(max(left, WORST), min(right, -WORST))
        for axes in panels:
            chance_line(axes, metric)
        panels[0].set(ylim=(len(targets) - 0.5, -0.5), yticks=range(len(targets)), yticklabels=list(targets))
        figure.legend(handles=arm_handles(arms, pd.concat(sides)), loc="outside upper center", ncols=3)
    return figure

"""How maps fare: measures with their baselines, and what becomes of maps when weights are made random."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmcl.config import LEADS
from mmcl.interpretation.waves import WAVES
from mmcl.plotting.style import INK, QUIET, arm, new_figure, show, style

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6A3D9A", "#1A1A1A")
"""Of maps, in their order (Okabe and Ito, and two darker ones)."""

MARKERS = ("o", "s", "^", "D")
"""Of maps: the next one each time that the colours begin anew."""

MEASURES = {
    "positive share": ("Share of the positive map", "the region's share of the area"),
    "pointing game": ("Share of largest values inside", "the region's share of the area"),
    "pixel AUROC": ("AUROC of pixels", "no information"),
    "territory of the scar": ("Share of scars", "one over the territories in the slice"),
    "share": ("Share of the importance", "share of the time, or one lead in twelve"),
    "time correlation": ("Correlation over time", "no correlation"),
    "lead AUROC": ("AUROC of leads", "no information"),
}
"""Measure -> how its axis is labelled, and what its baseline is."""


def draw_measures(table: pd.DataFrame, measure: str, source: str, panel: str = "region", rows: str = "map") -> Figure:
    """Dot plot of one `measure` in a result of `score_table`.

    A panel for each value of the column `panel`, the values of the column `rows` down, arms side by side in their
    colours, each with its shuffled pairs (open) and its baseline (black tick). ValueError where a row and an arm have
    more than one value in a panel.
    """
    table = table[table["measure"] == measure]
    if table.duplicated([panel, rows, "arm"]).any():
        raise ValueError(f"several values of {measure} in one place: expected one for each {panel}, {rows} and arm")
    (titles, names, arms), (label, baseline) = (
        (list(table[k].unique()) for k in (panel, rows, "arm")),
        MEASURES[measure],
    )
    with style():
        note = (
            "Bars: 95 % bootstrap interval over subjects. Open: shuffled pairs, or somebody else's map. "
            f"Tick: {baseline}. n = {' to '.join(f'{n:,}' for n in sorted({table['n'].min(), table['n'].max()}))}."
        )
        height = 0.17 * len(names) * (len(arms) + 0.9) + 1.3
        figure = new_figure(max(height, 2.4), source, note=note)
        axes = figure.subplots(1, len(titles), squeeze=False, sharey=True)[0]
        for one, title in zip(axes, titles, strict=True):
            for row, name in enumerate(names):
                _row(one, table[(table[panel] == title) & (table[rows] == name)], row, arms)
            one.set(title=title, xlabel=label, ylim=(len(names) - 0.5, -0.5))
            one.set(yticks=range(len(names)), yticklabels=names)
            one.tick_params(axis="y", length=0)
            one.locator_params(axis="x", nbins=4)
            one.grid(axis="x")
        handles = [
            Line2D([], [], marker=arm(name).marker, color=arm(name).colour, linestyle="", label=arm(name).label)
            for name in arms
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def show_measures(table: pd.DataFrame, source: str, path: Path, panel: str = "region") -> None:
    """Show a figure of each measure in `table`, saved as `path` with the measure's name at its end."""
    for measure in table["measure"].unique():
        figure = draw_measures(table, measure, source, panel)
        show(figure, Path(f"{path}_{measure.replace(' ', '_')}"), table[table["measure"] == measure].round(4))


def show_shares(table: pd.DataFrame, source: str, folder: Path) -> None:
    """Show what share of each output's importance lies in each wave and lead: figures `attribution_waves`,
    `occlusion_waves` and `occlusion_leads` of a `score_table` of `ecg_scores`, saved in `folder`."""
    for name, method, parts in (
        ("attribution_waves", "integrated gradients", WAVES),
        ("occlusion_waves", "occlusion", WAVES),
        ("occlusion_leads", "occlusion", LEADS),
    ):
        chosen = table[table["map"].eq(method) & table["region"].isin(parts)]
        show(draw_measures(chosen, "share", source, "output", "region"), folder / name, chosen.round(4))


def _row(axes: Axes, found: pd.DataFrame, row: int, arms: Sequence[str]) -> None:
    if row % 2 == 0:
        axes.axhspan(row - 0.5, row + 0.5, color="#F6F6F6", zorder=0)
    for result in found.to_dict("records"):
        look = arm(result["arm"])
        y = row + (arms.index(result["arm"]) - (len(arms) - 1) / 2) / (len(arms) + 0.9)
        half = 0.4 / (len(arms) + 0.9)
        axes.vlines(result["baseline"], y - half, y + half, color=INK, linewidth=1.4, zorder=2)
        axes.plot(result["shuffled"], y, look.marker, color=look.colour, fillstyle="none", markersize=5, zorder=3)
        axes.hlines(y, result["low"], result["high"], color=look.colour, linewidth=1.4, zorder=3)
        axes.plot(result["value"], y, look.marker, color=look.colour, markersize=5, zorder=4)


def draw_cascade(table: pd.DataFrame, source: str) -> Figure:
    """Rows `random weights` of `sanity_table`: likeness of each map to itself, from the head made random to all layers.

    Maps over the ECG left, over the image right; Spearman correlation.
    """
    chosen = table[(table["check"] == "random weights") & (table["measure"] == "Spearman")]
    looks = {
        name: (COLOURS[k % len(COLOURS)], MARKERS[k // len(COLOURS) % len(MARKERS)])
        for k, name in enumerate(chosen["map"].unique())
    }
    with style():
        note = (
            "Bars: 95 % bootstrap interval over subjects. A map that stays like itself does not depend on the weights."
        )
        figure = new_figure(3.9, source, note=note)
        for axes, (side, title) in zip(
            figure.subplots(1, 2, sharey=True),
            (("ecg", "Maps over the ECG"), ("cmr", "Maps over the image")),
            strict=True,
        ):
            part = chosen[chosen["side"] == side]
            steps, maps = list(part["step"].unique()), list(part["map"].unique())
            for place, name in enumerate(maps):
                colour, marker = looks[name]
                one = part[part["map"] == name].set_index("step").reindex(steps)
                x = np.arange(len(steps)) + 1 + 0.06 * (place - (len(maps) - 1) / 2)
                error = [one["value"] - one["low"], one["high"] - one["value"]]
                axes.plot([0, *x], [1.0, *one["value"]], color=colour, linewidth=1.2)
                axes.errorbar(x, one["value"], error, fmt=marker, color=colour, markersize=3.5, elinewidth=1)
            axes.axhline(0, color=QUIET, linewidth=0.8)
            axes.set(title=title, xticks=range(len(steps) + 1), ylim=(-1.05, 1.05), xlabel="Random down to")
            axes.set_xticklabels(["trained", *steps], rotation=30, ha="right")
            axes.grid(axis="y")
        handles = [
            Line2D([], [], color=colour, marker=marker, markersize=3.5, linewidth=1.2, label=name)
            for name, (colour, marker) in looks.items()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4)
        figure.axes[0].set_ylabel("Spearman correlation\nwith the trained model's map")
    return figure

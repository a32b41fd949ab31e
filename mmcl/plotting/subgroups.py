"""Scores of parts of the test set, and how far they differ."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mmcl.plotting.marks import (
    METRIC_LABELS,
    arm_handles,
    chance_line,
    chosen_rows,
    dot,
    empty_figure,
    interval_note,
    ordered_arms,
)
from mmcl.plotting.style import INK, new_figure, style


def draw_subgroups(results: pd.DataFrame, targets: Sequence[str], metric: str, source: str) -> Figure:
    """Parts of the test set down and below them their differences, `targets` across, arms in their colours.

    results: rows with a `subgroup` (see `mmcl.evaluation.subgroups`) of one mode and number of labels. A part with too
    few subjects or cases says "missing", and where nobody is known to be in a part the figure says so.
    """
    own = results[results.subgroup != ""]
    if own.empty:
        return empty_figure("missing: this cohort does not know who is in which part", source)
    chosen = chosen_rows(own, targets, metric, ["target", "arm", "subgroup", "reference"])
    arms = ordered_arms(chosen)
    scores, differences = chosen[chosen.reference == ""], chosen[chosen.reference != ""]
    panels = [(table, table[["subgroup", "reference"]].drop_duplicates()) for table in (scores, differences)]
    panels = [(table, list(parts.itertuples(index=False, name=None))) for table, parts in panels if len(parts)]
    with style():
        counts = [len(parts) for _, parts in panels]
        height = 0.2 * sum(counts) * (0.6 + 0.6 * len(arms)) + 0.5 * len(panels) + 0.9
        figure = new_figure(height, source, note=interval_note(chosen))
        rows = figure.subplots(
            len(panels), len(targets), squeeze=False, sharex="row", sharey="row", height_ratios=counts
        )
        for (table, parts), row in zip(panels, rows, strict=True):
            for axes, target in zip(row, targets, strict=True):
                for place, (part, reference) in enumerate(parts):
                    if place % 2 == 0:
                        axes.axhspan(place - 0.5, place + 0.5, color="#F6F6F6", zorder=0)
                    cell = table[(table.target == target) & (table.subgroup == part) & (table.reference == reference)]
                    for k, name in enumerate(arms):
                        offset = (k - (len(arms) - 1) / 2) / (len(arms) + 1.2)
                        dot(axes, cell[cell.arm == name], name, place + offset, f"{name} {part} {reference} {target}")
                axes.grid(axis="x")
                axes.tick_params(axis="y", length=0)
            words = [f"{part}\nless {reference}" if reference else part for part, reference in parts]
            row[0].set(ylim=(len(parts) - 0.5, -0.5), yticks=range(len(parts)), yticklabels=words)
        label = METRIC_LABELS.get(metric, metric)
        for axes, target in zip(rows[0], targets, strict=True):
            chance_line(axes, metric)
            axes.set(title=target, xlabel=label)
        for axes in rows[1] if len(rows) > 1 else ():
            axes.axvline(0, color=INK, linewidth=0.8)
            axes.set_xlabel(f"Difference in {label}")
        figure.legend(handles=arm_handles(arms, chosen), loc="outside upper center", ncols=3)
    return figure

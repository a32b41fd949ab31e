"""Results with their uncertainty: dot plots of arms, few labels against all, adjusted results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmcl.plotting.style import ARMS, INK, LINEAR_MODES, OTHER_MODES, QUIET, arm, new_figure, style

METRIC_LABELS = {"r": "Pearson r", "R2": "R²", "AUROC": "AUROC", "AUPRC": "Average precision", "Brier": "Brier score"}
CHANCE = {"AUROC": 0.5, "R2": 0.0, "r": 0.0}
"""Value of an uninformed predictor, drawn as a line where it lies in view."""

_INTERVAL_NOTE = "Bars: 95 % bootstrap interval over subjects{seeds}. {n}"


def draw_results(
    results: pd.DataFrame, targets: Sequence[str], metric: str, source: str, titles: Mapping[str, str] | None = None
) -> Figure:
    """Dot plot: `targets` down, arms side by side in their fixed colours, intervals as bars.

    results: rows of `mmcl.evaluation.tables` in which target, arm and mode are unique for `metric`. Filled markers are
    linear (probes, references), open ones fine-tuned or boosted. In the place of a result that does not exist stands
    "no result". For paired differences, rows whose `reference` is set, a line is drawn at zero. `titles` renames
    targets.
    """
    chosen = _chosen(results, targets, metric, ["target", "arm", "mode"])
    arms = _ordered_arms(chosen)
    paired = sorted(set(chosen.reference) - {""})
    # Targets down, first on top; within a target one line an arm and mode.
    present = set(zip(chosen.arm, chosen["mode"], strict=True))
    lines = [(name, mode) for name in arms for mode in (*LINEAR_MODES, *OTHER_MODES) if (name, mode) in present]
    with style():
        rows = len(targets) * (len(lines) + 1.2)
        figure = new_figure(max(0.135 * rows + 1.15, 2.2), source, note=_note(chosen))
        axes = figure.subplots()
        for row, target in enumerate(targets):
            if row % 2 == 0:
                axes.axhspan(row - 0.5, row + 0.5, color="#F6F6F6", zorder=0)
            for place, (name, mode) in enumerate(lines):
                offset = (place - (len(lines) - 1) / 2) / (len(lines) + 1.2)
                one = chosen[(chosen.target == target) & (chosen.arm == name) & (chosen["mode"] == mode)]
                for result in one.to_dict("records"):
                    _dot(axes, result, row + offset)
                if not np.isfinite(one.value).any():
                    _absent(axes, name, row + offset)
        label = METRIC_LABELS.get(metric, metric)
        if paired:
            axes.axvline(0, color=INK, linewidth=0.8)
            label = f"Difference in {label} to {', '.join(arm(name).label for name in paired)}"
        elif metric in CHANCE:
            _chance(axes, metric)
        axes.set(
            ylim=(len(targets) - 0.5, -0.5),
            yticks=range(len(targets)),
            yticklabels=[(titles or {}).get(target, target) for target in targets],
            xlabel=label,
        )
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        figure.legend(handles=_handles(arms, chosen), loc="outside upper center", ncols=3)
    return figure


def draw_label_efficiency(
    results: pd.DataFrame, targets: Sequence[str], metric: str, source: str, modes: Sequence[str] = LINEAR_MODES
) -> Figure:
    """One panel a target: each arm from few labels to all, with intervals; `labels` holds numbers or "all".

    Only results of `modes` are drawn: what probes and linear references reach, unless asked otherwise.
    """
    chosen = _chosen(results[results["mode"].isin(modes)], targets, metric, ["target", "arm", "labels"])
    labels = sorted(set(chosen.labels), key=lambda text: (text == "all", float(text) if text != "all" else 0.0))
    arms = _ordered_arms(chosen)
    columns = min(4, len(targets))
    rows = -(-len(targets) // columns)
    with style():
        figure = new_figure(2.35 * rows + 1.05, source, note=_note(chosen))
        panels = figure.subplots(rows, columns, squeeze=False, sharey=metric == "AUROC")
        for axes in panels.ravel()[len(targets) :]:
            axes.set_axis_off()
        for axes, target in zip(panels.ravel(), targets, strict=False):
            for place, name in enumerate(arms):
                shift = 0.045 * (place - (len(arms) - 1) / 2)
                one = chosen[(chosen.target == target) & (chosen.arm == name)].set_index("labels").reindex(labels)
                look, x = arm(name), np.arange(len(labels)) + shift
                error = _error(one)
                axes.plot(x, one.value, color=look.colour, linewidth=1.2, gid=f"{name} {target}")
                axes.errorbar(x, one.value, error, fmt=look.marker, color=look.colour, markersize=4.5, elinewidth=1)
            axes.set(xticks=range(len(labels)), xticklabels=labels, xlim=(-0.4, len(labels) - 0.6))
            axes.set_title(target)
            axes.grid(axis="y")
        for axes in panels[:, 0]:
            axes.set_ylabel(METRIC_LABELS.get(metric, metric))
        for axes in panels[-1]:
            axes.set_xlabel("Labelled subjects")
        figure.legend(handles=_handles(arms, chosen), loc="outside upper center", ncols=3)
    return figure


def draw_adjusted(
    results: pd.DataFrame, adjusted: pd.DataFrame, targets: Sequence[str], metric: str, source: str
) -> Figure:
    """Results as they are, left, and what remains beyond age, sex and body size, right; same arms, same scale.

    `adjusted` holds R2 or r on residuals, as `mmcl.evaluation.adjusted.adjusted_phenotypes` makes them.
    """
    if metric not in ("R2", "r"):
        raise ValueError(f"adjusted {metric!r}; expected 'R2' or 'r' (draw the gain in AUROC by draw_results)")
    sides = [_chosen(table, targets, metric, ["target", "arm"]) for table in (results, adjusted)]
    arms = _ordered_arms(pd.concat(sides))
    with style():
        note = _note(sides[1]) + " Right: residuals of a linear model of age, sex and body size, fitted in training."
        figure = new_figure(max(0.15 * len(targets) * (len(arms) + 1.2) + 1.3, 2.5), source, note=note)
        panels = figure.subplots(1, 2, sharey=True, sharex=True)
        titles = ("All information", "Beyond age, sex and body size")
        for axes, table, title in zip(panels, sides, titles, strict=True):
            for row, target in enumerate(targets):
                if row % 2 == 0:
                    axes.axhspan(row - 0.5, row + 0.5, color="#F6F6F6", zorder=0)
                for place, name in enumerate(arms):
                    offset = (place - (len(arms) - 1) / 2) / (len(arms) + 1.2)
                    for result in table[(table.target == target) & (table.arm == name)].to_dict("records"):
                        _dot(axes, result, row + offset)
            axes.set_title(title)
            axes.set_xlabel(("Partial " if axes is panels[1] else "") + METRIC_LABELS.get(metric, metric))
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        for axes in panels:
            _chance(axes, metric)
        panels[0].set(ylim=(len(targets) - 0.5, -0.5), yticks=range(len(targets)), yticklabels=list(targets))
        figure.legend(handles=_handles(arms, pd.concat(sides)), loc="outside upper center", ncols=3)
    return figure


def _chosen(results: pd.DataFrame, targets: Sequence[str], metric: str, keys: Sequence[str]) -> pd.DataFrame:
    """Rows of `metric` and `targets`; ValueError where there are none or `keys` do not tell them apart."""
    chosen = results[(results.metric == metric) & results.target.isin(targets)]
    if chosen.empty:
        raise ValueError(f"no results of {metric} for {', '.join(targets)}")
    unknown = set(chosen["mode"]) - {*LINEAR_MODES, *OTHER_MODES}
    if unknown:
        raise ValueError(f"unknown mode {sorted(unknown)}; expected one of {LINEAR_MODES + OTHER_MODES}")
    doubled = chosen.duplicated(list(keys))
    if doubled.any():
        twice = chosen[doubled].iloc[0]
        raise ValueError(f"more than one {metric} for {' / '.join(str(twice[k]) for k in keys)}; expected one")
    return chosen


def _ordered_arms(results: pd.DataFrame) -> list[str]:
    for name in set(results.arm):
        arm(name)
    return [name for name in ARMS if name in set(results.arm)]


def _dot(axes: Axes, result: Mapping[str, object], height: float) -> None:
    look = arm(str(result["arm"]))
    if np.isfinite(result["low"]) and np.isfinite(result["high"]):
        axes.plot([result["low"], result["high"]], [height, height], color=look.colour, linewidth=1.6, alpha=0.8)
    face = "white" if result["mode"] in OTHER_MODES else look.colour
    axes.plot(
        result["value"],
        height,
        look.marker,
        color=look.colour,
        markerfacecolor=face,
        markersize=5,
        gid=f"{result['arm']} {result['mode']} {result['target']}",
    )


def _absent(axes: Axes, name: str, height: float) -> None:
    place = {"xy": (0.995, height), "xycoords": ("axes fraction", "data"), "ha": "right", "va": "center"}
    axes.annotate("no result", **place, color=arm(name).colour, fontsize=6.5)


def _chance(axes: Axes, metric: str) -> None:
    """Line of an uninformed predictor, where the axis comes near it."""
    if metric in CHANCE:
        low, high = axes.get_xlim()
        if low - 0.35 * (high - low) <= CHANCE[metric] <= high:
            axes.axvline(CHANCE[metric], color=QUIET, linestyle=":", linewidth=1, gid="chance")


def _error(table: pd.DataFrame) -> np.ndarray:
    below, above = (table.value - table.low).to_numpy(float), (table.high - table.value).to_numpy(float)
    return np.nan_to_num(np.maximum(np.stack([below, above]), 0))


def _handles(arms: Sequence[str], results: pd.DataFrame) -> list[Line2D]:
    handles = [
        Line2D([], [], color=arm(name).colour, marker=arm(name).marker, markersize=5, label=arm(name).label)
        for name in arms
    ]
    if set(results["mode"]) & set(OTHER_MODES):
        open_marker = {"color": QUIET, "marker": "o", "markersize": 5, "linestyle": "none"}
        handles += [
            Line2D([], [], label="linear (probe, reference)", **open_marker),
            Line2D([], [], label="fine-tuned or boosted", markerfacecolor="white", **open_marker),
        ]
    return handles


def _note(results: pd.DataFrame) -> str:
    n = sorted({int(value) for value in results.n})
    count = f"n = {n[0]:,}" if len(n) == 1 else f"n = {n[0]:,} to {n[-1]:,}"
    seeds = sorted({len(str(seed).split()) for seed in results.seed})
    several = f" and up to {seeds[-1]} training seeds" if seeds and seeds[-1] > 1 else ""
    return _INTERVAL_NOTE.format(seeds=several, n=f"{count} test subjects.")

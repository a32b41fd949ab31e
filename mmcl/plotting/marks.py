"""What figures of results share: which rows are drawn, how arms, intervals and missing results look, and the note."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmcl.plotting.style import LINEAR_MODES, OTHER_MODES, QUIET, arm, in_order, new_figure, style

METRIC_LABELS = {"r": "Pearson r", "R2": "R²", "AUROC": "AUROC", "AUPRC": "Average precision", "Brier": "Brier score"}
CHANCE = {"AUROC": 0.5, "R2": 0.0, "r": 0.0}
"""Value of an uninformed predictor, drawn as a line where it lies in view."""

_INTERVAL_NOTE = "Bars: 95 % bootstrap interval over subjects{seeds}. {n}"


def chosen_rows(results: pd.DataFrame, targets: Sequence[str], metric: str, keys: Sequence[str]) -> pd.DataFrame:
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


def without_ablations(results: pd.DataFrame) -> pd.DataFrame:
    """Rows of arms and references that are no ablation, `<arm>.<what>`: these have figures of their own."""
    ablations = [results[column].str.contains(".", regex=False) for column in ("arm", "reference")]
    return results[~(ablations[0] | ablations[1])]


def empty_figure(words: str, source: str) -> Figure:
    """A low figure that says in `words` that there is nothing to draw."""
    with style():
        figure = new_figure(0.9, source)
        axes = figure.subplots()
        axes.set_axis_off()
        axes.text(0.5, 0.5, words, ha="center", va="center", color=QUIET, style="italic")
    return figure


def ordered_arms(results: pd.DataFrame) -> list[str]:
    """Arms of `results` in the order of ARMS."""
    return in_order(results.arm)


def dot(axes: Axes, rows: pd.DataFrame, name: str, height: float, gid: str, filled: bool = True) -> None:
    """Marker and interval, at `height` and in the look of arm `name`, of the one row; "missing" where it has no value.

    ValueError for several rows.
    """
    look = arm(name)
    if not np.isfinite(rows.value).any():
        place = {"xy": (0.995, height), "xycoords": ("axes fraction", "data"), "ha": "right", "va": "center"}
        axes.annotate("missing", **place, color=look.colour, fontsize=6.5, gid=f"missing {gid}")
        return
    (row,) = rows.to_dict("records")
    if np.isfinite(row["low"]) and np.isfinite(row["high"]):
        axes.plot([row["low"], row["high"]], [height, height], color=look.colour, linewidth=1.6, alpha=0.8)
    face = look.colour if filled else "white"
    axes.plot(row["value"], height, look.marker, color=look.colour, markerfacecolor=face, markersize=5, gid=gid)


def chance_line(axes: Axes, metric: str) -> None:
    """Line of an uninformed predictor, where the axis comes near it."""
    if metric in CHANCE:
        low, high = axes.get_xlim()
        if low - 0.35 * (high - low) <= CHANCE[metric] <= high:
            axes.axvline(CHANCE[metric], color=QUIET, linestyle=":", linewidth=1, gid="chance")


def crosses(axes: Axes, x: np.ndarray, name: str, gid: str) -> None:
    """A cross in the colour of arm `name` at the panel's foot for each missing result at `x`."""
    if x.size:
        foot = {"transform": axes.get_xaxis_transform(), "in_layout": False, "gid": f"missing {gid}"}
        axes.plot(x, np.full(x.size, 0.03), "x", color=arm(name).colour, markersize=5, **foot)


def legend_height(handles: Sequence[Line2D], columns: int = 3) -> float:
    """Inches that a legend takes."""
    return 0.1 + 0.185 * -(-len(handles) // columns)


def error_bars(table: pd.DataFrame) -> np.ndarray:
    """Distances (2, rows) of `low` and `high` from `value`, 0 where there is no interval."""
    below, above = (table.value - table.low).to_numpy(float), (table.high - table.value).to_numpy(float)
    return np.nan_to_num(np.maximum(np.stack([below, above]), 0))


def arm_handles(arms: Sequence[str], results: pd.DataFrame) -> list[Line2D]:
    """Legend of `arms`, and of filled and open markers where `results` hold both."""
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


def interval_note(results: pd.DataFrame) -> str:
    """What bars are, the number of subjects and of seeds; rows without a value do not count."""
    results = results[results.value.notna()]
    if results.empty:
        return "No result yet."
    n = sorted({int(value) for value in results.n})
    count = f"n = {n[0]:,}" if len(n) == 1 else f"n = {n[0]:,} to {n[-1]:,}"
    seeds = sorted({len(str(seed).split()) for seed in results.seed})
    several = f" and up to {seeds[-1]} training seeds" if seeds and seeds[-1] > 1 else ""
    return _INTERVAL_NOTE.format(seeds=several, n=f"{count} test subjects.")

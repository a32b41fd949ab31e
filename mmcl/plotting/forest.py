"""Forest plots: every arm down, with its interval, a panel a target; scores, or differences of the method to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmcl.evaluation.significance import LEVEL
from mmcl.plotting.marks import METRIC_LABELS, chance_line, chosen_rows, dot, interval_note
from mmcl.plotting.style import INK, QUIET, arm, in_order, new_figure, style

SECTIONS = {"probe": "Linear probe", "finetune": "Fine-tuned", "": "Reference"}
"""Modes in the order of the sections of a forest, and what they are called."""


def draw_forest(
    results: pd.DataFrame,
    targets: Sequence[str],
    metric: str,
    source: str,
    method: str = "mdm+mmcl",
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Arms down in sections by mode, `targets` across; intervals as bars, "missing" where there is no result.

    results: rows of one number of labels in which target, arm, reference and mode are unique for `metric`. Of scores, a
    dotted line goes through `method` in each section. Of differences (rows with a `reference`) the arm is the one that
    the method is compared with, a line stands at 0, and markers are filled where p after Holm's correction is below
    LEVEL. `titles` renames targets. A result far beyond the others is named at the edge, lest it flatten them.
    """
    chosen = chosen_rows(results, targets, metric, ["target", "arm", "reference", "mode"])
    paired = chosen.reference.ne("").any()
    if paired and chosen.reference.eq("").any():
        raise ValueError("scores and differences in one forest; expected either")
    section = chosen["mode"].where(chosen["mode"].isin(SECTIONS), "")
    chosen = chosen.assign(shown=chosen.reference if paired else chosen.arm, section=section)
    sections = {mode: _shown(chosen[chosen.section == mode]) for mode in SECTIONS if (chosen.section == mode).any()}
    limits = _limits(chosen)
    heights, height = {}, 0.0
    for mode, names in sections.items():
        height += 1.0
        for name in names:
            heights[mode, name], height = height, height + 1.0
    with style():
        note = interval_note(chosen)
        if paired:
            note += f" Filled: p < {LEVEL:g} after Holm's correction."
        figure = new_figure(0.19 * height + 1.05, source, note=note)
        panels = figure.subplots(1, len(targets), sharey=True, sharex=True, squeeze=False)[0]
        for axes, target in zip(panels, targets, strict=True):
            for (mode, name), place in heights.items():
                one = chosen[(chosen.target == target) & (chosen.shown == name) & (chosen.section == mode)]
                told = not paired or one.p_holm.lt(LEVEL).any()
                dot(axes, one, name, place, f"{name} {mode} {target}", filled=told)
                _name_beyond(axes, one, name, place, limits)
            axes.set_title((titles or {}).get(target, target))
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        panels[0].set_xlim(limits)
        ticks = {place: arm(name).label for (_, name), place in heights.items()}
        ticks |= {min(heights[mode, name] for name in names) - 1: SECTIONS[mode] for mode, names in sections.items()}
        panels[0].set(ylim=(height - 0.4, -0.6), yticks=sorted(ticks), yticklabels=[ticks[k] for k in sorted(ticks)])
        for text in panels[0].get_yticklabels():
            if text.get_text() in SECTIONS.values():
                text.set_fontweight("bold")
        for axes, target in zip(panels, targets, strict=True):
            if paired:
                axes.axvline(0, color=INK, linewidth=0.8, gid="zero")
            else:
                chance_line(axes, metric)
                _through_method(axes, chosen[(chosen.target == target) & (chosen.shown == method)], sections, heights)
        label = METRIC_LABELS.get(metric, metric)
        panels[len(targets) // 2].set_xlabel(f"{arm(method).label} less the arm, {label}" if paired else label)
        if paired:
            figure.legend(handles=_told_handles(), loc="outside upper right", ncols=2)
    return figure


def _shown(rows: pd.DataFrame) -> list[str]:
    return in_order(rows.shown)


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """The span of all intervals; where it is thrice that of most of them, the latter."""
    ends = np.concatenate([rows[column].dropna() for column in ("low", "high", "value")])
    if not ends.size:
        return 0.0, 1.0
    whole, most = np.quantile(ends, [0, 1]), np.quantile(ends, [0.1, 0.9])
    most = np.clip(most + np.array([-0.5, 0.5]) * max(np.ptp(most), 1e-9), *whole)
    low, high = whole if np.ptp(whole) <= 3 * np.ptp(most) else most
    pad = 0.04 * max(high - low, 1e-9)
    return low - pad, high + pad


def _name_beyond(axes: Axes, rows: pd.DataFrame, name: str, place: float, limits: tuple[float, float]) -> None:
    for value in rows.value.dropna():
        if not limits[0] <= value <= limits[1]:
            side, words = (0.02, f"◂ {value:.1f}") if value < limits[0] else (0.98, f"{value:.1f} ▸")
            looks = {"ha": "left" if side < 0.5 else "right", "va": "center", "fontsize": 6.5, "zorder": 5}
            looks["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
            axes.text(side, place, words, transform=axes.get_yaxis_transform(), color=arm(name).colour, **looks)


def _through_method(axes: Axes, rows: pd.DataFrame, sections: Mapping[str, Sequence[str]], heights: Mapping) -> None:
    for row in rows[rows.value.notna()].to_dict("records"):
        span = [heights[row["section"], name] for name in sections[row["section"]]]
        ends = [min(span) - 0.5, max(span) + 0.5]
        axes.plot([row["value"]] * 2, ends, color=arm(row["shown"]).colour, linestyle=":", linewidth=1, zorder=0)


def _told_handles() -> list[Line2D]:
    same = {"color": QUIET, "marker": "o", "markersize": 5, "linestyle": "none"}
    return [
        Line2D([], [], label="told apart after Holm", **same),
        Line2D([], [], label="not told apart", markerfacecolor="white", **same),
    ]

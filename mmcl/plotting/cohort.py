"""The cohort at a glance: hearts with their ECG and CMR side by side, and the population beside published targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mmcl.plotting.bullseye import draw_bullseye
from mmcl.plotting.cine import SCAR, contour_handles, draw_frame
from mmcl.plotting.electrocardiogram import GAIN, SPEED, draw_page, page_size
from mmcl.plotting.style import INK, QUIET, SEX_COLOURS, new_figure, style
from mmcl.simulation.examples import Exemplar

_PAPER = (
    f"ECG: a small square is {1 / SPEED:g} s x {1 / GAIN:g} mV. CMR: mid-ventricular short axis, seen from the apex, "
    "at end-diastole (ED) and end-systole (ES); bar 50 mm."
)
ACTIVATION, LATEST = "plasma", 140.0
"""Colours of activation in a bull's-eye, from 0 to so many ms."""
SCARRED = 0.1
"""Transmurality from which a segment of the bull's-eye is outlined."""
REACH = 4.0
"""Tolerances to either side that the table of targets shows; what lies beyond is at its edge."""


def draw_examples(exemplars: Sequence[Exemplar], source: str, spacing: float = 1.8) -> Figure:
    """Each heart in a row: its 12-lead ECG on paper, its ED and its ES frame with contours."""
    width_mm, height_mm = page_size()
    width, ecg_share = 11.0, 0.6
    row_height = width * ecg_share * height_mm / width_mm + 0.36
    with style():
        figure = new_figure(row_height * len(exemplars) + 0.75, source, width=width, note=_PAPER)
        frame_share = (1 - ecg_share) / 2
        panels = figure.subplots(len(exemplars), 3, squeeze=False, width_ratios=(ecg_share, frame_share, frame_share))
        for row, exemplar in zip(panels, exemplars, strict=True):
            draw_page(row[0], exemplar.ecg, label_size=8, trace_width=0.65)
            row[0].set_title(exemplar.name, fontsize=11)
            row[0].set_title(exemplar.detail, fontsize=9.5, loc="right", weight="normal")
            _frames(row[1:], exemplar, spacing)
        figure.legend(handles=contour_handles(_scarred(exemplars)), loc="outside upper right", ncols=4, fontsize=9.5)
    return figure


def draw_subjects(exemplars: Sequence[Exemplar], source: str, spacing: float = 1.8) -> Figure:
    """Hearts as a cardiologist would see them, two in a row: ECG on paper, ED, ES, and a bull's-eye of activation."""
    width_mm, height_mm = page_size()
    width, ecg, square = 22.4, 5.9, 1.72
    rows = -(-len(exemplars) // 2)
    row_height = ecg * height_mm / width_mm + 0.42
    with style():
        note = f"{_PAPER} Bull's-eye: mean activation of the 16 AHA segments; strong borders: scar."
        figure = new_figure(row_height * rows + 0.8, source, width=width, note=note)
        ratios = (ecg, square, square, square) * 2
        panels = figure.subplots(rows, 8, squeeze=False, width_ratios=ratios)
        for axes in panels.ravel():
            axes.set_axis_off()
        for number, exemplar in enumerate(exemplars):
            row = panels[number // 2, 4 * (number % 2) : 4 * (number % 2) + 4]
            for axes in row:
                axes.set_axis_on()
            draw_page(row[0], exemplar.ecg, label_size=7.5, trace_width=0.6)
            row[0].set_title(f"{number + 1}  {exemplar.name}", fontsize=11)
            row[1].set_title(exemplar.detail, fontsize=9, loc="left", weight="normal")
            _frames(row[1:3], exemplar, spacing)
            outlined = np.flatnonzero(exemplar.transmurality >= SCARRED) + 1
            draw_bullseye(row[3], exemplar.activation, 0, LATEST, ACTIVATION, outlined=outlined)
        figure.legend(handles=contour_handles(_scarred(exemplars)), loc="outside upper right", ncols=4, fontsize=9.5)
        bar = ScalarMappable(Normalize(0, LATEST), ACTIVATION)
        figure.colorbar(bar, ax=panels, location="bottom", label="Activation (ms)", shrink=0.2, aspect=40, pad=0.01)
    return figure


def draw_targets(table: pd.DataFrame, source: str, columns: int = 3) -> Figure:
    """How far the cohort is from each published target, in tolerances of that target.

    `table` is that of `mmcl.simulation.targets.evaluate`. Targets of men and women that are otherwise the same share a
    row. A filled mark lies within its tolerance; bars are 95 % intervals from the number of subjects.
    """
    rows = _target_rows(table)
    each = -(-len(rows) // columns)
    met, given = int(table["met"].sum()), int(table["got"].notna().sum())
    with style():
        note = (
            f"{met} of {given} targets within their tolerance (band), which was set from published studies. Bars: 95 % "
            "interval for the number of subjects. At the right of each row its target, men / women where they differ."
        )
        figure = new_figure(0.178 * each + 1.1, source, width=5.2 * columns, note=note)
        panels = figure.subplots(1, columns, squeeze=False)[0]
        for axes, start in zip(panels, range(0, len(rows), each), strict=False):
            _target_panel(axes, rows[start : start + each], each)
        handles = [
            Line2D([], [], color=colour, marker="o", linestyle="", label=name) for name, colour in _SEXES.items()
        ]
        handles += [
            Line2D([], [], color=INK, marker="o", markerfacecolor="white", linestyle="", label="missed"),
            Patch(color=_BAND, label="tolerance"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=5)
    return figure


_SEXES = {"men": SEX_COLOURS["male"], "women": SEX_COLOURS["female"], "both": INK}
_BAND = "#DDEFE6"


def _target_rows(table: pd.DataFrame) -> list[tuple[str, list[tuple[str, pd.Series]]]]:
    """Label and (sex, target) of each row of the figure, in the order of `table`."""
    rows: dict[str, list] = {}
    for _, target in table.iterrows():
        sex = next((word for word in target["group"].split() if word in _SEXES), "both")
        rows.setdefault(target["name"].removesuffix(f" {sex}"), []).append((sex, target))
    return list(rows.items())


def _target_panel(axes: Axes, rows: list[tuple[str, list[tuple[str, pd.Series]]]], each: int) -> None:
    axes.axvspan(-1, 1, color=_BAND, zorder=0)
    axes.axvline(0, color=QUIET, linewidth=0.7, zorder=1)
    for place, (_, entries) in enumerate(rows):
        for number, (sex, target) in enumerate(entries):
            apart = (target["got"] - target["target"]) / target["tolerance"]
            if not np.isfinite(apart):
                continue
            height = place + (number - (len(entries) - 1) / 2) * 0.36
            shown = float(np.clip(apart, -REACH, REACH))
            marker = "o" if shown == apart else ("<" if apart < 0 else ">")
            face = _SEXES[sex] if target["met"] else "white"
            half = 1.96 * target["standard error"] / target["tolerance"]
            ends = np.clip((apart - half, apart + half), -REACH, REACH)
            axes.plot(ends, (height, height), color=_SEXES[sex], linewidth=0.9, zorder=2)
            axes.plot(shown, height, marker, color=_SEXES[sex], mfc=face, markersize=4, zorder=3, gid=target["name"])
        values = [f"{target['target']:g}" for _, target in entries]
        unit = entries[0][1]["unit"]
        text = f"{' / '.join(dict.fromkeys(values))}{'' if unit == '1' else ' ' + unit}"
        axes.text(1.01, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=7.2, color=QUIET)
    axes.set(yticks=range(len(rows)), ylim=(each - 0.5, -0.5), xlim=(-REACH - 0.2, REACH + 0.2))
    axes.set_yticklabels([label for label, _ in rows], fontsize=7.8)
    axes.set_xlabel("(cohort - target) / tolerance")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y")


def _frames(panels: Sequence[Axes], exemplar: Exemplar, spacing: float) -> None:
    for axes, frame, caption in zip(panels, (0, 2), ("ED", "ES"), strict=True):
        draw_frame(axes, exemplar.frames[frame], exemplar.labels[frame], spacing, caption)


def _scarred(exemplars: Sequence[Exemplar]) -> bool:
    return any((exemplar.labels == SCAR).any() for exemplar in exemplars)

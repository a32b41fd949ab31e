"""The cohort at a glance: hearts with their ECG and CMR side by side, and the population beside reference ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mmcl.plotting.cine import contour_handles, draw_frame
from mmcl.plotting.electrocardiogram import GAIN, SPEED, draw_page, page_size
from mmcl.plotting.style import INK, SEX_COLOURS, new_figure, style

_PLURAL = {"male": "men", "female": "women"}


@dataclass(frozen=True)
class Example:
    """One heart: `title`, `detail` (age, sex, phenotypes), `ecg` (12, time) mV, ED and ES images and labels."""

    title: str
    detail: str
    ecg: np.ndarray
    end_diastole: np.ndarray
    end_systole: np.ndarray
    end_diastole_labels: np.ndarray | None = None
    end_systole_labels: np.ndarray | None = None


def draw_examples(examples: Sequence[Example], source: str, sampling_rate: float = 500, spacing: float = 1.8) -> Figure:
    """Each heart in a row: its 12-lead ECG on paper, its ED and its ES frame with contours."""
    width_mm, height_mm = page_size()
    width, ecg_share = 11.0, 0.6
    row_height = width * ecg_share * height_mm / width_mm + 0.36
    with style():
        note = (
            f"ECG: a small square is {1 / SPEED:g} s x {1 / GAIN:g} mV. CMR: mid-ventricular short axis, seen from "
            "the apex, at end-diastole (ED) and end-systole (ES); bar 50 mm."
        )
        figure = new_figure(row_height * len(examples) + 0.75, source, width=width, note=note)
        frame_share = (1 - ecg_share) / 2
        panels = figure.subplots(len(examples), 3, squeeze=False, width_ratios=(ecg_share, frame_share, frame_share))
        scarred = False
        for row, example in zip(panels, examples, strict=True):
            draw_page(row[0], example.ecg, sampling_rate, label_size=8, trace_width=0.65)
            row[0].set_title(example.title, fontsize=11)
            row[0].set_title(example.detail, fontsize=9.5, loc="right", weight="normal")
            draw_frame(row[1], example.end_diastole, example.end_diastole_labels, spacing, "ED")
            draw_frame(row[2], example.end_systole, example.end_systole_labels, spacing, "ES")
            for labels in (example.end_diastole_labels, example.end_systole_labels):
                scarred |= labels is not None and bool((np.asarray(labels) == 4).any())
        if any(example.end_diastole_labels is not None for example in examples):
            figure.legend(handles=contour_handles(scarred), loc="outside upper right", ncols=4, fontsize=9.5)
    return figure


def draw_population(
    phenotypes: pd.DataFrame,
    sex: Sequence[str],
    reference: Mapping[str, Mapping[str, tuple[float, float]]],
    units: Mapping[str, str],
    reference_name: str,
    source: str,
) -> Figure:
    """Distribution of each phenotype in men and women, above the mean and standard deviation of a reference.

    phenotypes: a column a phenotype, NaN where missing. sex: "male" or "female", a row each. reference: phenotype ->
    sex -> (mean, standard deviation), in `units`; `reference_name` cites it.
    """
    sex = np.asarray(sex, dtype=str)
    unknown = set(sex) - set(SEX_COLOURS)
    if unknown:
        raise ValueError(f"sex '{sorted(unknown)[0]}'; expected 'male' or 'female'")
    names = list(reference)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    counts = {group: int((sex == group).sum()) for group in SEX_COLOURS}
    with style():
        note = (
            f"Histograms: {counts['male']:,} men, {counts['female']:,} women. "
            f"Dots and bars: mean and one standard deviation; filled = cohort, open = {reference_name}."
        )
        figure = new_figure(1.75 * rows + 0.85, source, note=note)
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes in panels.ravel()[len(names) :]:
            axes.set_axis_off()
        for axes, name in zip(panels.ravel(), names, strict=False):
            _population_panel(axes, phenotypes[name].to_numpy(dtype=float), sex, reference[name])
            axes.set_title(name)
            axes.set_xlabel(units[name], labelpad=1)
        handles = [Patch(color=colour, alpha=0.35, label=_PLURAL[group]) for group, colour in SEX_COLOURS.items()]
        handles += [
            Line2D([], [], color=INK, marker="o", label="cohort mean ± SD"),
            Line2D([], [], color=INK, marker="o", markerfacecolor="white", linestyle="--", label="reference mean ± SD"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _population_panel(axes, values: np.ndarray, sex: np.ndarray, reference: Mapping[str, tuple[float, float]]) -> None:
    given = values[np.isfinite(values)]
    bins = np.linspace(*np.quantile(given, [0.001, 0.999]), 36)
    top = 0.0
    for group, colour in SEX_COLOURS.items():
        density, _, _ = axes.hist(
            values[(sex == group) & np.isfinite(values)], bins, density=True, color=colour, alpha=0.35
        )
        top = max(top, np.nanmax(density)) if np.isfinite(density).any() else top
    for place, (group, colour) in enumerate(SEX_COLOURS.items()):
        own = values[(sex == group) & np.isfinite(values)]
        level = -top * (0.13 + 0.3 * place)
        if own.size > 1:
            axes.errorbar(own.mean(), level, xerr=own.std(), fmt="o", color=colour, markersize=4.5, capsize=2)
        if group in reference:
            mean, spread = reference[group]
            bar = axes.errorbar(
                mean, level - 0.12 * top, xerr=spread, fmt="o", color=colour, mfc="white", markersize=4.5, capsize=2
            )
            bar[2][0].set_linestyle("--")
    axes.set(yticks=[], ylim=(-0.75 * top, 1.08 * top))
    axes.spines["left"].set_visible(False)
    axes.axhline(0, color=INK, linewidth=0.6)

"""The 12-lead ECG as a cardiologist reads it: 3 x 4 leads and a rhythm strip on paper of 25 mm/s and 10 mm/mV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from mmcl.config import LEADS
from mmcl.plotting.style import INK, QUIET, new_figure, style

SPEED, GAIN = 25.0, 10.0
"""Paper speed, mm/s, and gain, mm/mV."""

LAYOUT = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
"""Leads of the 3 x 4 page; each column is 2.5 s of the same 10 s."""

RHYTHM = "II"
COLUMN_SECONDS = 2.5

ROW, MARGIN, LEFT = 25.0, 12.5, 12.5
"""mm between baselines, above the first and below the last, and before the first trace (calibration pulse)."""

PAPER, MINOR, MAJOR = "#FFFBFA", "#F8DAD7", "#EDA9A4"
ATTRIBUTION = LinearSegmentedColormap.from_list("attribution", [(0.0, 0.35, 0.7, 0.0), (0.0, 0.35, 0.7, 0.8)])
"""From nothing to blue, so that the paper shows where there is no attribution."""

_BLUE, _ORANGE = (0.0, 0.35, 0.7), (0.84, 0.37, 0.0)
SIGNED = LinearSegmentedColormap.from_list(
    "signed attribution", [(0, (*_BLUE, 0.85)), (0.499, (*_BLUE, 0)), (0.501, (*_ORANGE, 0)), (1, (*_ORANGE, 0.85))]
)
"""From blue, against, by nothing to orange, for."""

MARKED = "#0072B2"
_VARIANTS = ("#0072B2", "#D55E00", "#009E73")


def draw_electrocardiogram(
    signal: np.ndarray,
    source: str,
    sampling_rate: float = 500,
    title: str = "",
    attribution: np.ndarray | None = None,
    attribution_label: str = "Attribution",
    simultaneous: bool = False,
    unit: str = "mV",
    note: str = "",
) -> Figure:
    """A page of true size: printed at 100 %, 25 mm are one second and 10 mm one millivolt.

    signal: (12, time) mV, at least 10 s at `sampling_rate` Hz. Of another `unit`, such as SD of standardised signals,
    10 mm, the height of the calibration pulse, are the `fitting_pulse`; the page says how much. attribution:
    (12, columns), shaded behind the trace over the same time, whatever its number of columns; where some is negative,
    blue is below and orange above zero. `simultaneous` is for the shorter window that a model sees: all leads then show
    its first 2.5 s, and the rhythm strip as much as there is. `note` is added to what the foot says of scales.
    """
    width_mm, height_mm = page_size()
    millimetre = 1 / 25.4
    width, height = (width_mm + 4) * millimetre, (height_mm + 18) * millimetre + 0.25 * (attribution is not None)
    pulse = 1 if unit == "mV" else fitting_pulse(signal)
    with style():
        scale = f"{GAIN:g} mm/{unit}" if pulse == 1 else f"{GAIN:g} mm for {pulse} {unit}"
        told = [
            f"{SPEED:g} mm/s, {scale}: a small square is 0.04 s x {pulse / 10:g} {unit}.",
            f"Rhythm strip: lead {RHYTHM}.",
        ]
        told += ["All leads at the same time."] * simultaneous
        note = " ".join([*told, note]).strip()
        figure = new_figure(height, source, width=width, note=note)
        figure.set_layout_engine("none")
        left, bottom = 2 * millimetre / width, 11 * millimetre / height
        axes = figure.add_axes((left, bottom, width_mm * millimetre / width, height_mm * millimetre / height))
        draw_page(axes, np.asarray(signal) / pulse, sampling_rate, attribution, simultaneous=simultaneous)
        if title:
            figure.text(left, 1 - 1.5 * millimetre / height, title, va="top", weight="bold", size=11)
        if attribution is not None:
            scale = _attribution_scale(attribution)
            bar = figure.add_axes((0.62, 1 - 0.3 / height, 0.36, 0.09 / height))
            figure.colorbar(scale, cax=bar, orientation="horizontal")
            bar.tick_params(labelsize=7.5, pad=1)
            bar.set_title(attribution_label, fontsize=8, weight="normal", pad=3)
    return figure


def fitting_pulse(signal: np.ndarray) -> int:
    """The least whole number of units that 10 mm must stand for, if each lead of `signal` (12, time), drawn about its
    median, is to keep to its row."""
    signal = np.asarray(signal, dtype=np.float64)
    farthest = np.nanmax(np.abs(signal - np.nanmedian(signal, axis=1, keepdims=True)))
    return max(1, int(np.ceil(GAIN * farthest / (ROW / 2))))


def page_size() -> tuple[float, float]:
    """Width and height of the page in mm."""
    return LEFT + 10 * SPEED + 3.5, 2 * MARGIN + 3 * ROW


def draw_page(
    axes: Axes,
    signal: np.ndarray,
    sampling_rate: float = 500,
    attribution: np.ndarray | None = None,
    label_size: float = 9,
    trace_width: float = 0.8,
    simultaneous: bool = False,
) -> None:
    """Draw the page into `axes`, whose data coordinates become millimetres of paper, undistorted at any size."""
    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != 2 or signal.shape[0] != len(LEADS):
        raise ValueError(f"signal has shape {signal.shape}; expected (12, time)")
    if not simultaneous and signal.shape[1] < 10 * sampling_rate:
        raise ValueError(f"signal lasts {signal.shape[1] / sampling_rate:.2f} s; the page needs 10 s")
    signal = signal[:, : round(10 * sampling_rate)]
    duration = signal.shape[1] / sampling_rate
    _paper(axes)
    for row, leads in enumerate((*LAYOUT, (RHYTHM,))):
        baseline = MARGIN + (3 - row) * ROW
        _calibration(axes, baseline, trace_width)
        seconds = COLUMN_SECONDS if len(leads) > 1 else 10.0
        for column, lead in enumerate(leads):
            values = signal[LEADS.index(lead)]
            first = 0.0 if simultaneous else column * seconds
            shown = min(seconds, duration - first)
            start, stop = (round(moment * sampling_rate) for moment in (first, first + shown))
            left = LEFT + SPEED * column * seconds
            time = left + SPEED * np.arange(stop - start) / sampling_rate
            height = baseline + GAIN * (values[start:stop] - np.nanmedian(values))
            axes.plot(time, height, color=INK, linewidth=trace_width, solid_joinstyle="round", gid=f"lead {lead}")
            if column:
                axes.plot([left, left], [baseline - 3, baseline + 3], color=INK, linewidth=trace_width)
            axes.text(
                left + 1,
                baseline + 7.2,
                lead,
                fontsize=label_size,
                weight="bold",
                color=INK,
                va="bottom",
                zorder=1.5,  # behind the trace, which may pass it
                bbox={"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
            )
            if attribution is not None:
                extent = (left, left + SPEED * shown, baseline - 0.4 * ROW, baseline + 0.4 * ROW)
                part = np.array([first, first + shown]) / duration
                _shade(axes, np.asarray(attribution), LEADS.index(lead), part, extent)


def draw_preprocessing(
    raw: np.ndarray,
    preprocessed: np.ndarray,
    source: str,
    raw_rate: float = 500,
    preprocessed_rate: float = 500,
    leads: Sequence[str] = ("II", "V2", "V5"),
) -> Figure:
    """One record before and after preprocessing: `raw` (12, time) in mV, `preprocessed` (12, time) standardised."""
    with style():
        note = "After: baseline removed (asymmetric least squares), then z-scores by lead group."
        figure = new_figure(1.05 * len(leads) + 1.0, source, note=note)
        panels = figure.subplots(len(leads), 2, sharex=True, squeeze=False)
        sides = (
            (np.asarray(raw), raw_rate, "Recorded", "mV", QUIET),
            (np.asarray(preprocessed), preprocessed_rate, "Preprocessed", "SD", "#0072B2"),
        )
        for column, (signal, rate, title, unit, colour) in enumerate(sides):
            clock = np.arange(signal.shape[1]) / rate
            for row, lead in enumerate(leads):
                axes = panels[row, column]
                axes.plot(clock, signal[LEADS.index(lead)], color=colour, linewidth=0.7)
                axes.grid(axis="x")
                axes.set(xlim=(0, clock[-1] + 1 / rate), xticks=np.arange(0, clock[-1] + 1, 2))
                axes.set_ylabel(f"{lead} ({unit})")
            panels[0, column].set_title(title)
            panels[-1, column].set_xlabel("Time (s)")
    return figure


def draw_effects(
    beats: Mapping[str, Mapping[str, np.ndarray]],
    source: str,
    sampling_rate: float = 500,
    leads: Sequence[str] = ("I", "aVF", "V1", "V2", "V4", "V6"),
    before: float = 300.0,
) -> Figure:
    """What each effect does to one beat: a row an effect, a column a lead, a line each of its variants.

    beats: effect -> variant -> (12, samples) mV, from `before` ms before the ventricles activate; the first variant,
    the heart as it is, is drawn in black.
    """
    with style():
        figure = new_figure(1.75 * len(beats) + 0.7, source, width=12.5, note="One heart, one thing changed at a time.")
        panels = figure.subplots(len(beats), len(leads) + 1, squeeze=False, sharex=True, sharey="row")
        for row, (effect, variants) in zip(panels, beats.items(), strict=True):
            handles = []
            for number, (variant, beat) in enumerate(variants.items()):
                clock = np.arange(beat.shape[1]) * 1000 / sampling_rate - before
                look = {"color": INK, "linewidth": 1.1} if number == 0 else {"color": _VARIANTS[number - 1]}
                for axes, lead in zip(row, leads, strict=False):
                    axes.plot(clock, beat[LEADS.index(lead)], label=variant, zorder=3 - number, gid=lead, **look)
                handles.append(row[0].get_lines()[-1])
            row[-1].set_axis_off()
            row[-1].legend(handles=handles, title=effect, loc="center left", alignment="left", title_fontsize=9.5)
            row[0].set_ylabel("mV")
            for axes in row[:-1]:
                axes.grid()
        for axes, lead in zip(panels[0], leads, strict=False):
            axes.set_title(lead)
        for axes in panels[-1, :-1]:
            axes.set(xlabel="ms", xlim=(-220, 520))
    return figure


def draw_sheet(
    signals: Sequence[np.ndarray], titles: Sequence[str], source: str, columns: int = 2, marked: Sequence[bool] = ()
) -> Figure:
    """Many recordings (12, at least 10 s at 500 Hz) mV as small pages under their `titles`; `marked` ones in blue."""
    width_mm, height_mm = page_size()
    width, rows = 8.2, -(-len(signals) // columns)
    with style():
        figure = new_figure((width * height_mm / width_mm + 0.3) * rows + 0.5, source, width=width * columns)
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes in panels.ravel()[len(signals) :]:
            axes.set_axis_off()
        for number, (axes, signal, title) in enumerate(zip(panels.ravel(), signals, titles, strict=False)):
            draw_page(axes, signal, label_size=7, trace_width=0.6)
            colour = MARKED if len(marked) and marked[number] else INK
            axes.set_title(title, color=colour, fontsize=10)
    return figure


def _paper(axes: Axes) -> None:
    width, height = page_size()
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal", xticks=[], yticks=[], facecolor=PAPER)
    for step, colour, line in ((1, MINOR, 0.35), (5, MAJOR, 0.6)):
        across = [[(x, 0), (x, height)] for x in np.arange(0, width + 0.1, step)]
        along = [[(0, y), (width, y)] for y in np.arange(0, height + 0.1, step)]
        axes.add_collection(LineCollection(across + along, colors=colour, linewidths=line, zorder=0.5), autolim=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=MAJOR)


def _calibration(axes: Axes, baseline: float, trace_width: float) -> None:
    """Pulse of 1 mV and 0.2 s, as a recorder writes it."""
    x = np.array([2.5, 4.0, 4.0, 9.0, 9.0, 10.5])
    y = baseline + GAIN * np.array([0, 0, 1, 1, 0, 0])
    axes.plot(x, y, color=INK, linewidth=trace_width, gid="calibration")


def _attribution_scale(attribution: np.ndarray) -> ScalarMappable:
    """From 0 to the largest value, or about 0 where some is negative; an attribution of nothing but 0 stays clear."""
    low, high = float(np.nanmin(attribution)), float(np.nanmax(attribution))
    if low >= 0:
        return ScalarMappable(Normalize(0, high or 1.0), ATTRIBUTION)
    limit = max(-low, high)
    return ScalarMappable(Normalize(-limit, limit), SIGNED)


def _shade(axes: Axes, attribution: np.ndarray, row: int, part: np.ndarray, extent: tuple[float, ...]) -> None:
    """Colour behind the trace in the `part` of the signal, two shares of its length that the columns divide evenly."""
    columns = attribution.shape[1]
    edge = np.linspace(*part, 2000, endpoint=False) * columns
    values = attribution[row, np.clip(edge.astype(int), 0, columns - 1)]
    scale = _attribution_scale(attribution)
    look = {"extent": extent, "aspect": "equal", "zorder": 0.8, "interpolation": "nearest"}
    axes.imshow(values[None], cmap=scale.cmap, norm=scale.norm, **look)

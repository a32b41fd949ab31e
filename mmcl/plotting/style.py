"""One style for all figures: fixed colours of the arms, the footer that names the data, and the only way to save."""

from __future__ import annotations

import json
import textwrap
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import colors
from matplotlib.figure import Figure

from mmcl.atomic import atomic_path

WIDTH = 7.5
"""Inches of a figure of full width; at 9 points its text stays readable in a README some 850 pixels wide."""

DPI = 160
MOST_PIXELS = 2.0e6
"""A larger page is saved at a lower resolution, so that figures stay light enough to be kept in git."""


@dataclass(frozen=True)
class Arm:
    """How an arm of the experiment is shown: its `label`, `colour` and `marker`."""

    label: str
    colour: str
    marker: str


# Colours: Okabe and Ito's palette for colour-blind readers (Wong 2011, Nature Methods 8:441), with darker ones beside
# it. Shape repeats what colour says: circles are the method's arms, squares other objectives, diamonds references.
ARMS = {
    "random": Arm("Random weights", "#A8A8A8", "o"),
    "scratch": Arm("Supervised from scratch", "#5E5E5E", "o"),
    "mdm": Arm("MDM", "#56B4E9", "o"),
    "mmcl": Arm("MMCL from scratch", "#E69F00", "o"),
    "mdm+mmcl": Arm("MDM + MMCL", "#D55E00", "o"),
    "joint": Arm("MDM and MMCL in one stage", "#E6005C", "o"),
    "sigmoid": Arm("MDM + MMCL, sigmoid loss", "#CD02F6", "o"),
    "local": Arm("MDM + MMCL, phases aligned", "#02D99B", "o"),
    "cells": Arm("MDM + MMCL, cells aligned", "#3CE43C", "o"),
    "simclr": Arm("SimCLR", "#6A3D9A", "s"),
    "byol": Arm("BYOL", "#8B4513", "s"),
    "barlow_twins": Arm("Barlow Twins", "#0072B2", "s"),
    "clocs": Arm("CLOCS", "#66A61E", "s"),
    "cmr": Arm("CMR encoder", "#009E73", "D"),
    "cmr_simclr": Arm("CMR encoder, SimCLR", "#7FC97F", "D"),
    "cmr supervised": Arm("CMR, supervised", "#00543D", "D"),
    "ecg features": Arm("Classical ECG features", "#CC79A7", "D"),
    "ecg features, boosted": Arm("ECG features, boosted", "#882255", "D"),
    "median beat, components": Arm("Median beat, components", "#F08CE0", "D"),
    "true geometry": Arm("True geometry (ceiling)", "#1414C8", "D"),
    "true geometry, boosted": Arm("True geometry, boosted (ceiling)", "#0F0F66", "D"),
    "demographics": Arm("Demographics", "#1A1A1A", "D"),
}
"""Every arm and reference by its name in the result tables, in the order in which figures list them."""

LINEAR_MODES = ("probe", "linear", "")
"""Modes whose model is linear in fixed features, drawn with filled markers; "" is a reference without a mode."""

OTHER_MODES = ("finetune", "boosted")
"""Fine-tuned encoders and gradient boosting, drawn with open markers."""

SEX_COLOURS = {"male": "#0072B2", "female": "#CC79A7"}
INK, QUIET = "#1A1A1A", "#6B6B6B"

_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": DPI,
    "pdf.fonttype": 42,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in this style; the reader's own settings come back afterwards."""
    defaults = {key: value for key, value in mpl.rcParamsDefault.items() if key != "backend"}
    with mpl.rc_context(defaults | _RC):
        yield


class Page(Figure):
    """A figure of no pyplot window that a notebook shows all the same, as the last expression of a cell."""

    def _repr_png_(self) -> bytes:
        with style(), BytesIO() as buffer:
            self.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
            return buffer.getvalue()


def arm(name: str) -> Arm:
    """The look of arm `name`; an arm without an entry in ARMS goes by its name, in a colour that the name decides."""
    return ARMS.get(name) or Arm(name, colors.to_hex(mpl.colormaps["tab20b"](zlib.crc32(name.encode()) % 20)), "P")


def in_order(names: Iterable[str]) -> list[str]:
    """Each of `names` once, in the order of ARMS; arms without an entry there follow by name."""
    given = set(names)
    return [name for name in ARMS if name in given] + sorted(given - set(ARMS))


def new_figure(height: float, source: str, width: float = WIDTH, note: str = "") -> Figure:
    """An empty figure, `width` x `height` inches, whose last lines say `note` (what intervals mean, n) and `source`.

    ValueError when `source` is empty: a figure says what data it was drawn from.
    """
    if not source.strip():
        raise ValueError("figure without a source; expected words such as 'simulated cohort, n = 1,500, demo profile'")
    figure = Page(figsize=(width, height), layout="constrained")
    characters = int(width * 15.5)
    lines = textwrap.wrap(note, characters) + textwrap.wrap(f"Data: {source}", characters)
    size, line = 7.5, 0.145
    foot = (line * len(lines) + 0.08) / height
    figure.get_layout_engine().set(rect=(0, foot, 1, 1 - foot))
    figure.text(0.012, 0.05 / height, "\n".join(lines), fontsize=size, color=QUIET, va="bottom", gid="source")
    return figure


def save(figure: Figure, path: str | Path, data: Mapping[str, object]) -> Path:
    """Write `path` as .png and .pdf, and beside them as .json the `data` that the figure was drawn from.

    Each file appears whole or not at all and has the same bytes whenever figure and data are the same (no dates, no
    version). `data` may hold numbers, strings, arrays and data frames; NaN becomes null. Returns the path of the PNG,
    which `IPython.display.Image` shows in a notebook.
    """
    stem = Path(path)
    if stem.suffix in (".png", ".pdf", ".json"):
        stem = stem.with_suffix("")
    target = {suffix: stem.with_name(stem.name + suffix) for suffix in (".png", ".pdf", ".json")}
    text = json.dumps(_plain(data), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    width, height = figure.get_size_inches()
    with style():
        with atomic_path(target[".png"]) as part:
            dpi = min(DPI, (MOST_PIXELS / (width * height)) ** 0.5)
            figure.savefig(part, dpi=dpi, metadata={"Software": None})
        with atomic_path(target[".pdf"]) as part:
            dates = {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None}
            figure.savefig(part, metadata=dates, dpi=DPI)
    with atomic_path(target[".json"]) as part:
        part.write_text(text, encoding="utf-8")
    return target[".png"]


def show(figure: Figure, path: str | Path, data: Mapping[str, object]) -> None:
    """Save a figure as `save` does, and show the saved PNG in the notebook, under its name as alternative text."""
    from IPython.display import Image, display

    display(Image(filename=str(save(figure, path, data)), alt=Path(path).name.replace("_", " ")))


def _plain(value: object) -> object:
    """Arrays and frames as lists, numbers that are not finite as None."""
    if isinstance(value, pd.DataFrame):
        return _plain(value.to_dict("records"))
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, pd.Series, pd.Index)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise ValueError(f"data of type {type(value).__name__}; expected numbers, strings, arrays or data frames")

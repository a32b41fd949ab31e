"""Loss curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmcl.plotting.style import INK, QUIET, arm, new_figure, style

QUANTITIES = {"loss": "Loss", "ncc": "Normalised cross-correlation", "top1": "Partner ranked first (share)"}
"""Quantities that training logs as `train_<name>` and `validation_<name>`, and their axis labels."""


def draw_training(
    histories: Mapping[str, pd.DataFrame],
    source: str,
    quantities: Mapping[str, str] = QUANTITIES,
    chance: Mapping[str, float] | None = None,
) -> Figure:
    """Training (thin) and validation (thick) by epoch, one panel a quantity that any history holds.

    histories: arm -> a row an epoch, indexed by epoch or with a column `epoch`. chance: quantity -> value of a model
    that has learned nothing, drawn as a dotted line (for the CLIP loss ln(batch), for its top-1 accuracy 1 / batch).
    """
    shown = [q for q in quantities if any(f"{s}_{q}" in h for h in histories.values() for s in ("train", "validation"))]
    if not shown:
        raise ValueError(f"histories hold none of {', '.join(quantities)}, as train_<name> or validation_<name>")
    with style():
        figure = new_figure(3.1, source, width=max(3.6 * len(shown), 4.6))
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, quantity in zip(panels, shown, strict=True):
            for name, history in histories.items():
                epochs = np.asarray(history["epoch"] if "epoch" in history else history.index) + 1
                for stage, width, alpha in (("train", 0.9, 0.7), ("validation", 2.0, 1.0)):
                    if f"{stage}_{quantity}" in history:
                        values = history[f"{stage}_{quantity}"].to_numpy(dtype=float)
                        given = np.isfinite(values)
                        line = {"color": arm(name).colour, "linewidth": width, "alpha": alpha}
                        axes.plot(epochs[given], values[given], gid=f"{name} {stage} {quantity}", **line)
            if chance and quantity in chance:
                axes.axhline(chance[quantity], color=QUIET, linestyle=":", linewidth=1)
                place = {"xy": (0.99, chance[quantity]), "xycoords": ("axes fraction", "data")}
                axes.annotate("chance", **place, xytext=(0, 3), textcoords="offset points", ha="right", color=QUIET)
            axes.set(xlabel="Epoch", ylabel=quantities[quantity])
            axes.grid(axis="y")
        handles = [Line2D([], [], color=arm(name).colour, label=arm(name).label) for name in histories]
        stages = (("training", 0.9), ("validation", 2.0))
        handles += [Line2D([], [], color=INK, linewidth=width, label=stage) for stage, width in stages]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4))
    return figure

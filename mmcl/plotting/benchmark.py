"""Loss curves of two ways of training."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmcl.plotting.style import arm, new_figure, style

PATHS = {"fast": ("this project", "#0072B2", "-"), "reference": ("reference path", "#D55E00", "--")}
"""Path -> label, colour and dashes."""


def draw_curves(curves: pd.DataFrame, source: str) -> Figure:
    """Training loss by epoch, a panel an arm: a thin line a seed, their mean thick, by path.

    `curves` as in `mmcl.evaluation.agreement.compare_curves`.
    """
    arms, seeds = list(curves["arm"].unique()), curves["seed"].nunique()
    note = f"Thin lines: each of {seeds} seeds; thick lines: their mean. Both paths start from the same weights."
    with style():
        figure = new_figure(3.2, source, note=note)
        panels = figure.subplots(1, len(arms), squeeze=False)[0]
        for axes, name in zip(panels, arms, strict=True):
            for path, (_, colour, dashes) in PATHS.items():
                chosen = curves[(curves["arm"] == name) & (curves["path"] == path)]
                by_epoch = chosen.pivot(index="epoch", columns="seed", values="loss")
                line = {"color": colour, "linestyle": dashes}
                axes.plot(by_epoch.index + 1, by_epoch, linewidth=0.8, alpha=0.5, **line)
                axes.plot(by_epoch.index + 1, by_epoch.mean(axis=1), linewidth=2.2, gid=f"{name} {path}", **line)
            axes.set(xlabel="Epoch", ylabel="Training loss", title=arm(name).label, xticks=by_epoch.index + 1)
            axes.grid(axis="y")
        handles = [Line2D([], [], color=c, linestyle=d, linewidth=2.2, label=label) for label, c, d in PATHS.values()]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure

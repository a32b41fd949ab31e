"""What a latent space is organised by: a plane of it, coloured by phenotypes and diseases, and paths through it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mmcl.interpretation.plane import Plane
from mmcl.plotting.style import QUIET, arm, new_figure, style

CASE_COLOUR = "#D55E00"


def draw_latent(
    planes: Mapping[str, Plane],
    phenotypes: Mapping[str, np.ndarray],
    diseases: Mapping[str, np.ndarray],
    units: Mapping[str, str],
    source: str,
    note: str = "",
) -> Figure:
    """A row an arm, a column a phenotype (colour scale) or a disease (cases above controls).

    planes: arm -> plane with n points. phenotypes, diseases: name -> (n,), NaN where missing (not drawn).
    """
    names = [*phenotypes, *diseases]
    with style():
        rows, columns = len(planes), len(names)
        n = len(next(iter(planes.values())).points)
        note = " ".join(filter(None, (note, f"Frozen embedding of test subjects; n = {n:,}.")))
        figure = new_figure(2.15 * rows + 0.75, source, width=max(2.35 * columns + 0.4, 4.6), note=note)
        panels = figure.subplots(rows, columns, squeeze=False, sharex="row", sharey="row")
        for row, (name, plane) in enumerate(planes.items()):
            limits = np.quantile(plane.points, [0.002, 0.998], axis=0)
            for column, quantity in enumerate(names):
                axes = panels[row, column]
                if quantity in phenotypes:
                    _phenotype(figure, axes, plane.points, np.asarray(phenotypes[quantity], float), units[quantity])
                else:
                    _disease(axes, plane.points, np.asarray(diseases[quantity], dtype=float))
                if row == 0:
                    axes.set_title(quantity)
                axes.set(xticks=[], yticks=[], xlabel=plane.axes[0])
                pad = 0.06 * (limits[1] - limits[0])
                axes.set(xlim=(limits[0, 0] - pad[0], limits[1, 0] + pad[0]))
                axes.set(ylim=(limits[0, 1] - pad[1], limits[1, 1] + pad[1]))
            panels[row, 0].set_ylabel(f"{arm(name).label}\n{plane.axes[1]}")
    return figure


def _phenotype(figure: Figure, axes, scores: np.ndarray, values: np.ndarray, unit: str) -> None:
    given = np.isfinite(values)
    low, high = np.quantile(values[given], [0.02, 0.98])
    points = axes.scatter(
        *scores[given].T, c=values[given], s=5, cmap="viridis", vmin=low, vmax=high, linewidth=0, rasterized=True
    )
    figure.colorbar(points, ax=axes, label=unit, pad=0.02, aspect=25)


def _disease(axes, scores: np.ndarray, values: np.ndarray) -> None:
    for level, colour, size, alpha in ((0, QUIET, 4, 0.3), (1, CASE_COLOUR, 9, 0.9)):
        chosen = values == level
        label = f"{'cases' if level else 'controls'} ({chosen.sum():,})"
        axes.scatter(*scores[chosen].T, color=colour, s=size, alpha=alpha, linewidth=0, label=label, rasterized=True)
    axes.legend(loc="upper right", fontsize=7, handletextpad=0.1, markerscale=1.5, frameon=True, framealpha=0.8)

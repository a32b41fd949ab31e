"""What a latent space is organised by: a plane of it, coloured by phenotypes and diseases, and paths through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from mmcl.interpretation.counterfactual import Path
from mmcl.interpretation.plane import Plane, PrincipalPlane
from mmcl.plotting.style import INK, QUIET, arm, new_figure, style

CASE_COLOUR, PATH_COLOUR = "#D55E00", "#0072B2"
FIRST, LAST = "#F0E442", "#1A1A1A"
"""First and last step of a path."""


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


def draw_paths(paths: Sequence[Path], plane: PrincipalPlane, source: str) -> Figure:
    """Above, the paths through the `plane` of test subjects (grey); below, what a probe predicts along them.

    A column a property. Thin lines are subjects, the thick one their mean.
    """
    with style():
        columns = len(paths)
        n = len(paths[0].true)
        note = f"{n} simulated hearts, one property moved at a time, from light to dark. Thick: mean over hearts."
        figure = new_figure(5.9, source, width=max(3.1 * columns, 4.6), note=note)
        panels = figure.subplots(2, columns, squeeze=False)
        for (above, below), path in zip(panels.T, paths, strict=True):
            above.scatter(*plane.points.T, s=4, color=QUIET, alpha=0.2, linewidth=0, rasterized=True)
            x, y = np.moveaxis(plane.project(path.features), 2, 0)
            above.plot(x.T, y.T, color=PATH_COLOUR, linewidth=0.6, alpha=0.5)
            for step, colour in ((0, FIRST), (-1, LAST)):
                above.scatter(x[:, step], y[:, step], color=colour, s=14, zorder=3, edgecolor=INK, linewidth=0.4)
            above.set(xlabel=plane.axes[0], ylabel=plane.axes[1], xticks=[], yticks=[], title=path.moved.name)
            low, high = path.true.min(), path.true.max()
            below.plot([low, high], [low, high], color=QUIET, linewidth=0.8, linestyle=":", label="prediction = truth")
            below.plot(path.true.T, path.predicted.T, color=PATH_COLOUR, linewidth=0.6, alpha=0.4)
            x, y = path.true.mean(axis=0), path.predicted.mean(axis=0)
            below.plot(x, y, color=INK, linewidth=1.6, marker="o", markersize=4, gid="mean")
            for step, colour in ((0, FIRST), (-1, LAST)):
                below.scatter(x[step], y[step], color=colour, s=40, zorder=4, edgecolor=INK)
            below.set(xlabel=f"True ({path.moved.unit})", ylabel=f"Predicted ({path.moved.unit})")
        panels[1, 0].legend(loc="upper left", fontsize=7.5)
    return figure

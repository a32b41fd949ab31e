"""Predictions subject by subject: predicted against true phenotypes, ROC curves, reliability of probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mmcl.evaluation.calibration import reliability
from mmcl.evaluation.intervals import bootstrap, resample_counts
from mmcl.evaluation.predictions import Predictions
from mmcl.plotting.style import ARMS, INK, QUIET, arm, in_order, new_figure, style


def draw_scatter(
    predictions: Predictions,
    units: Mapping[str, str],
    source: str,
    generator: np.random.Generator,
    colour: str = ARMS["mdm+mmcl"].colour,
    resamples: int = 1000,
) -> Figure:
    """Predicted against true, a panel a phenotype, with the identity line, R2 and r (95 % bootstrap intervals)."""
    names = predictions.names
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with style():
        note = "Line: identity. Brackets: 95 % bootstrap interval over subjects."
        figure = new_figure(2.55 * rows + 0.5, source, note=note, width=max(2.5 * columns, 4.6))
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes in panels.ravel()[len(names) :]:
            axes.set_axis_off()
        for k, (axes, name) in enumerate(zip(panels.ravel(), names, strict=False)):
            truth, score = predictions.truth[:, k], predictions.score[:, k]
            given = np.isfinite(truth)
            both = np.concatenate([truth[given], score[given]])
            low, high = both.min(), both.max()
            pad = 0.04 * (high - low)
            # Many subjects overlap: small and transparent, rasterised so that a PDF stays small.
            dots = {"color": colour, "markersize": 2.4, "alpha": 0.35, "mew": 0, "rasterized": True}
            axes.plot(truth[given], score[given], "o", gid=name, **dots)
            axes.plot([low, high], [low, high], color=INK, linewidth=0.8)
            axes.set(xlim=(low - pad, high + pad), ylim=(low - pad, high + pad), aspect="equal")
            axes.set(xlabel=f"True ({units[name]})", ylabel=f"Predicted ({units[name]})")
            axes.set_title(f"{name}, n = {given.sum():,}")
            lines = []
            for metric, label in (("R2", "R²"), ("r", "r")):
                interval = bootstrap(metric, truth[:, None], score[:, None], resamples, generator).interval()
                lines.append(f"{label} {interval.value[0]:.2f} [{interval.low[0]:.2f}, {interval.high[0]:.2f}]")
            axes.text(0.04, 0.97, "\n".join(lines), transform=axes.transAxes, va="top", fontsize=7.5, color=INK)
    return figure


def draw_roc(
    predictions: Mapping[str, Predictions],
    disease: str,
    source: str,
    generator: np.random.Generator,
    resamples: int = 500,
) -> Figure:
    """ROC curve of each arm for one disease; bands: pointwise 95 % bootstrap interval, cases and controls resampled."""
    grid = np.linspace(0, 1, 101)
    seed = int(generator.integers(2**63))
    with style():
        first = next(iter(predictions.values())).select([disease]).truth[:, 0]
        cases, controls = int(np.nansum(first == 1)), int(np.nansum(first == 0))
        note = f"{cases:,} cases, {controls:,} controls. Bands and brackets: 95 % bootstrap interval over subjects."
        figure = new_figure(4.2, source, width=4.8, note=note)
        axes = figure.subplots()
        for name in in_order(predictions):
            look = arm(name)
            chosen = predictions[name].select([disease])
            given = np.isfinite(chosen.truth[:, 0])
            labels, scores = chosen.truth[given, 0] == 1, chosen.score[given, 0]
            counts = resample_counts(labels.size, resamples, np.random.default_rng(seed), labels)
            curves = _curves(labels, scores, np.concatenate([np.ones((1, labels.size)), counts]), grid)
            low, high = np.quantile(curves[1:], [0.025, 0.975], axis=0)
            area = bootstrap("AUROC", chosen.truth, chosen.score, resamples, np.random.default_rng(seed)).interval()
            bounds = f"{area.value[0]:.2f} [{area.low[0]:.2f}, {area.high[0]:.2f}]"
            axes.fill_between(grid, low, high, color=look.colour, alpha=0.13, linewidth=0)
            axes.plot(grid, curves[0], color=look.colour, label=f"{look.label}  {bounds}", gid=name)
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set(xlabel="False positive rate (1 - specificity)", ylabel="True positive rate (sensitivity)")
        axes.set_title(disease)
        axes.grid()
        words = {"fontsize": 7.5, "title_fontsize": 7.5, "alignment": "left", "frameon": True, "edgecolor": "none"}
        axes.legend(loc="lower right", title="AUROC", **words)
    return figure


def draw_reliability(predictions: Mapping[str, Predictions], disease: str, source: str, bins: int = 10) -> Figure:
    """Reliability diagram of one disease: a panel an arm, observed share of cases against predicted probability.

    Groups of equal size by probability (`mmcl.evaluation.calibration.reliability`) with 95 % Wilson intervals; below,
    how many subjects have which probability. Axes end where the groups do, as rare diseases leave most of 0 to 1 empty.
    """
    names = in_order(predictions)
    columns = {name: predictions[name].select([disease]) for name in names}
    tables = {name: reliability(each.truth[:, 0], each.score[:, 0], bins) for name, each in columns.items()}
    end = min(1.0, 1.08 * max(table[["predicted", "high"]].to_numpy().max() for table in tables.values()))
    with style():
        groups = tables[names[0]]
        n, cases = int(groups["n"].sum()), round(float(groups["observed"] @ groups["n"]))
        note = f"Groups of equal size by probability; bars: 95 % Wilson interval. n = {n:,}, {cases:,} cases."
        figure = new_figure(3.3, source, note=note)
        upper, lower = figure.subplots(2, len(names), squeeze=False, sharex=True, sharey="row", height_ratios=(4, 1))
        for axes, below, name in zip(upper, lower, names, strict=True):
            look, table = arm(name), tables[name]
            error = np.stack([table["observed"] - table["low"], table["high"] - table["observed"]])
            axes.plot([0, 1], [0, 1], color=QUIET, linestyle=":", linewidth=1)
            bars = {"fmt": look.marker + "-", "color": look.colour, "markersize": 4, "elinewidth": 1, "linewidth": 1}
            axes.errorbar(table["predicted"], table["observed"], np.maximum(error, 0), gid=name, **bars)
            axes.set(xlim=(0, end), ylim=(0, end), title=look.label)
            axes.title.set_fontsize(8.5)
            axes.grid()
            score = columns[name].score[np.isfinite(columns[name].truth[:, 0]), 0]
            below.hist(score, bins=np.linspace(0, end, 31), color=look.colour, alpha=0.7)
            below.set_xlabel("Predicted probability")
        upper[0].set_ylabel(f"Share of {disease}")
        lower[0].set_ylabel("Subjects")
    return figure


def _curves(labels: np.ndarray, scores: np.ndarray, counts: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Sensitivity (resamples, grid) at false positive rates `grid`, ties of `scores` as one threshold."""
    order = np.argsort(-scores, kind="stable")
    ends = np.r_[np.flatnonzero(np.diff(scores[order])), scores.size - 1]
    hits = (counts[:, order] * labels[order]).cumsum(axis=1)[:, ends]
    alarms = (counts[:, order] * ~labels[order]).cumsum(axis=1)[:, ends]
    curves = np.empty((counts.shape[0], grid.size))
    for row in range(counts.shape[0]):
        false, true = np.r_[0, alarms[row]] / alarms[row, -1], np.r_[0, hits[row]] / hits[row, -1]
        curves[row] = np.interp(grid, false, true)
    return curves

"""Scores against a number that was varied: pre-training pairs, and the numbers of the ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mmcl.plotting.marks import METRIC_LABELS, chosen_rows, crosses, empty_figure, error_bars, interval_note
from mmcl.plotting.style import QUIET, arm, in_order, new_figure, style


def varied(results: pd.DataFrame) -> pd.DataFrame:
    """Rows of arms named `<base>.<number>_<value>`, with columns `base`, `number` and `setting`, the value as text.

    An arm named `<base>.<word>` is a "variant" of that word.
    """
    results = results.reset_index(drop=True)
    parts = results["arm"].str.extract(r"^(?P<base>[^.]+)\.(?:(?P<number>\w+?)_)?(?P<setting>[^_]+)$")
    return results.join(parts.fillna({"number": "variant"}))[parts["base"].notna()]


def draw_scaling(
    results: pd.DataFrame, targets: Sequence[str], metric: str, source: str, subjects: int, number: str = "pairs"
) -> Figure:
    """A panel a target: each base arm against the number of subjects that it was pre-trained on, on a log axis.

    results: plain rows of one mode and number of labels. The arms `<base>.pairs_<share or number>` are drawn, and their
    base with all `subjects` pairs; other arms are left out. What has no result is a cross at the panel's foot, and
    where nothing was varied the figure says so.
    """
    fewer = varied(results)
    fewer = fewer[fewer["number"] == number]
    if fewer.empty:
        return empty_figure(f"missing: no arm of this run was pre-trained on fewer {number}", source)
    whole = results[results["arm"].isin(fewer["base"])].assign(base=lambda rows: rows["arm"], pairs=float(subjects))
    share = fewer["setting"].astype(float)
    table = pd.concat([fewer.assign(pairs=share.where(share >= 1, share * subjects)), whole])
    chosen = chosen_rows(table, targets, metric, ["target", "base", "pairs"])
    steps = sorted(chosen["pairs"].unique())
    with style():
        figure = new_figure(3.0, source, note=interval_note(chosen) + _gaps(chosen))
        panels = figure.subplots(1, len(targets), squeeze=False, sharey=True)[0]
        for axes, target in zip(panels, targets, strict=True):
            for base in in_order(chosen["base"]):
                one = chosen[(chosen.target == target) & (chosen.base == base)].set_index("pairs").reindex(steps)
                _curve(axes, np.array(steps), one, base, f"{base} {target}")
            axes.set(xscale="log", xticks=steps, xticklabels=[f"{step:,.0f}" for step in steps], title=target)
            axes.minorticks_off()
            axes.set_xlabel("Pre-training subjects")
            axes.grid(axis="y")
        panels[0].set_ylabel(METRIC_LABELS.get(metric, metric))
        figure.legend(handles=_bases(chosen), loc="outside upper center", ncols=3)
    return figure


def draw_ablations(
    results: pd.DataFrame,
    target: str,
    metric: str,
    source: str,
    defaults: Mapping[str, str] | None = None,
    words: Mapping[str, str] | None = None,
) -> Figure:
    """One small panel a number that was varied, all on one scale: settings across, rising; each base arm a line.

    results: plain rows of one mode and number of labels; all arms `<base>.<number>_<value>` but those of pairs, and
    the base arms, whose setting is `defaults[number]` ("default" where it is not given). `words` renames numbers.
    Where nothing was varied the figure says so.
    """
    changed = varied(results)
    if changed["number"].isin(["pairs"]).all():
        return empty_figure("missing: no number was varied in this run", source)
    changed = chosen_rows(changed[changed["number"] != "pairs"], [target], metric, ["base", "number", "setting"])
    whole = results[(results.metric == metric) & (results.target == target) & results.arm.isin(changed["base"])]
    numbers = list(dict.fromkeys(changed["number"]))
    columns = min(4, len(numbers))
    rows = -(-len(numbers) // columns)
    with style():
        shown = pd.concat([changed, whole])
        figure = new_figure(1.75 * rows + 0.9, source, note=interval_note(shown) + _gaps(shown))
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in panels.ravel()[len(numbers) :]:
            axes.set_axis_off()
        for axes, number in zip(panels.ravel(), numbers, strict=False):
            default = str((defaults or {}).get(number, "default"))
            own = changed[changed["number"] == number]
            settings = sorted({*own["setting"], default}, key=_order)
            for base in in_order(own["base"]):
                table = pd.concat([own[own.base == base], whole[whole.arm == base].assign(setting=default)])
                table = table.set_index("setting").reindex(settings)
                _curve(axes, np.arange(len(settings)), table, base, f"{base} {number}")
            axes.axvline(settings.index(default), color=QUIET, linestyle=":", linewidth=0.9, zorder=0)
            axes.set(xticks=range(len(settings)), xticklabels=settings, xlim=(-0.4, len(settings) - 0.6))
            axes.set_title((words or {}).get(number, number.replace("_", " ")), fontsize=8.5)
            axes.grid(axis="y")
        for axes in panels[:, 0]:
            axes.set_ylabel(f"{METRIC_LABELS.get(metric, metric)}, {target}", fontsize=8)
        handles = [*_bases(changed), Line2D([], [], color=QUIET, linestyle=":", label="as elsewhere")]
        figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _curve(axes: Axes, x: np.ndarray, table: pd.DataFrame, base: str, gid: str) -> None:
    """A line with intervals through the rows of `table`, one for each of `x`; crosses where there is no value."""
    look = arm(base)
    given = table.value.notna().to_numpy()
    axes.plot(x[given], table.value[given], color=look.colour, linewidth=1.2, gid=gid)
    bars = {"fmt": look.marker, "color": look.colour, "markersize": 4.5, "elinewidth": 1}
    axes.errorbar(x[given], table.value[given], error_bars(table[given]), **bars)
    crosses(axes, x[~given], base, gid)


def _bases(rows: pd.DataFrame) -> list[Line2D]:
    names = in_order(rows["base"].dropna())
    return [Line2D([], [], color=arm(k).colour, marker=arm(k).marker, markersize=5, label=arm(k).label) for k in names]


def _gaps(rows: pd.DataFrame) -> str:
    return " Crosses: missing." if rows.value.isna().any() else ""


def _order(setting: str) -> tuple[int, float, str]:
    """Numbers by size, then words."""
    try:
        return 0, float(setting), ""
    except ValueError:
        return 1, 0.0, setting

"""A subject's ECG beside its own CMR and beside those that a contrastive model finds most similar to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmcl.config import LEADS
from mmcl.data.store import Store
from mmcl.interpretation.pairing import Pairs
from mmcl.interpretation.sample import FRAME
from mmcl.phenotypes import PHENOTYPES
from mmcl.plotting.cine import SCAR, contour_handles, draw_frame
from mmcl.plotting.style import INK, new_figure, style

PRINTED = ("LVEDV", "LVM", "LVEF", "WT_global")
"""Phenotypes under each CMR, beside the scar's share of its myocardium where there is a segmentation."""

SHOWN = ("I", "II", "V1", "V2", "V5", "V6")
OWN = "#009E73"
ORDINALS = ("nearest", "2nd", "3rd", "4th", "5th")


@dataclass(frozen=True)
class Sight:
    """One CMR: `image` (rows, columns), its `labels` or None, and the `text` under it."""

    image: np.ndarray
    labels: np.ndarray | None
    text: str


@dataclass(frozen=True)
class Query:
    """A row of the figure: its `title`, standardised `ecg` (12, samples), the `own` CMR, the `found` ones, and which of
    these is the subject's own."""

    title: str
    ecg: np.ndarray
    own: Sight
    found: Sequence[Sight]
    is_own: Sequence[bool]


def draw_neighbours(
    queries: Sequence[Query], source: str, sampling_rate: float, note: str = "", spacing: float = 1.8
) -> Figure:
    """A row a query: three seconds of its ECG, its own CMR, then the CMRs found, nearest first."""
    columns = 2 + len(queries[0].found)
    with style():
        note = " ".join(filter(None, (note, "ECG in standard deviations; CMR at end-diastole, bar: 50 mm.")))
        figure = new_figure(2.35 * len(queries) + 0.6, source, width=8.4, note=note)
        panels = figure.subplots(len(queries), columns, squeeze=False, width_ratios=[1.5, *[1] * (columns - 1)])
        for row, query in zip(panels, queries, strict=True):
            _leads(row[0], query, sampling_rate)
            sights = [query.own, *query.found]
            titles = ["own CMR", *(f"{ORDINALS[k]}{' (own)' * own}" for k, own in enumerate(query.is_own))]
            for axes, sight, title, own in zip(row[1:], sights, titles, [True, *query.is_own], strict=True):
                draw_frame(axes, sight.image, sight.labels, spacing)
                axes.set_title(title, fontsize=9, color=OWN if own else INK)
                axes.set_xlabel(sight.text, fontsize=7.5, loc="left", linespacing=1.2)
        masks = [sight.labels for query in queries for sight in (query.own, *query.found) if sight.labels is not None]
        if masks:
            handles = contour_handles(any((labels == SCAR).any() for labels in masks))
            figure.legend(handles=handles, loc="outside upper right", ncols=4, handlelength=1.2)
    return figure


def _leads(axes: Axes, query: Query, sampling_rate: float) -> None:
    signal = np.asarray(query.ecg, dtype=np.float64)[:, : round(3 * sampling_rate)]
    clock = np.arange(signal.shape[1]) / sampling_rate
    for k, lead in enumerate(SHOWN):
        axes.plot(clock, signal[LEADS.index(lead)] - 6 * k, color=INK, linewidth=0.6, gid=lead)
    axes.set(yticks=[-6 * k for k in range(len(SHOWN))], yticklabels=SHOWN, ylim=(-6 * len(SHOWN) + 1.5, 6))
    axes.set(xlim=(0, 3), xlabel="Time (s)")
    axes.tick_params(axis="y", length=0)
    axes.set_title(query.title, fontsize=9)


def neighbour_queries(pairs: Pairs, store: Store, chosen: Mapping[str, int], count: int = 3) -> list[Query]:
    """What `draw_neighbours` shows of the subjects at the positions `chosen` in `pairs`, by name, in its order."""
    ranks, queries = pairs.ranks, []
    for name, position in chosen.items():
        near = pairs.nearest(position, count)
        own, *found = (_sight(store, pairs.rows[k]) for k in (position, *near))
        title = f"{name}:\nown CMR ranks {ranks[position]:g} of {len(ranks):,}"
        queries.append(Query(title, store.ecg[pairs.rows[position]], own, found, (near == position).tolist()))
    return queries


def _sight(store: Store, row: int) -> Sight:
    units = {phenotype.name: phenotype.unit for phenotype in PHENOTYPES}
    values = store.subjects.iloc[row][[name for name in PRINTED if name in store.subjects]]
    told = [f"{value:.3g} {units[name]}" if np.isfinite(value) else "missing" for name, value in values.items()]
    lines = [f"{name} {text}" for name, text in zip(values.index, told, strict=True)]
    labels = None if store.labels is None else store.labels[row, FRAME]
    if labels is not None and np.isin(labels, (2, SCAR)).any():
        lines.append(f"scar {(labels == SCAR).sum() / np.isin(labels, (2, SCAR)).sum():.0%} of slice")
    return Sight(store.cmr[row, FRAME], labels, "\n".join(lines).replace("WT_global", "wall"))

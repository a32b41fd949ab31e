"""How well a map points at what is known: one number a subject, NaN where there is nothing to point at.

Maps of an image (n, rows, columns) are enlarged bilinearly to the mask, (n, side, side) bool. Importance of an ECG is
(n, 12, time) or, of whole leads, (n, 12), at least 0.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata

from mmcl.interpretation.waves import WAVES

FACING = 0.5
"""Least cosine with the scar's direction, 60 degrees, at which a lead faces it."""


def enlarge(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Maps (n, rows, columns) at the resolution of an image of `shape`, float64; cells keep their centres."""
    maps = torch.as_tensor(np.asarray(maps), dtype=torch.float64)[:, None]
    enlarged = F.interpolate(maps, size=shape, mode="bilinear", align_corners=False)[:, 0].numpy()
    return enlarged.round(12)  # so that equal values stay equal


def positive_share(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share (n,) of each map's positive part inside `mask`; NaN where it has none. A flat map reaches the area's."""
    positive = np.maximum(enlarge(maps, mask.shape[1:]), 0.0)
    total = positive.sum(axis=(1, 2))
    share = np.divide((positive * mask).sum(axis=(1, 2)), total, out=np.full(len(maps), np.nan), where=total > 0)
    return np.where(mask.any(axis=(1, 2)), share, np.nan)


def pointing_game(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """1 where the map's largest value lies inside `mask`, else 0, (n,) (Zhang et al. 2018, IJCV).

    Equal largest values share the point. A random point hits with the area's share.
    """
    enlarged = enlarge(maps, mask.shape[1:])
    top = enlarged == enlarged.max(axis=(1, 2), keepdims=True)
    hit = (top & mask).sum(axis=(1, 2)) / top.sum(axis=(1, 2))
    return np.where(mask.any(axis=(1, 2)), hit, np.nan)


def pixel_auroc(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Chance (n,) that a pixel inside `mask` has a larger value than one outside; 0.5 for a flat map."""
    flat = enlarge(maps, mask.shape[1:]).reshape(len(maps), -1)
    return rank_auroc(flat, mask.reshape(len(mask), -1))


def rank_auroc(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """AUROC (n,) of each row of `values` (n, k) for `inside` (n, k) bool; NaN where all or none are inside."""
    ranks = rankdata(values, axis=1)
    positive = inside.sum(axis=1).astype(float)
    negative = inside.shape[1] - positive
    won = (ranks * inside).sum(axis=1) - positive * (positive + 1) / 2
    pairs = positive * negative
    return np.divide(won, pairs, out=np.full(len(values), np.nan), where=pairs > 0)


def wall_segments(labels: np.ndarray) -> np.ndarray:
    """AHA segment, 7 to 12, of each wall pixel of mid-ventricular `labels` (n, side, side); 0 elsewhere.

    For images whose rows run from anterior to inferior and whose columns from septal to lateral, as in the simulated
    cohort. Angles are about the cavity's centroid.
    """
    wall, cavity = np.isin(labels, (2, 4)), labels == 3
    row, column = np.indices(labels.shape[1:])
    weight = cavity / np.maximum(cavity.sum(axis=(1, 2), keepdims=True), 1)
    centre = [(weight * axis).sum(axis=(1, 2))[:, None, None] for axis in (row, column)]
    turn = (np.arctan2(centre[0] - row, column - centre[1]) - np.pi / 2) / (2 * np.pi)
    segment = 7 + np.floor(np.mod(turn * 6 + 0.5, 6)).astype(int)
    return np.where(wall & cavity.any(axis=(1, 2), keepdims=True), segment, 0)


def territories(labels: np.ndarray, supply: np.ndarray) -> np.ndarray:
    """Artery of each wall pixel (n, side, side) by `supply` (n, 16) of the AHA segments; -1 outside the wall."""
    segment = wall_segments(labels)
    artery = np.take_along_axis(supply.astype(int), np.maximum(segment - 1, 0).reshape(len(labels), -1), axis=1)
    return np.where(segment > 0, artery.reshape(labels.shape), -1)


def territory_hit(maps: np.ndarray, territory: np.ndarray, culprit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 where the map's mean is largest in the territory of the `culprit` (n,), else 0, and what chance would reach.

    Chance is one over the number of territories in the slice, both (n,); NaN where the culprit's is not among them.
    """
    enlarged = enlarge(maps, territory.shape[1:])
    hit, chance = np.full(len(maps), np.nan), np.full(len(maps), np.nan)
    for row, (values, artery) in enumerate(zip(enlarged, territory, strict=True)):
        there = [k for k in np.unique(artery) if k >= 0]
        if culprit[row] in there:
            means = [values[artery == k].mean() for k in there]
            hit[row], chance[row] = there[int(np.argmax(means))] == culprit[row], 1 / len(there)
    return hit, chance


def wave_shares(importance: np.ndarray, waves: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Wave -> the share of each subject's importance (n, 12, time) that lies in it, and its share of the time, (n,).

    `waves` (n, time) as `label_waves` gives. NaN for a wave that a recording lacks.
    """
    over_time = importance.sum(axis=1)
    total = np.maximum(over_time.sum(axis=1), 1e-30)
    shares = {}
    for number, wave in enumerate(WAVES, 1):
        inside = waves == number
        there = inside.any(axis=1)
        parts = (over_time * inside).sum(axis=1) / total, inside.mean(axis=1)
        shares[wave] = tuple(np.where(there, part, np.nan) for part in parts)
    return shares


def activation_rate(activation: np.ndarray, onsets: np.ndarray, r: np.ndarray, rate: float, time: int) -> np.ndarray:
    """Share of the muscle that activates in each sample of a window, (n, time).

    `activation` (n, nodes) ms after the first breakthrough, taken as the QRS onset, which lies `onsets` (n,) s after
    each R peak `r` (n, beats) s.
    """
    density = np.zeros((len(activation), time))
    edges = np.arange(time + 1) / rate
    for row, (nodes, onset, peaks) in enumerate(zip(activation, onsets, r, strict=True)):
        times = (peaks[np.isfinite(peaks)] + onset)[:, None] + nodes / 1000
        density[row] = np.histogram(times[np.isfinite(times)], edges)[0] / len(nodes)
    return density


def time_correlation(importance: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Spearman correlation (n,) over time of importance (n, 12, time), summed over leads, with `density` (n, time)."""
    return rank_correlation(importance.sum(axis=1), density)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Spearman correlation (n,) of the rows of two arrays (n, k); NaN where a row is constant."""
    ranks = [rankdata(values, axis=1) for values in (one, other)]
    centred = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    size = np.sqrt(np.prod([(values**2).sum(axis=1) for values in centred], axis=0))
    return np.divide((centred[0] * centred[1]).sum(axis=1), size, out=np.full(len(one), np.nan), where=size > 0)


def lead_auroc(importance: np.ndarray, facing: np.ndarray) -> np.ndarray:
    """Chance (n,) that a lead which faces the scar is more important (n, 12) than one that does not.

    `facing` (n, 12) is the cosine of their directions, NaN without a scar.
    """
    return np.where(np.isfinite(facing).all(axis=1), rank_auroc(importance, facing >= FACING), np.nan)

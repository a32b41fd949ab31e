"""The localisation study: maps of many test subjects, and how much of them lies in the heart, with intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmcl.data.store import Store
from mmcl.interpretation.localisation import Projections, ecg_segments, pairwise
from mmcl.interpretation.regions import RegionMaps, mask_share, positive_share, project_rows, region_maps
from mmcl.setting import Setting
from mmcl.training.pretraining import load_module, pretrain

LABELS = {"heart": (1, 2, 3, 4), "myocardium": (2, 4), "scar": (4,)}
"""Region -> segmentation labels; scar is part of the myocardium."""

FRAME = 2
"""End-diastole among the stored frames, on which maps are laid."""


@dataclass(frozen=True)
class Study:
    """Maps of n test subjects: `maps` ECG -> CMR; `segments` (n, 12, times) CMR -> ECG; `images`, `labels` (n, crop,
    crop) at end-diastole, `labels` None where the cohort has no segmentation; `projections` behind them all."""

    maps: RegionMaps
    segments: np.ndarray
    images: np.ndarray
    labels: np.ndarray | None
    projections: Projections

    def over_time(self, position: int) -> np.ndarray:
        """Pairwise map of one subject, (times, rows, columns): cosine of each ECG time with each cell of the CMR."""
        one = Projections(*(tensor[position : position + 1] for tensor in self.projections))
        return pairwise(one)[0].numpy()


def localise(arm: str, setting: Setting, store: Store) -> Study:
    """Maps of the first `localisation_subjects` test subjects by the contrastive model of `arm`."""
    rows = store.indices("test", one_each=True)[: setting.profile.localisation_subjects]
    model = load_module(pretrain(arm, setting), arm, setting.profile, setting.preset).model
    projections = project_rows(model, store.ecg[rows], store.cmr[rows], setting)
    labels = None if store.labels is None else store.labels[rows, FRAME]
    segments = ecg_segments(projections).numpy()
    return Study(region_maps(projections), segments, store.cmr[rows, FRAME], labels, projections)


def share_table(study: Study, setting: Setting) -> pd.DataFrame:
    """Mean share of each map's positive part inside each region: value, low, high (95 % bootstrap over subjects), n.

    Rows `area` are the region's share of the image. Subjects without the region are left out of its rows; without a
    segmentation the table is empty.
    """
    rows = []
    for region, values in LABELS.items() if study.labels is not None else ():
        mask = np.isin(study.labels, values)
        there = mask.any(axis=(1, 2))
        shares = {"area": mask_share(mask)}
        for name in ("matched", "shuffled", "difference"):
            shares[name] = positive_share(getattr(study.maps, name), mask)
        for name, share in shares.items():
            given = share[there & np.isfinite(share)]
            random = np.random.default_rng(setting.run.seed)
            draws = [random.choice(given, len(given)).mean() for _ in range(setting.profile.downstream.bootstrap)]
            low, high = np.quantile(draws, [0.025, 0.975]) if len(given) else (np.nan, np.nan)
            value = given.mean() if len(given) else np.nan
            rows.append({"region": region, "map": name, "value": value, "low": low, "high": high, "n": len(given)})
    return pd.DataFrame(rows, columns=["region", "map", "value", "low", "high", "n"]).set_index(["region", "map"])


def median_subjects(study: Study) -> np.ndarray:
    """Positions of the subjects at the lower quartile, median and upper quartile of the matched map's share in the
    heart.

    Without a segmentation, of the matched map's mean.
    """
    if study.labels is None:
        quality = study.maps.matched.mean(axis=(1, 2))
    else:
        quality = np.nan_to_num(positive_share(study.maps.matched, np.isin(study.labels, LABELS["heart"])))
    order = np.argsort(quality)
    return order[[len(order) // 4, len(order) // 2, 3 * len(order) // 4]]

"""The test subjects whose maps are looked at, with all that is known of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mmcl.data.augmentation import first_crop, resize
from mmcl.data.store import Store
from mmcl.interpretation.truth import Truth, read_truth
from mmcl.interpretation.waves import Fiducials, delineate, label_waves
from mmcl.setting import Setting

REGIONS = {"heart": (1, 2, 3, 4), "myocardium": (2, 4), "scar": (4,)}
"""Region -> segmentation labels; scar is part of the myocardium."""

FRAME = 2
"""End-diastole among the stored frames, on which maps are laid."""


@dataclass(frozen=True)
class Sample:
    """n test subjects.

    `rows` in the store; `ecg` (n, 12, window) and `cmr` (n, 3, side, side) as the models take them; `images` and
    `labels` (n, crop, crop) at end-diastole, `labels` None where the cohort has no segmentation; `partner` (n,) is
    somebody else for everybody, for shuffled pairs; `fiducials`, of the `truth` where it is known; `waves` (n, window)
    and `onsets` (n,) as `label_waves` gives them.
    """

    rows: np.ndarray
    ecg: torch.Tensor
    cmr: torch.Tensor
    images: np.ndarray
    labels: np.ndarray | None
    partner: np.ndarray
    truth: Truth | None
    fiducials: Fiducials
    waves: np.ndarray
    onsets: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def mask(self, region: str) -> np.ndarray:
        """Pixels of a region, (n, crop, crop) bool; ValueError without a segmentation."""
        if self.labels is None:
            raise ValueError(f"mask of {region}: the cohort has no segmentation")
        return np.isin(self.labels, REGIONS[region])


def draw_sample(setting: Setting, store: Store, share: float = 1.0) -> Sample:
    """A `share` of `localisation_subjects` test subjects: the first with a scar, up to one half, then the first others.

    ValueError when the cohort has not both modalities, or fewer than two subjects, for nobody could then be shuffled.
    """
    if store.ecg is None or store.cmr is None:
        raise ValueError(f"{store.folder}: expected ECG and CMR of the same subjects")
    profile, device = setting.profile, setting.device
    rows, n = store.indices("test", one_each=True), max(2, round(share * profile.localisation_subjects))
    labels = None if store.labels is None else store.labels[rows, FRAME]
    if labels is not None:
        scarred = np.isin(labels, REGIONS["scar"]).any(axis=(1, 2))
        chosen = np.flatnonzero(scarred)[: n // 2]
        chosen = np.sort(np.concatenate([chosen, np.flatnonzero(~scarred)[: n - len(chosen)]]))
        rows, labels = rows[chosen], labels[chosen]
    else:
        rows = rows[:n]
    if len(rows) < 2:
        raise ValueError(f"{store.folder}: {len(rows)} test subjects; expected at least two, one to shuffle with")
    order = np.random.default_rng(setting.run.seed).permutation(len(rows))
    partner = np.empty(len(rows), dtype=int)
    partner[order] = np.roll(order, 1)

    records, rate = np.asarray(store.ecg[rows], dtype=np.float32), profile.ecg.sampling_rate
    truth = read_truth(setting.run.raw, store.subjects.loc[rows, "subject"])
    fiducials = delineate(records, rate) if truth is None else truth.fiducials
    waves, onsets = label_waves(records, rate, fiducials)
    ecg = first_crop(torch.from_numpy(records).to(device), profile.ecg.window)
    cmr = resize(torch.from_numpy(np.array(store.cmr[rows])).to(device), profile.cmr)
    window = waves[:, : profile.ecg.window]
    return Sample(rows, ecg, cmr, store.cmr[rows, FRAME], labels, partner, truth, fiducials, window, onsets)

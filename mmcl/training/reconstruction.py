"""How well a masked autoencoder rebuilds ECGs that it never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mmcl.data.augmentation import first_crop
from mmcl.data.store import Store
from mmcl.losses.mdm import cross_correlation, restore_patches
from mmcl.setting import Setting
from mmcl.training.batches import generator
from mmcl.training.pretraining import load_module, pretrain


@dataclass(frozen=True)
class MedianReconstruction:
    """The test subject of median correlation, and the correlation of all.

    `ecg`, `prediction` (12, window) standardised; `masked` (12, window) bool, what the encoder did not see;
    `correlation` of this subject (NCC, -1 to 1); `mean`, `low`, `high` of all `n`, 95 % bootstrap over subjects.
    """

    ecg: np.ndarray
    prediction: np.ndarray
    masked: np.ndarray
    correlation: float
    mean: float
    low: float
    high: float
    n: int


def reconstruct(arm: str, setting: Setting, store: Store, batch: int = 256) -> MedianReconstruction:
    """Rebuild the first window of every test ECG by the trained `arm`, masks drawn from the run's seed.

    A model of standardised patches predicts neither their level nor their scale: they get the true ones.
    """
    model = load_module(pretrain(arm, setting), arm, setting.profile, setting.preset).model.to(setting.device)
    rows = store.indices("test")
    correlation, kept = [], []
    for number, start in enumerate(range(0, len(rows), batch)):
        records = torch.from_numpy(store.ecg[rows[start : start + batch]]).to(setting.device)
        ecg = first_crop(records, setting.profile.ecg.window)
        with torch.no_grad():
            output = model(ecg, generator=generator(setting.device, setting.run.seed, number))
        prediction = output.prediction
        if setting.profile.mdm.per_patch:
            prediction = restore_patches(prediction, ecg.reshape(prediction.shape))
        prediction = prediction.reshape(ecg.shape)
        masked = output.mask[:, :, None].expand_as(output.prediction).reshape(ecg.shape)
        correlation += [cross_correlation(p[None], e[None]).item() for p, e in zip(prediction, ecg, strict=True)]
        kept += list(zip(ecg.cpu().numpy(), prediction.cpu().numpy(), masked.cpu().numpy() > 0, strict=True))
    correlation = np.array(correlation)
    middle = int(np.argsort(correlation)[len(correlation) // 2])
    random = np.random.default_rng(setting.run.seed)
    draws = random.choice(correlation, (setting.profile.downstream.bootstrap, len(correlation))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return MedianReconstruction(
        *kept[middle], float(correlation[middle]), float(correlation.mean()), float(low), float(high), len(correlation)
    )

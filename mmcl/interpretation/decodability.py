"""What a linear probe reads at each depth of the ECG encoder: every phenotype, layer by layer.

A layer's features are the mean of its patch tokens, after the embedding and after each block, and the pooled output
that probes use. A probe is fitted on training subjects, its penalty chosen on validation, and scored
on test subjects (Alain & Bengio 2016, arXiv 1610.01644).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from mmcl.data.augmentation import first_crop
from mmcl.data.store import Store
from mmcl.evaluation.intervals import Interval, bootstrap
from mmcl.evaluation.probe import LinearProbe, fit_ridge
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.phenotypes import GROUPS, TARGETS
from mmcl.setting import Setting
from mmcl.training.features import ecg_encoder

POOLED = "pooled"
"""Name of the last layer: the mean token after the encoder's norm."""


@torch.no_grad()
def layer_features(
    encoder: EcgEncoder, records: np.ndarray, window: int, device: torch.device, batch: int = 256
) -> dict[str, np.ndarray]:
    """Layer ("embedding", "block 1", ..., POOLED) -> features (n, width) float32 of `records` (n, 12, record).

    Of the first window of each record: layers are compared with each other, and all windows would cost several times
    as much.
    """
    encoder = encoder.to(device).eval()
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(records), batch):
        chosen = torch.from_numpy(np.array(records[start : start + batch])).to(device)
        sequence = encoder.embed(encoder.patches(first_crop(chosen, window)))
        layers = {"embedding": sequence[:, 1:].mean(dim=1)}
        for number, block in enumerate(encoder.blocks, 1):
            sequence = block(sequence)
            layers[f"block {number}"] = sequence[:, 1:].mean(dim=1)
        layers[POOLED] = encoder.pool(sequence)
        for name, features in layers.items():
            parts.setdefault(name, []).append(features.cpu().numpy())
    return {name: np.concatenate(features) for name, features in parts.items()}


def fit_on_store(features: np.ndarray, targets: pd.DataFrame, store: Store) -> LinearProbe:
    """Ridge probe of `targets` on `features`, a row for each of the store's: fitted on train, chosen on validation."""
    values = targets.to_numpy(dtype=np.float64)
    train, validation = store.indices("train"), store.indices("validation")
    return fit_ridge(features[train], values[train], features[validation], values[validation], list(targets))


def decodability(arms: list[str], setting: Setting, store: Store) -> pd.DataFrame:
    """Test R2 of each phenotype and of the mean of each group (`<group> mean`), by arm and layer.

    Columns value, low, high (95 % bootstrap over subjects), n, of the index (arm, layer, target). Phenotypes that the
    cohort does not have are left out.
    """
    targets = store.subjects.reindex(columns=TARGETS).dropna(axis=1, how="all")
    test = store.indices("test", one_each=True)
    truth = targets.to_numpy(dtype=np.float64)[test]
    names = list(targets)
    groups = {group: [names.index(name) for name in members if name in names] for group, members in GROUPS.items()}
    rows = []
    for arm in arms:
        encoder = ecg_encoder(arm, setting)
        layers = layer_features(encoder, store.ecg, setting.profile.ecg.window, setting.device)
        for layer, features in layers.items():
            predicted = fit_on_store(features, targets, store).predict(features[test])
            random = np.random.default_rng(setting.run.seed)
            scored = bootstrap("R2", truth, predicted, setting.profile.downstream.bootstrap, random)
            told = dict(zip(names, _by_target(scored.interval()), strict=True))
            for group, columns in groups.items():
                if columns:
                    (told[f"{group} mean"],) = _by_target(scored.mean(columns).interval())
            rows += [{"arm": arm, "layer": layer, "target": name, **cell} for name, cell in told.items()]
    columns = ["arm", "layer", "target", "value", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns).set_index(columns[:3])


def _by_target(interval: Interval) -> list[dict[str, float]]:
    columns = (interval.value, interval.low, interval.high, interval.n)
    return [{"value": v, "low": a, "high": b, "n": int(n)} for v, a, b, n in zip(*columns, strict=True)]

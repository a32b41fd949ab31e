"""Frozen features of every subject in a store: the input of probes, retrieval and maps of the latent space."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from mmcl.atomic import atomic_path
from mmcl.config import CmrConfig, Preset, fingerprint
from mmcl.data.augmentation import resize
from mmcl.data.store import Store
from mmcl.models.ecg_encoder import EcgEncoder, load_pretrained
from mmcl.models.pretrained import window_features
from mmcl.provenance import code_fingerprint, is_finished, write_json
from mmcl.setting import Setting
from mmcl.training.experiments import METHOD, arm_setting
from mmcl.training.pretraining import CMR_ARMS, ecg_encoder_weights, load_module, pretrain, summary

CMR_ARM = METHOD
"""Arm whose CMR encoder stands for `cmr`, the contrastively trained CMR encoder."""


def ecg_features(
    encoder: nn.Module, records: np.ndarray, window: int, preset: Preset, device: torch.device, batch: int = 256
) -> np.ndarray:
    """Features (n, width) float32 of `records` (n, 12, record), as stored.

    The mean over the windows that tile a record (`corrected`), or those of its first window (`paper`).
    """
    encoder = encoder.to(device).eval()
    parts = []
    for start in range(0, len(records), batch):
        chosen = torch.from_numpy(np.array(records[start : start + batch])).to(device)
        parts.append(window_features(encoder, chosen, window, preset.tile_crops).cpu().numpy())
    return np.concatenate(parts)


@torch.no_grad()
def cmr_features(
    encoder: nn.Module, images: np.ndarray, view: CmrConfig, device: torch.device, batch: int = 256
) -> np.ndarray:
    """Features (n, width) float32 of `images` (n, 3, rows, columns) uint8, as stored: heart crops or whole frames."""
    encoder = encoder.to(device).eval()
    parts = []
    for start in range(0, len(images), batch):
        chosen = torch.from_numpy(np.array(images[start : start + batch])).to(device)
        parts.append(encoder(resize(chosen, view)).float().cpu().numpy())
    return np.concatenate(parts)


def ecg_encoder(arm: str, setting: Setting) -> EcgEncoder:
    """Mean-pooling ECG encoder of a pre-training arm, or `random` weights from the run's seed."""
    setting = arm_setting(arm, setting)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.run.seed)
        encoder = EcgEncoder(setting.profile.ecg, setting.profile.encoder, single_fc_norm=setting.preset.single_fc_norm)
    if arm != "random":
        weights = ecg_encoder_weights(pretrain(arm, setting))
        load_pretrained(encoder, weights, both_axes=setting.preset.interpolate_both_axes)
    return encoder.to(setting.device).eval()


def stored_features(arm: str, setting: Setting) -> np.ndarray:
    """Features (subjects, width) of the whole store by an arm's encoder; `cmr` is the CMR encoder. Computed once.

    The CMR encoder sees heart crops, as in its training, or whole frames without the choice `crop_in_evaluation`.
    """
    source = CMR_ARM if arm == "cmr" else arm
    setting = arm_setting(source, setting)
    run, profile, preset, device = setting.run, setting.profile, setting.preset, setting.device
    origin = None if arm == "random" else summary(pretrain(source, setting))["fingerprint"]
    store = Store.open(run.store)
    path = run.folder / "features" / f"{arm}.npy"
    code = code_fingerprint("mmcl.training.features")
    mark = fingerprint(arm, origin, run.seed, preset, profile.ecg, profile.encoder, store.meta["checksums"], code)
    if not is_finished(path.with_suffix(".json"), mark):
        if arm in ("cmr", *CMR_ARMS):
            encoder = load_module(pretrain(source, setting), source, profile, preset).model.encoder_imaging
            features = cmr_features(encoder, store.images(preset.crop_in_evaluation), profile.cmr, device)
        else:
            encoder = ecg_encoder(arm, setting)
            features = ecg_features(encoder, store.ecg, profile.ecg.window, preset, device)
        _save(path, features)
        write_json(path.with_suffix(".json"), {"fingerprint": mark})
    return np.load(path, allow_pickle=False)


def _save(path: Path, array: np.ndarray) -> None:
    with atomic_path(path) as part, part.open("wb") as file:
        np.save(file, array)

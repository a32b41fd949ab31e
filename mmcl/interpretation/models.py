"""The contrastive models that are interpreted, with weights that are fixed."""

from __future__ import annotations

import torch

from mmcl.models.contrastive import ContrastiveModel
from mmcl.setting import Setting
from mmcl.training.pretraining import ARMS, WEIGHTS, load_module, new_module, pretrain

ECG_ARMS = ("random", "mdm", "mmcl", "mdm+mmcl")
"""Arms whose ECG encoder has maps."""

PAIR_ARMS = tuple(arm for arm in ECG_ARMS if arm == "random" or ARMS[arm].objective == "mmcl")
"""Arms with both encoders and both projection heads, without which no similarity of a pair is defined."""


def contrastive_model(arm: str, setting: Setting, weights: str = WEIGHTS) -> ContrastiveModel:
    """The contrastive model of `arm`, on the run's device; `random` has untrained encoders and heads.

    `weights` is a file in the arm's folder.
    """
    if arm == "random":
        return untrained_model(setting, setting.run.seed)
    model = load_module(pretrain(arm, setting), arm, setting.profile, setting.preset, weights).model
    return model.requires_grad_(False).to(setting.device).eval()


def untrained_model(setting: Setting, seed: int) -> ContrastiveModel:
    """A contrastive model with the random weights of `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = new_module("mmcl", setting.profile, setting.preset, seed).model
    return model.requires_grad_(False).to(setting.device).eval()

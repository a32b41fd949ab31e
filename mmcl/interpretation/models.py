"""The contrastive models that are interpreted, with weights that are fixed."""

from __future__ import annotations

import torch

from mmcl.config import look_up
from mmcl.models.contrastive import ContrastiveModel
from mmcl.setting import Setting
from mmcl.training.experiments import ARMS, GRID
from mmcl.training.objectives import OBJECTIVES
from mmcl.training.objectives.contrastive import Contrastive
from mmcl.training.pretraining import CMR_ARMS, WEIGHTS, load_module, new_module, pretrain


def ecg_arms(setting: Setting) -> list[str]:
    """Arms whose ECG encoder has maps: `random`, and those pre-trained that the profile's grid probes, in its order.

    Ablations, whose names have a dot, are left out.
    """
    blocks = look_up(GRID, setting.profile.name, "profile in the grid")
    probed = dict.fromkeys(arm for block in blocks if "probe" in block.modes for arm in block.arms)
    return ["random", *(arm for arm in probed if arm in ARMS and arm not in CMR_ARMS and "." not in arm)]


def pair_arms(setting: Setting) -> list[str]:
    """Those of `ecg_arms` with both encoders and projection heads, without which no similarity of a pair is defined."""
    paired = {arm for arm, spec in ARMS.items() if issubclass(OBJECTIVES[spec.objective], Contrastive)}
    return [arm for arm in ecg_arms(setting) if arm in {"random", *paired}]


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

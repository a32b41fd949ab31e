"""Optimisers and the learning-rate schedule: linear warm-up, then half a cosine to zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn


def warmup_cosine(step: int, warmup: int, total: int) -> float:
    """Factor on the learning rate at `step` of `total`: linear to 1 over `warmup` steps, then cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))


def is_decayed(name: str, parameter: torch.Tensor) -> bool:
    """Whether weight decay applies: not to biases, norms, tokens and position embeddings."""
    return parameter.ndim > 1 and not name.endswith(("cls_token", "mask_token", "pos_embed"))


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]],
    learning_rate: float,
    weight_decay: float,
    scale: Callable[[str], float] = lambda name: 1.0,
) -> list[dict]:
    """Groups of trainable parameters for an optimiser: with and without decay, by learning-rate `scale(name)`."""
    groups: dict[tuple[float, bool], dict] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        key = (scale(name), is_decayed(name, parameter))
        group = groups.setdefault(
            key, {"params": [], "lr": learning_rate * key[0], "weight_decay": weight_decay if key[1] else 0.0}
        )
        group["params"].append(parameter)
    return list(groups.values())


def layer_scale(name: str, depth: int, decay: float) -> float:
    """Layer-wise learning-rate factor of an ECG encoder's parameter: `decay` to the power of its distance from the
    head.

    Embeddings are layer 0, block i is layer i + 1, the norms and the head are layer depth + 1 (Bao et al. 2022, BEiT).
    """
    if name.startswith("encoder."):
        name = name.removeprefix("encoder.")
        if name.startswith(("cls_token", "pos_embed", "patch_embed")):
            return decay ** (depth + 1)
        if name.startswith("blocks."):
            return decay ** (depth - int(name.split(".")[1]))
    return 1.0


def scheduled(optimiser: torch.optim.Optimizer, warmup: int, total: int) -> dict:
    """What a Lightning module returns from `configure_optimizers`: the schedule advances with every step."""
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: warmup_cosine(step, warmup, total))
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

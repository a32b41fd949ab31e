"""How a training is computed on the device at hand: precision of products, fused models."""

from __future__ import annotations

import importlib.util

import torch
from torch import nn

from mmcl.config import ComputeConfig, look_up

PRECISIONS = {"single": "32-true", "mixed": "bf16-mixed"}
"""Precision of `ComputeConfig` -> that of Lightning."""


def lightning_precision(compute: ComputeConfig, device: torch.device) -> str:
    """Precision for a Lightning trainer on `device`; ValueError for an unknown one."""
    name = compute.precision
    if name == "auto":
        able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        name = "mixed" if able else "single"
    return look_up(PRECISIONS, name, "precision")


def compile_model(model: nn.Module, compute: ComputeConfig, device: torch.device) -> None:
    """Let `model` be compiled at its first call where `compute` wants it: on a GPU, where Triton is installed.

    Its parameters and their names stay. What the compiler cannot do runs as it is, with a warning.
    """
    if compute.compiled and device.type == "cuda" and importlib.util.find_spec("triton"):
        torch._dynamo.config.suppress_errors = True
        model.compile(dynamic=False)

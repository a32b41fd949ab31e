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
        name = "mixed" if _multiplies_bfloat16(device) else "single"
    return look_up(PRECISIONS, name, "precision")


def _multiplies_bfloat16(device: torch.device) -> bool:
    """Whether `device` has instructions for it; where they are emulated they are slower than single precision."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def compile_model(model: nn.Module, compute: ComputeConfig, device: torch.device) -> None:
    """Let `model` be compiled at its first call where `compute` wants it: on a GPU, where Triton is installed.

    Its parameters and their names stay. What the compiler cannot do runs as it is, with a warning.
    """
    if compute.compiled and device.type == "cuda" and importlib.util.find_spec("triton"):
        torch._dynamo.config.suppress_errors = True
        model.compile(dynamic=False)

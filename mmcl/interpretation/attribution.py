"""What an output of a model depends on, by gradients: integrated gradients and Grad-CAM (captum).

An output is a function of an input (batch, ...) and, where it has one, of a `target` (batch, width), that returns one
number a subject (batch,): the similarity of a pair, or the score of a linear head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mmcl.evaluation.probe import LinearProbe
from mmcl.models.cmr_encoder import CmrEncoder

Output = Callable[..., torch.Tensor]

BATCH = 128
"""Subjects whose gradients are in memory at a time."""


def similarity(project: Callable[[torch.Tensor], torch.Tensor]) -> Output:
    """Cosine, in [-1, 1], of a projected input with `target`, the other modality's projection."""

    def output(inputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return F.cosine_similarity(project(inputs), target, dim=1)

    return output


def probe_score(encoder: nn.Module, probe: LinearProbe, name: str) -> Output:
    """The target `name` of a linear probe on `encoder`: a phenotype in its unit, the log-odds of a disease.

    ValueError where the probe has no such target or could not be fitted.
    """
    if name not in probe.names or not np.isfinite(probe.intercept[probe.names.index(name)]):
        raise ValueError(f"probe of {', '.join(probe.names)}: expected a fitted target {name!r}")
    k = probe.names.index(name)
    device = next(encoder.parameters()).device
    weight = torch.as_tensor(probe.coefficient[k] / probe.std, dtype=torch.float32, device=device)
    constant = float(probe.intercept[k] - (probe.coefficient[k] / probe.std) @ probe.mean)

    def output(inputs: torch.Tensor) -> torch.Tensor:
        return encoder(inputs) @ weight + constant

    return output


@dataclass(frozen=True)
class Integrated:
    """Integrated gradients: `values` of the input's shape, and `delta` (batch,), what they lack to completeness.

    They should sum to what the output changes from the baseline to the input; `delta` is by how much they do not, as a
    share of that change's root mean square over the batch.
    """

    values: torch.Tensor
    delta: torch.Tensor


def integrated_gradients(
    output: Output,
    inputs: torch.Tensor,
    target: torch.Tensor | None = None,
    steps: int = 32,
) -> Integrated:
    """Integrated gradients of `output` from 0 to `inputs` (Sundararajan et al. 2017, ICML).

    0 is, of a standardised ECG free of wander, the isoelectric line. `steps` points of a Gauss-Legendre quadrature.
    """
    from captum.attr import IntegratedGradients

    method, parts = IntegratedGradients(output), []
    for chosen, other in _batches(inputs, target):
        options = {"n_steps": steps, "internal_batch_size": len(chosen), "return_convergence_delta": True}
        values, delta = method.attribute(chosen, additional_forward_args=other, **options)
        arguments = () if other is None else (other,)
        with torch.no_grad():
            change = output(chosen, *arguments) - output(torch.zeros_like(chosen), *arguments)
        parts.append((values.detach(), delta.detach(), change))
    values, delta, change = (torch.cat(part) for part in zip(*parts, strict=True))
    return Integrated(values, delta / change.square().mean().sqrt().clamp(min=1e-12))


def gradient(output: Output, inputs: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
    """Gradient of `output`, signed, of the shape of `inputs` (Simonyan et al. 2014)."""
    from captum.attr import Saliency

    leaf = inputs.clone().requires_grad_()
    return Saliency(output).attribute(leaf, additional_forward_args=target, abs=False).detach()


def input_times_gradient(output: Output, inputs: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
    """Gradient of `output` times the input, of the shape of `inputs` (Shrikumar et al. 2016)."""
    from captum.attr import InputXGradient

    leaf = inputs.clone().requires_grad_()
    return InputXGradient(output).attribute(leaf, additional_forward_args=target).detach()


def grad_cam(
    output: Output, encoder: CmrEncoder, cmr: torch.Tensor, target: torch.Tensor | None = None, layer: str = "layer4"
) -> torch.Tensor:
    """Grad-CAM of an `output` on its CMR `encoder`: (batch, rows, columns), cells of the feature map of `layer`.

    cmr: (batch, 3, side, side). Channels weighed by their mean gradient (Selvaraju et al. 2017, ICCV), without the
    final ReLU, so that what speaks against the output stays negative.
    """
    from captum.attr import LayerGradCam

    method = LayerGradCam(output, getattr(encoder, layer))
    parts = [method.attribute(chosen, additional_forward_args=other) for chosen, other in _batches(cmr, target)]
    return torch.cat(parts).detach()[:, 0]


def _batches(inputs: torch.Tensor, target: torch.Tensor | None) -> Iterable[tuple[torch.Tensor, torch.Tensor | None]]:
    """`inputs` and `target`, None for each where there is none, BATCH at a time."""
    return zip(inputs.split(BATCH), repeat(None) if target is None else target.split(BATCH), strict=False)

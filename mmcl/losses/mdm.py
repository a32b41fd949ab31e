"""Loss of masked data modelling: mean squared error and normalised cross-correlation (method section 6).

L = (1 - w) MSE + w (1 - NCC), w = 0.1, over all patches, as published, or over the masked ones alone.
"""

from __future__ import annotations

import torch

from mmcl.precision import at_least_single, without_autocast

MSE_EPSILON = 1e-5
"""Added to the number of elements under the squared error."""

VARIANCE_EPSILON = 1e-12
"""Added to a lead's variance inside the root."""

PATCH_EPSILON = 1e-6
"""Added to a patch's variance inside the root, when targets are normalised per patch (He et al. 2022)."""


def normalise_patches(patches: torch.Tensor) -> torch.Tensor:
    """Each patch to mean 0 and unbiased variance 1: (..., patch) -> (..., patch)."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return (patches - mean) / (variance + PATCH_EPSILON).sqrt()


def restore_patches(prediction: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """The inverse of `normalise_patches`: `prediction` with the mean and variance of `patches`, (..., patch) both."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return prediction * (variance + PATCH_EPSILON).sqrt() + mean


def reconstruction_target(ecg: torch.Tensor, patch: int, per_patch: bool = False) -> torch.Tensor:
    """What is to be rebuilt of `ecg` (batch, leads, time): itself or, with `per_patch`, its standardised patches."""
    return normalise_patches(ecg.unflatten(-1, (-1, patch))).flatten(-2) if per_patch else ecg


def squared_error(prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Sum of squared differences over (number of elements + 1e-5); `weight` (0 or 1, same shape) picks some."""
    square = (prediction - target) ** 2
    if weight is None:
        return square.sum() / (square.numel() + MSE_EPSILON)
    return (square * weight).sum() / (weight.sum() + MSE_EPSILON)


def cross_correlation(
    prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Normalised cross-correlation over the last axis (time), in [-1, 1], averaged over all leads of all samples.

    Shapes (batch, leads, time). `weight`, 0 or 1, restricts the statistics to some of the time; leads with fewer than
    two such samples are left out. A constant lead counts as uncorrelated.
    """
    if weight is None:
        # The normalisation is written out, for it is cheaper than normalising both signals and then multiplying.
        x = prediction - prediction.mean(dim=-1, keepdim=True)
        y = target - target.mean(dim=-1, keepdim=True)
        freedom = x.shape[-1] - 1
    else:
        count = weight.sum(dim=-1, keepdim=True)
        x = (prediction - (prediction * weight).sum(dim=-1, keepdim=True) / count.clamp(min=1)) * weight
        y = (target - (target * weight).sum(dim=-1, keepdim=True) / count.clamp(min=1)) * weight
        freedom = (count[..., 0] - 1).clamp(min=1)
    covariance = (x * y).sum(dim=-1) / freedom
    variance_x = x.square().sum(dim=-1) / freedom + VARIANCE_EPSILON
    variance_y = y.square().sum(dim=-1) / freedom + VARIANCE_EPSILON
    correlation = covariance * (variance_x * variance_y).rsqrt()
    if weight is None:
        return correlation.mean()
    used = count[..., 0] >= 2
    return (correlation * used).sum() / used.sum().clamp(min=1)


@without_autocast
def mdm_loss(
    ecg: torch.Tensor,
    prediction: torch.Tensor,
    mask: torch.Tensor | None = None,
    ncc_weight: float = 0.1,
    per_patch: bool = False,
) -> torch.Tensor:
    """Reconstruction loss, a scalar.

    `ecg` (batch, leads, time); `prediction` (batch, tokens, patch), patches lead after lead. `mask` (batch, tokens), 1
    = removed from the encoder's view, restricts the loss to these patches; None (the published choice) counts all.
    With `per_patch` the target is normalised in each patch. ValueError when the prediction does not cover the ECG.
    """
    if prediction.numel() != ecg.numel():
        raise ValueError(f"prediction {tuple(prediction.shape)} does not cover the ECG {tuple(ecg.shape)}")
    if not 0.0 <= ncc_weight <= 1.0:
        raise ValueError(f"ncc_weight {ncc_weight}: expected 0 to 1")
    ecg, prediction = at_least_single(ecg), at_least_single(prediction)
    target = reconstruction_target(ecg, prediction.shape[-1], per_patch)
    weight = None if mask is None else mask[:, :, None].expand(prediction.shape).reshape(ecg.shape).to(ecg.dtype)
    prediction = prediction.reshape(ecg.shape)
    error = squared_error(prediction, target, weight)
    return (1 - ncc_weight) * error + ncc_weight * (1 - cross_correlation(prediction, target, weight))

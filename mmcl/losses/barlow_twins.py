"""The loss of Barlow Twins (Zbontar et al. 2021, ICML): the views' features correlate with themselves alone."""

from __future__ import annotations

import torch

from mmcl.losses.gather import gather
from mmcl.precision import at_least_single, without_autocast

EPSILON = 1e-5
"""Added to a feature's variance inside the root."""


@without_autocast
def barlow_twins_loss(one: torch.Tensor, other: torch.Tensor, redundancy: float = 5e-3) -> torch.Tensor:
    """Sum of (1 - C_kk)^2 + `redundancy` times that of C_kl^2, C the correlation of features over the batch; a scalar.

    The views are (batch, width). Statistics, with the biased variance, are those of the batch of all processes.
    ValueError when the shapes differ or that batch is of fewer than 2, in which nothing correlates.
    """
    if one.shape != other.shape or one.ndim != 2:
        raise ValueError(f"views {tuple(one.shape)} and {tuple(other.shape)}: expected two equal (batch, width)")
    one, other = (_standardised(at_least_single(gather(view))) for view in (one, other))
    correlation = one.T @ other / len(one)
    diagonal = correlation.diagonal()
    off_diagonal = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + redundancy * off_diagonal


def _standardised(view: torch.Tensor) -> torch.Tensor:
    if len(view) < 2:
        raise ValueError(f"batch of {len(view)}: expected at least 2, for features correlate over a batch")
    variance, mean = torch.var_mean(view, dim=0, correction=0)
    return (view - mean) * (variance + EPSILON).rsqrt()

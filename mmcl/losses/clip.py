"""CLIP loss between CMR and ECG projections (Radford et al. 2021; method section 6).

L = lambda CE(rows) + (1 - lambda) CE(columns) of logits z_cmr z_ecg^T / tau, where rows are CMR and the temperature is
fixed. Across processes the negatives are those of the global batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmcl.losses.gather import check_temperature, gather
from mmcl.precision import at_least_single, without_autocast


def logits(rows: torch.Tensor, columns: torch.Tensor, temperature: float | torch.Tensor) -> torch.Tensor:
    """Cosine of every row with every column over the temperature: (n, width), (m, width) -> (n, m)."""
    rows, columns = at_least_single(rows), at_least_single(columns)
    return F.normalize(rows, dim=1) @ F.normalize(columns, dim=1).T / temperature


def labels(batch: int, device: torch.device) -> torch.Tensor:
    """Class of each row, (batch,) int64: row i belongs to column i."""
    return torch.arange(batch, device=device)


@without_autocast
def clip_loss(
    cmr: torch.Tensor, ecg: torch.Tensor, temperature: float | torch.Tensor = 0.1, lambda_0: float = 0.5
) -> torch.Tensor:
    """CLIP loss of paired projections, each (batch, width), not normalised; a scalar.

    A `temperature` that is a tensor may be learnt, and is not checked: looking at it would wait for the device.
    `lambda_0` weighs the cross-entropy over the rows (which ECG belongs to this CMR). ValueError when the shapes
    differ, the temperature is not positive and finite or `lambda_0` is outside [0, 1].
    """
    if cmr.shape != ecg.shape or cmr.ndim != 2:
        raise ValueError(f"projections {tuple(cmr.shape)} and {tuple(ecg.shape)}: expected two equal (batch, width)")
    check_temperature(temperature)
    if not 0.0 <= lambda_0 <= 1.0:
        raise ValueError(f"lambda_0 {lambda_0}: expected 0 to 1")
    similarity = logits(gather(cmr), gather(ecg), temperature)
    target = labels(len(similarity), similarity.device)
    return lambda_0 * F.cross_entropy(similarity, target) + (1 - lambda_0) * F.cross_entropy(similarity.T, target)

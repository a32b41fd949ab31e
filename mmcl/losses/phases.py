"""Loss of the phases within a subject: which cine frame belongs to which phase of the ECG, and the other way round.

The idea is PTACL's (Selivanov et al. 2025): beside subjects, moments of one subject are told apart. Here the moments
are the three stored frames, and a subject's other two are the negatives; other subjects play no part.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmcl.losses.gather import check_temperature
from mmcl.precision import at_least_single, without_autocast


@without_autocast
def phase_loss(
    ecg: torch.Tensor, cmr: torch.Tensor, known: torch.Tensor, temperature: float | torch.Tensor = 0.1
) -> torch.Tensor:
    """Mean over the `known` subjects and both directions of the contrastive loss between their phases; a scalar.

    `ecg` and `cmr` (batch, phases, width), phase by phase in the same order, not normalised; `known` (batch,) bool
    leaves out ECGs whose phase could not be told. 0 when none is known. ValueError when the shapes differ or the
    temperature is not positive and finite.
    """
    if ecg.shape != cmr.shape or ecg.ndim != 3 or known.shape != ecg.shape[:1]:
        shapes = ", ".join(str(tuple(x.shape)) for x in (ecg, cmr, known))
        raise ValueError(f"shapes {shapes}: expected two equal (batch, phases, width), and (batch,)")
    check_temperature(temperature)
    ecg, cmr = (F.normalize(at_least_single(x), dim=2) for x in (ecg, cmr))
    similarity = ecg @ cmr.transpose(1, 2) / temperature
    own = -(similarity.log_softmax(dim=1) + similarity.log_softmax(dim=2)).diagonal(dim1=1, dim2=2).mean(dim=1) / 2
    return torch.where(known, own, 0.0).sum() / known.sum().clamp(min=1)

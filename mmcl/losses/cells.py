"""A local contrastive term: an ECG finds its CMR by what it attends to among the cells of the image.

After GLoRIA (Huang et al. 2021, ICCV): the global ECG vector attends to the cells of an image, and the pair's
similarity is that of the ECG with what it attended to. The global CLIP loss asks a mean over cells to match, so that it
does not matter where the matching cells lie; this term asks single cells to.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mmcl.losses.clip import labels
from mmcl.losses.gather import gather
from mmcl.precision import at_least_single, without_autocast


def cell_similarity(cells: torch.Tensor, ecg: torch.Tensor, sharpness: float | torch.Tensor) -> torch.Tensor:
    """Cosine (n, m) of every ECG with what it attends to in every image.

    cells: (n, cells, width); ecg: (m, width). Attention is the softmax over cells of their cosine with the ECG, divided
    by `sharpness`: near 0 the best cell alone counts, far above 1 all cells alike.
    """
    cells, ecg = (F.normalize(at_least_single(x), dim=-1) for x in (cells, ecg))
    cosine = torch.einsum("ncw,mw->nmc", cells, ecg)
    attended = torch.einsum("nmc,ncw->nmw", (cosine / sharpness).softmax(dim=2), cells)
    return torch.einsum("nmw,mw->nm", F.normalize(attended, dim=-1), ecg)


@without_autocast
def cell_loss(
    cells: torch.Tensor, ecg: torch.Tensor, temperature: float | torch.Tensor = 0.1, lambda_0: float = 0.5
) -> torch.Tensor:
    """CLIP loss, a scalar, of cell-wise similarities of paired `cells` (batch, cells, width) and `ecg` (batch, width).

    One `temperature` serves logits and attention. ValueError when the shapes do not pair up.
    """
    if cells.ndim != 3 or ecg.shape != (len(cells), cells.shape[2]):
        shapes = f"cells {tuple(cells.shape)} and ECG {tuple(ecg.shape)}"
        raise ValueError(f"{shapes}: expected (batch, cells, width) and (batch, width)")
    similarity = cell_similarity(gather(cells), gather(ecg), temperature) / temperature
    target = labels(len(similarity), similarity.device)
    return lambda_0 * F.cross_entropy(similarity, target) + (1 - lambda_0) * F.cross_entropy(similarity.T, target)

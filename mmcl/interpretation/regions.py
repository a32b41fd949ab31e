"""Where a localisation map lies: the share of its positive part inside the heart, beside the baselines that it must
beat.

Two baselines: the heart's share of the image's area, which a flat map would reach, and the map of another subject's
ECG, which
tells what of the map comes from the image alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from mmcl.data.augmentation import first_crop, resize
from mmcl.interpretation.localisation import Projections, cmr_regions, project
from mmcl.models.contrastive import ContrastiveModel
from mmcl.setting import Setting


@dataclass(frozen=True)
class RegionMaps:
    """Maps of ECG -> CMR for some subjects, (n, rows, columns) each.

    `matched` with the subject's own ECG, `shuffled` the mean over all other subjects' ECGs in the set, `difference`
    their difference: what the subject's own ECG adds.
    """

    matched: np.ndarray
    shuffled: np.ndarray

    @property
    def difference(self) -> np.ndarray:
        return self.matched - self.shuffled


def project_rows(
    model: ContrastiveModel, ecg: np.ndarray, cmr: np.ndarray, setting: Setting, batch: int = 128
) -> Projections:
    """Projections of stored records (n, 12, record), first window, and images (n, 3, crop, crop), on the CPU."""
    model = model.to(setting.device).eval()
    parts = []
    for start in range(0, len(ecg), batch):
        rows = slice(start, start + batch)
        window = first_crop(torch.from_numpy(np.array(ecg[rows])).to(setting.device), setting.profile.ecg.window)
        image = resize(torch.from_numpy(np.array(cmr[rows])).to(setting.device), setting.profile.cmr)
        projected = project(model, window, image, setting.preset.norm_local_tokens)
        parts.append(Projections(*(tensor.cpu() for tensor in projected)))
    return Projections(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def region_maps(projections: Projections) -> RegionMaps:
    """ECG -> CMR maps with each subject's own ECG and with all others'; ValueError for fewer than two subjects."""
    n = len(projections.ecg)
    if n < 2:
        raise ValueError(f"maps of {n} subject: expected at least two, one to shuffle with")
    matched = cmr_regions(projections)
    # The mean cosine with all ECGs of the set, less one's own, is the cosine with their mean vector, by linearity.
    unit = F.normalize(projections.ecg, dim=-1)
    others = (unit.sum(dim=0) - unit) / (n - 1)
    shuffled = torch.einsum("b...w,bw->b...", F.normalize(projections.cmr_local, dim=-1), others)
    return RegionMaps(matched.numpy(), shuffled.numpy())


def positive_share(maps: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Share (n,) of each map's positive part inside `mask`: maps (n, rows, columns), mask (n, side, side) bool.

    Maps are enlarged to the mask bilinearly. NaN where a map has no positive part.
    """
    enlarged = F.interpolate(
        torch.as_tensor(maps, dtype=torch.float64)[:, None], size=mask.shape[1:], mode="bilinear", align_corners=False
    )[:, 0].numpy()
    positive = np.maximum(enlarged, 0.0)
    total = positive.sum(axis=(1, 2))
    inside = (positive * mask).sum(axis=(1, 2))
    return np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)


def mask_share(mask: np.ndarray) -> np.ndarray:
    """Share (n,) of the image's area inside `mask` (n, side, side): what a flat map would reach."""
    return mask.mean(axis=(1, 2))

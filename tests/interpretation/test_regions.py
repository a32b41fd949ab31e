"""Shares of maps inside regions, and the shuffled baseline."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmcl.interpretation.localisation import Projections, cosine_map
from mmcl.interpretation.regions import mask_share, positive_share, region_maps


def test_a_flat_map_has_the_share_of_the_area():
    mask = np.zeros((2, 12, 12), bool)
    mask[0, :3], mask[1, :, :8] = True, True
    share = positive_share(np.full((2, 4, 4), 0.3), mask)
    np.testing.assert_allclose(share, mask_share(mask))
    np.testing.assert_allclose(share, [0.25, 2 / 3])


def test_only_the_positive_part_counts_and_none_is_nan():
    mask = np.zeros((2, 8, 8), bool)
    mask[:, :, :4] = True
    maps = np.full((2, 8, 8), -1.0)
    maps[0, :, :2] = 2.0
    share = positive_share(maps, mask)
    assert share[0] == pytest.approx(1.0) and np.isnan(share[1])


def test_the_shuffled_map_is_the_mean_over_all_other_subjects():
    random = torch.Generator().manual_seed(0)
    ecg, cmr = (F.normalize(torch.randn(4, 6, generator=random), dim=1) for _ in range(2))
    local = F.normalize(torch.randn(4, 3, 3, 6, generator=random), dim=-1)
    maps = region_maps(Projections(ecg, cmr, torch.randn(4, 12, 4, 6, generator=random), local))
    expected = torch.stack([cosine_map(local[:1], ecg[[k]])[0] for k in (1, 2, 3)]).mean(dim=0)
    np.testing.assert_allclose(maps.shuffled[0], expected, atol=1e-6)
    np.testing.assert_allclose(maps.difference, maps.matched - maps.shuffled)


def test_one_subject_has_nobody_to_shuffle_with():
    one = torch.ones(1, 6)
    with pytest.raises(ValueError, match="at least two"):
        region_maps(Projections(one, one, torch.ones(1, 12, 4, 6), torch.ones(1, 3, 3, 6)))

"""Measures of maps against cases whose answer is known."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from mmcl.interpretation.measures import (
    activation_rate,
    lead_auroc,
    pixel_auroc,
    pointing_game,
    positive_share,
    rank_auroc,
    rank_correlation,
    territories,
    territory_hit,
    wall_segments,
    wave_shares,
)


def half(n=2, side=12):
    mask = np.zeros((n, side, side), bool)
    mask[:, :, : side // 2] = True
    return mask


def test_a_flat_map_reaches_the_baselines():
    mask = np.zeros((2, 12, 12), bool)
    mask[0, :3], mask[1, :, :8] = True, True
    flat = np.full((2, 4, 4), 0.3)
    for measure in (positive_share, pointing_game):
        np.testing.assert_allclose(measure(flat, mask), [0.25, 2 / 3])
    np.testing.assert_allclose(pixel_auroc(flat, mask), 0.5)


def test_only_the_positive_part_counts_and_none_is_nan():
    maps = np.full((2, 8, 8), -1.0)
    maps[0, :, :2] = 2.0
    share = positive_share(maps, half(side=8))
    assert share[0] == pytest.approx(1.0) and np.isnan(share[1])


def test_a_map_of_the_mask_is_perfect_and_its_negative_is_not():
    mask = half()
    maps = mask.astype(float)
    assert (pointing_game(maps, mask) == 1).all() and (pixel_auroc(maps, mask) == 1).all()
    assert (pointing_game(-maps, mask) == 0).all() and (pixel_auroc(-maps, mask) == 0).all()


def test_a_region_that_is_not_there_is_not_scored():
    mask = half()
    mask[1] = False
    for measure in (positive_share, pointing_game, pixel_auroc):
        assert np.isfinite(measure(np.ones((2, 3, 3)), mask)).tolist() == [True, False]


def test_ranks_agree_with_the_libraries():
    random = np.random.default_rng(0)
    values, other = random.normal(size=(2, 3, 20)).round(1)
    inside = random.random((3, 20)) < 0.4
    for row, score in enumerate(rank_auroc(values, inside)):
        assert score == pytest.approx(roc_auc_score(inside[row], values[row]))
        assert rank_correlation(values, other)[row] == pytest.approx(spearmanr(values[row], other[row])[0])


def ring(side=41):
    """A round cavity with its wall."""
    row, column = np.indices((side, side)) - side // 2
    radius = np.hypot(row, column)
    return np.where(radius < 8, 3, np.where(radius < 14, 2, 0))[None]


def test_segments_go_round_from_the_anterior_wall_by_way_of_the_septum():
    segment = wall_segments(ring())[0]
    middle = 20
    assert segment[middle - 10, middle] == 7 and segment[middle + 10, middle] == 10
    assert set(segment[middle, :middle]) - {0} <= {8, 9} and set(segment[middle, middle + 1 :]) - {0} <= {11, 12}
    assert (segment[ring()[0] != 2] == 0).all()


def test_the_territory_with_the_largest_mean_is_the_one_pointed_at():
    labels, supply = ring(), np.zeros((1, 16), int)
    supply[0, [8, 9]], supply[0, [10, 11]] = 1, 2
    artery = territories(labels, supply)
    assert set(np.unique(artery)) == {-1, 0, 1, 2}
    maps = np.where(artery == 2, 1.0, 0.0)
    hit, chance = territory_hit(maps, artery, np.array([2]))
    assert hit[0] == 1 and chance[0] == pytest.approx(1 / 3)
    assert territory_hit(maps, artery, np.array([0]))[0][0] == 0
    assert np.isnan(territory_hit(maps, artery, np.array([-1]))[0][0])


def test_shares_of_waves_stand_beside_their_share_of_the_time():
    waves = np.zeros((1, 10), np.uint8)
    waves[0, 2:4], waves[0, 4:5] = 2, 3
    importance = np.ones((1, 12, 10))
    importance[:, :, 2:4] = 4.0
    shares = wave_shares(importance, waves)
    assert shares["QRS"][0][0] == pytest.approx(0.5) and shares["QRS"][1][0] == pytest.approx(0.2)
    assert shares["ST"][0][0] == pytest.approx(1 / 16) and np.isnan(shares["P"][0][0])


def test_muscle_activates_in_the_samples_of_its_beats():
    density = activation_rate(np.array([[0.0, 10, 10, 30]]), np.array([-0.02]), np.array([[0.1, np.nan]]), 100, 20)
    expected = np.zeros(20)
    expected[[8, 9, 11]] = 0.25, 0.5, 0.25
    np.testing.assert_allclose(density[0], expected)


def test_leads_that_face_the_scar_are_told_from_the_others():
    facing = np.full((3, 12), -1.0)
    facing[:2, :3], facing[2] = 0.9, np.nan
    importance = np.zeros((3, 12))
    importance[0, :3], importance[1, 3:] = 1.0, 1.0
    np.testing.assert_array_equal(lead_auroc(importance, facing), [1.0, 0.0, np.nan])

"""Nearest-neighbour probe against a loop over subjects."""

import numpy as np
import pytest

from mmcl.evaluation.metrics import auroc, r2
from mmcl.evaluation.neighbours import NEIGHBOURS, TEMPERATURE, neighbour_scores


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    features = random.normal(3, 2, (160, 6))
    targets = np.column_stack([features[:, 0] + random.normal(0, 0.3, 160), features @ random.normal(size=6)])
    targets[random.random(targets.shape) < 0.15] = np.nan
    return features, targets


def naive(features, labels, query, k):
    mean, std = features.mean(axis=0), features.std(axis=0)
    x, q = (features - mean) / std, (query - mean) / std
    known = [j for j in range(len(x)) if np.isfinite(labels[j])]
    cosine = {j: x[j] @ q / np.linalg.norm(x[j]) / np.linalg.norm(q) for j in known}
    nearest = sorted(known, key=lambda j: -cosine[j])[:k]
    weights = [np.exp(cosine[j] / TEMPERATURE) for j in nearest]
    return sum(w * labels[j] for w, j in zip(weights, nearest, strict=True)) / sum(weights)


def test_scores_equal_a_loop_and_leave_missing_labels_out(data):
    features, targets = data
    train, held, test = slice(0, 100), slice(100, 130), slice(130, 160)
    arguments = (features[train], targets[train], features[held], targets[held], features[test])
    validation, final, chosen = neighbour_scores("phenotype", *arguments, neighbours=[7])
    assert validation.shape == final.shape == (30, 2) and (chosen == 7).all()
    for row, k in ((0, 0), (5, 1), (29, 0)):
        expected = naive(features[train], targets[train, k], features[130 + row], 7)
        assert final[row, k] == pytest.approx(expected, rel=1e-4)
    assert (r2(targets[test], final) > 0.2).all()


def test_the_number_of_neighbours_is_chosen_on_validation(data):
    features, targets = data
    arguments = (features[:100], targets[:100], features[100:130], targets[100:130], features[130:])
    grid = [1, 5, 30, 500]
    _, _, chosen = neighbour_scores("phenotype", *arguments, neighbours=grid)
    each = [r2(targets[100:130], neighbour_scores("phenotype", *arguments, neighbours=[k])[0]) for k in grid]
    np.testing.assert_array_equal(chosen, np.array(grid)[np.argmax(each, axis=0)])


def test_a_disease_is_the_share_of_cases_and_an_unknown_one_is_nan(data):
    features, targets = data
    labels = np.where(np.isnan(targets), np.nan, targets > np.nanmedian(targets, axis=0))
    labels[:100, 1] = np.nan
    arguments = (features[:100], labels[:100], features[100:130], labels[100:130], features[130:])
    validation, score, chosen = neighbour_scores("disease", *arguments)
    assert ((score[:, 0] >= 0) & (score[:, 0] <= 1)).all()
    assert score[3, 0] == pytest.approx(naive(features[:100], labels[:100, 0], features[133], chosen[0]), rel=1e-4)
    each = [auroc(labels[100:130, 0], neighbour_scores("disease", *arguments, [k])[0][:, 0]) for k in NEIGHBOURS]
    assert auroc(labels[100:130, 0], validation[:, 0]) == max(each)
    assert np.isnan(score[:, 1]).all() and chosen[1] == 50
    with pytest.raises(ValueError, match="neighbours"):
        neighbour_scores("disease", *arguments, neighbours=[0])
    with pytest.raises(ValueError, match="task 'risk'"):
        neighbour_scores("risk", *arguments)

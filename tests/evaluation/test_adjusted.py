"""Results beyond demographics: partial R2 and AUROC gain, where the answer is known."""

import numpy as np
import pytest

from mmcl.evaluation.adjusted import adjusted_diseases, adjusted_phenotypes
from mmcl.evaluation.metrics import auroc, pearson_r, r2
from mmcl.evaluation.predictions import Predictions


def cohort(n: int, seed: int):
    """Demographics, an independent cause that only the ECG sees, a phenotype and a disease of both."""
    generator = np.random.default_rng(seed)
    age, male, height = generator.normal(60, 8, n), generator.random(n) < 0.5, generator.normal(1.7, 0.1, n)
    demographics = np.column_stack([age, male, height])
    size = (demographics[:, 0] - 60) / 8 + 2 * demographics[:, 1]
    hidden = generator.normal(size=n)
    phenotype = (150 + 20 * size + 15 * hidden + 10 * generator.normal(size=n))[:, None]
    disease = (generator.random(n) < 1 / (1 + np.exp(4 - size - hidden))).astype(float)[:, None]
    return demographics.astype(float), size, hidden, phenotype, disease


def predicted(truth: np.ndarray, score: np.ndarray, name: str = "LVM") -> Predictions:
    return Predictions(np.arange(len(truth)).astype(str), (name,), truth, score[:, None])


TRAIN, VALIDATION, TEST = cohort(2000, 0), cohort(400, 1), cohort(2000, 2)


def adjust(score) -> Predictions:
    held, test = predicted(VALIDATION[3], score(VALIDATION)), predicted(TEST[3], score(TEST))
    return adjusted_phenotypes(TRAIN[0], TRAIN[3], VALIDATION[0], held, TEST[0], test)


def test_partial_r2_is_what_the_hidden_cause_explains():
    adjusted = adjust(lambda c: c[1] * 20 + c[2] * 7)  # the slope is wrong on purpose; validation mends it
    expected = 15**2 / (15**2 + 10**2)
    assert r2(adjusted.truth, adjusted.score) == pytest.approx(expected, abs=0.03)
    assert pearson_r(adjusted.truth, adjusted.score) == pytest.approx(np.sqrt(expected), abs=0.03)


def test_a_score_of_demographics_alone_adds_nothing():
    generator = np.random.default_rng(3)
    score = {len(c[1]): c[1] * 20 + generator.normal(size=len(c[1])) for c in (VALIDATION, TEST)}
    adjusted = adjust(lambda c: score[len(c[1])])
    assert r2(predicted(TEST[3], TEST[1]).truth, TEST[3] * 0 + 150 + 20 * TEST[1][:, None]) > 0.4
    assert abs(r2(adjusted.truth, adjusted.score)) < 0.03


def test_test_labels_do_not_enter():
    held = predicted(VALIDATION[3], VALIDATION[2])
    one = adjusted_phenotypes(TRAIN[0], TRAIN[3], VALIDATION[0], held, TEST[0], predicted(TEST[3], TEST[2]))
    other = adjusted_phenotypes(TRAIN[0], TRAIN[3], VALIDATION[0], held, TEST[0], predicted(TEST[3] * 9, TEST[2]))
    np.testing.assert_array_equal(one.score, other.score)


def gain(score, validation_truth=VALIDATION[4]):
    held = predicted(validation_truth, score(VALIDATION), "CAD")
    test = predicted(TEST[4], score(TEST), "CAD")
    return adjusted_diseases(TRAIN[0], TRAIN[4], VALIDATION[0], held, TEST[0], test)


def test_auroc_gain_of_the_hidden_cause_and_of_noise():
    both, alone = gain(lambda c: 1 / (1 + np.exp(-c[2])))
    assert auroc(both.truth, both.score) - auroc(alone.truth, alone.score) > 0.05
    assert auroc(both.truth, both.score) == pytest.approx(auroc(TEST[4], (TEST[1] + TEST[2])[:, None]), abs=0.01)
    noise = np.random.default_rng(5)
    both, alone = gain(lambda c: noise.random(len(c[1])))
    assert abs(auroc(both.truth, both.score) - auroc(alone.truth, alone.score)) < 0.03


def test_a_disease_that_validation_lacks_is_not_reported():
    both, alone = gain(lambda c: np.full(len(c[1]), 0.3), np.zeros_like(VALIDATION[4]))
    assert np.isnan(auroc(both.truth, both.score)).all() and np.isnan(alone.truth).all()

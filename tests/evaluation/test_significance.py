"""p values and Holm's correction, by hand and by definition."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from mmcl.evaluation.intervals import Bootstrap
from mmcl.evaluation.significance import holm, holm_corrected, wald


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, np.nan])), [0.03, 0.06, 0.06, np.nan])
    np.testing.assert_allclose(holm(np.array([0.5, 0.9])), [1.0, 1.0])
    assert np.isnan(holm(np.array([np.nan]))).all()


def test_wald_is_two_sided():
    np.testing.assert_allclose(wald(np.array([1.96, -1.96]), np.ones(2)), 2 * norm.sf(1.96))
    np.testing.assert_array_equal(wald(np.array([0.0, 0.1]), np.zeros(2)), [1.0, np.nan])


def test_a_bootstraps_p_agrees_with_the_share_of_resamples_beyond_zero():
    draws = np.random.default_rng(0).normal(0.02, 0.01, size=(20_000, 1))
    one = Bootstrap(np.array([0.02]), draws, np.array([100]))
    assert one.p()[0] == pytest.approx(2 * (draws <= 0).mean(), rel=0.15)
    unscored = Bootstrap(np.array([0.02]), np.full((10, 1), np.nan), np.array([100]))
    assert np.isnan(unscored.p()).all()


def test_families_are_task_metric_and_labels_and_group_means_apart():
    same = {"task": "phenotypes", "metric": "R2", "labels": "all", "subgroup": "", "mode": "probe"}
    rows = [
        same | {"target": "LVM", "reference": "mdm", "p": 0.01},
        same | {"target": "LVEDV", "reference": "mmcl", "p": 0.02},
        same | {"target": "LV mean", "reference": "mdm", "p": 0.03},
        same | {"target": "LVM", "reference": "", "p": 0.001},
        same | {"target": "LVM", "reference": "men", "p": 0.001, "subgroup": "women"},
        same | {"target": "LVM", "reference": "mdm", "p": 0.04, "labels": "200"},
        same | {"target": "LVM", "reference": "mdm", "p": 0.01, "mode": "knn"},
        same | {"target": "LVM", "reference": "mdm.mask_0.4", "p": 0.01},
    ]
    corrected = holm_corrected(pd.DataFrame(rows, index=range(len(rows), 0, -1)))
    np.testing.assert_allclose(corrected["p_holm"], [0.02, 0.02, 0.03, np.nan, np.nan, 0.04, 0.01, 0.01])

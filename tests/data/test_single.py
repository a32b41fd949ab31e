"""One recording at a time agrees with the road that a cohort takes."""

import doctest

import numpy as np
import pytest

from mmcl.data import ecg_preprocessing, single
from mmcl.data.cmr_preprocessing import Cine, preprocess_cine
from mmcl.data.single import preprocess_cmr, preprocess_ecg


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(single) == (0, doctest.testmod(single).attempted)
    assert doctest.testmod(single).attempted >= 4


def test_an_ecg_in_microvolt_equals_the_one_in_millivolt():
    signal = np.random.default_rng(1).normal(size=(12, 5000))
    expected = ecg_preprocessing.preprocess_ecg(signal[None].astype(np.float32))[0]
    np.testing.assert_allclose(preprocess_ecg(signal, 500), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(preprocess_ecg(1000 * signal, 500, unit="uV"), expected, rtol=1e-4, atol=1e-4)


def test_a_cine_equals_the_pipeline():
    volume = np.random.default_rng(1).integers(0, 255, size=(9, 4, 90, 100))
    expected = preprocess_cine(Cine(volume, None, (1.8, 1.8), "a", "a"), 78, True, es_frame=2).images
    np.testing.assert_array_equal(preprocess_cmr(volume, (1.8, 1.8), es_frame=2), expected)


def test_what_cannot_be_used_is_named():
    with pytest.raises(ValueError, match="mine: .*too short: 0.20 s"):
        preprocess_ecg(np.zeros((12, 100)), 500, name="mine")
    with pytest.raises(ValueError, match="volume: .*too few slices: 5"):
        preprocess_cmr(np.zeros((5, 2, 80, 80)), (1.8, 1.8))

"""The transformer does what scikit-learn expects of one."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mmcl.config import LEADS, CmrEncoderConfig, EcgConfig, EncoderConfig
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.estimator import EcgFeatures
from mmcl.models.pretrained import PretrainedEncoder, export_encoder


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    model = EcgEncoder(EcgConfig(125, 300, 25), EncoderConfig(width=16, depth=1, heads=4))
    return PretrainedEncoder(model, LEADS, 125).eval()


@pytest.fixture(scope="module")
def file(encoder, tmp_path_factory):
    return export_encoder(encoder, tmp_path_factory.mktemp("encoder") / "x")


@pytest.fixture(scope="module")
def signals():
    return np.random.default_rng(0).normal(size=(8, 12, 1250))


LABELS = np.arange(8) % 2


def test_a_search_over_a_pipeline_from_raw_ecgs(file, signals):
    pipeline = make_pipeline(EcgFeatures(file, sampling_rate=125), StandardScaler(), LogisticRegression())
    grid = {"ecgfeatures__tile": [True, False], "logisticregression__C": [0.1, 1.0]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(signals, LABELS)
    assert search.predict_proba(signals).shape == (8, 2) and len(search.cv_results_["params"]) == 4


@pytest.mark.parametrize("given", ["file", "encoder"])
def test_clones_and_pickles_give_the_same_features(file, encoder, signals, given):
    transformer = EcgFeatures(file if given == "file" else encoder, sampling_rate=125)
    with pytest.raises(NotFittedError):
        transformer.transform(signals)
    expected = transformer.fit(signals, LABELS).transform(signals)
    np.testing.assert_array_equal(expected, encoder.embed(signals, 125))
    copy = clone(transformer)
    assert not hasattr(copy, "encoder_") and copy.get_params().keys() == transformer.get_params().keys()
    for same in (copy.fit(signals), pickle.loads(pickle.dumps(transformer))):
        np.testing.assert_array_equal(same.transform(signals), expected)
    if given == "file":
        assert len(pickle.dumps(clone(transformer))) < 2000  # without the weights


def test_features_have_names_and_data_frames_on_request(file, signals):
    transformer = EcgFeatures(file, sampling_rate=125).set_output(transform="pandas")
    table = transformer.fit_transform(signals)
    assert list(table.columns) == list(transformer.get_feature_names_out())
    assert list(table.columns)[:2] == ["ecgfeatures0", "ecgfeatures1"] and table.shape == (8, 16)
    deviation = FunctionTransformer(lambda X: X.std(axis=2))
    both = FeatureUnion([("encoder", EcgFeatures(file, sampling_rate=125)), ("deviation", deviation)])
    assert both.fit_transform(signals).shape == (8, 28)


def test_what_it_cannot_take_is_named(file, signals, tmp_path):
    fitted = EcgFeatures(file, sampling_rate=125).fit(signals)
    with pytest.raises(ValueError, match=r"X of shape \(12, 1250\): expected \(n, 12 leads, samples\)"):
        fitted.transform(signals[0])
    cmr = CmrEncoder(CmrEncoderConfig("basic", (1, 1, 1, 1), (8, 8, 8, 8)))
    torch.save(cmr.state_dict(), tmp_path / "cmr.pth")
    with pytest.raises(ValueError, match="cmr.pth: no ECG encoder"):
        EcgFeatures(tmp_path / "cmr.pth").fit(signals)

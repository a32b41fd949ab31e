"""A pre-trained encoder as a scikit-learn transformer, for pipelines from raw ECGs to a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from mmcl.config import LEADS
from mmcl.models.pretrained import PretrainedEncoder, load_encoder


class EcgFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Raw ECGs (n, leads, samples) to an encoder's features (n, width), each by itself: nothing is learnt in `fit`.

    `encoder` is a weight file or a `PretrainedEncoder`; the rest as in `PretrainedEncoder.embed`. A file is read when
    the transformer is fitted, on `device`, so that an unfitted pipeline is cloned and saved without its weights; a
    `PretrainedEncoder` stays on its own device, and is copied with every clone.

    >>> import tempfile, torch
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from mmcl.config import EcgConfig, EncoderConfig
    >>> from mmcl.models.ecg_encoder import EcgEncoder
    >>> path = Path(tempfile.mkdtemp(), "signal_encoder.pth")  # in place of a released file
    >>> torch.save({"model": EcgEncoder(EcgConfig(), EncoderConfig()).state_dict()}, path)
    >>> signals, labels = np.random.default_rng(0).normal(size=(4, 12, 5000)), [0, 1, 0, 1]
    >>> classifier = make_pipeline(EcgFeatures(path, sampling_rate=500, unit="mV"), LogisticRegression())
    >>> classifier.fit(signals, labels).predict_proba(signals).shape
    (4, 2)
    """

    def __init__(
        self,
        encoder: str | Path | PretrainedEncoder,
        sampling_rate: float = 500,
        leads: Sequence[str] = LEADS,
        unit: str = "mV",
        batch: int = 64,
        tile: bool = True,
        as_stored: bool = False,
        device: str = "cpu",
    ):
        self.encoder = encoder
        self.sampling_rate = sampling_rate
        self.leads = leads
        self.unit = unit
        self.batch = batch
        self.tile = tile
        self.as_stored = as_stored
        self.device = device

    def fit(self, X: np.ndarray, y: object = None) -> EcgFeatures:  # noqa: N803 (scikit-learn's own names)
        """Load the encoder; `X` and `y` are not looked at. ValueError for a file that holds no ECG encoder."""
        given = isinstance(self.encoder, PretrainedEncoder)
        self.encoder_ = self.encoder if given else load_encoder(self.encoder, modality="ecg", device=self.device)
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        """Features (n, width) of raw ECGs `X` (n, leads, samples)."""
        check_is_fitted(self)
        X = X if isinstance(X, (list, tuple)) else np.asarray(X)  # noqa: N806
        if np.ndim(X[0]) != 2:
            raise ValueError(f"X of shape {np.shape(X)}: expected (n, {len(self.leads)} leads, samples)")
        options = (self.sampling_rate, self.leads, self.unit, self.batch, self.tile, self.as_stored)
        return self.encoder_.embed(X, *options)

    @property
    def _n_features_out(self) -> int:
        """For `get_feature_names_out`: ecgfeatures0, ecgfeatures1, ..."""
        return self.encoder_.width

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        return tags

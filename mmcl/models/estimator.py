"""A pre-trained encoder as a scikit-learn transformer, for pipelines from raw ECGs to a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from mmcl.config import LEADS
from mmcl.models.pretrained import PretrainedEncoder, load_encoder


class EcgFeatures(TransformerMixin, BaseEstimator):
    """Raw ECGs (n, leads, samples) to an encoder's features (n, width), each by itself: nothing is learnt in `fit`.

    `encoder` is a weight file or a `PretrainedEncoder`; the rest as in `PretrainedEncoder.embed`. A file is read when
    the transformer is fitted, so that a pipeline can be cloned and saved without its weights.
    """

    def __init__(
        self,
        encoder: str | Path | PretrainedEncoder,
        sampling_rate: float = 500,
        leads: Sequence[str] = LEADS,
        unit: str = "mV",
        batch: int = 64,
    ):
        self.encoder = encoder
        self.sampling_rate = sampling_rate
        self.leads = leads
        self.unit = unit
        self.batch = batch

    def fit(self, X: np.ndarray, y: object = None) -> EcgFeatures:  # noqa: N803 (scikit-learn's own names)
        """Load the encoder; `X` and `y` are not looked at."""
        given = isinstance(self.encoder, PretrainedEncoder)
        self.encoder_ = self.encoder if given else load_encoder(self.encoder, modality="ecg")
        return self

    def transform(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        """Features (n, width) of raw ECGs `X` (n, leads, samples)."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        return np.asarray(self.encoder_.embed(np.asarray(X), self.sampling_rate, self.leads, self.unit, self.batch))

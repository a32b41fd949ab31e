"""One's own recordings: one ECG or one cine, as it comes, in the form that the models take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mmcl.config import LEADS, CmrConfig
from mmcl.data import ecg_preprocessing
from mmcl.data.cmr_preprocessing import Cine, preprocess_cine
from mmcl.data.signals import Recording, harmonise


def preprocess_ecg(
    signal: np.ndarray | torch.Tensor,
    sampling_rate: float,
    leads: Sequence[str] = LEADS,
    unit: str = "mV",
    name: str = "signal",
) -> np.ndarray:
    """A raw ECG (leads, samples) as (12, 5000) float32 at 500 Hz, leads in the order of `mmcl.config.LEADS`.

    `leads` in any order and spelling, `unit` V, mV, uV or nV, any `sampling_rate` in Hz; shorter and longer records,
    absent leads and NaN as `mmcl.data.signals` says, then method section 3. ValueError for what cannot be used, naming
    `name`, the value and what was expected.

    >>> signal = 100 * np.random.default_rng(0).normal(size=(8, 2500))
    >>> leads = ["v6", "v5", "v4", "v3", "v2", "v1", "II", "I"]
    >>> preprocess_ecg(signal, sampling_rate=250, leads=leads, unit="uV").shape
    (12, 5000)
    """
    return prepare_ecg(signal, sampling_rate, leads, unit, name)[0]


def prepare_ecg(
    signal: np.ndarray | torch.Tensor,
    sampling_rate: float,
    leads: Sequence[str],
    unit: str,
    name: str,
    needed: Sequence[str] | None = None,
) -> tuple[np.ndarray, tuple[str, ...]]:
    """What `preprocess_ecg` gives, and the flags of `mmcl.data.signals`.

    With `needed` the recording must have these leads, instead of any six, and what it lacks counts in no mean and no
    deviation: a recording of one lead is standardised by that lead.
    """
    recording = Recording(as_array(signal), tuple(leads), (unit,) * len(leads), sampling_rate, name, name)
    ecg = harmonise(recording, needed)
    if needed is None:
        return ecg_preprocessing.preprocess_ecg(ecg.signal[None])[0], ecg.flags
    present = [k for k, lead in enumerate(LEADS) if f"missing:{lead}" not in ecg.flags]
    return ecg_preprocessing.preprocess_ecg(ecg.signal[None], leads=present)[0], ecg.flags


def as_array(values: np.ndarray | torch.Tensor) -> np.ndarray:
    """An array of whatever holds numbers; ValueError for what holds others."""
    if torch.is_tensor(values):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"signals of type {array.dtype}: expected real numbers")
    return array


def preprocess_cmr(
    volume: np.ndarray,
    spacing: tuple[float, float],
    labels: np.ndarray | None = None,
    es_frame: int | None = None,
    crop: int = CmrConfig().crop,
    centre_crop: bool = True,
    cavity_label: int = 3,
    name: str = "volume",
) -> np.ndarray:
    """A short-axis cine as the three frames of the models: uint8 (3, crop, crop), end-systole, halfway, end-diastole.

    `volume` (slices, frames, rows, columns), frame 0 at end-diastole, or two frames, an ED and an ES volume; `spacing`
    mm a row and a column; `labels` of the same shape with `cavity_label` in the left ventricular cavity. End-systole is
    `es_frame`, else the frame of least cavity, else found in the image. The rest is method section 4. ValueError for
    what cannot be used, naming `name`, the value and what was expected.

    >>> volume = np.random.default_rng(0).normal(size=(10, 2, 100, 90))
    >>> preprocess_cmr(volume, spacing=(1.8, 1.8)).shape
    (3, 78, 78)
    """
    cine = Cine(np.asarray(volume), None if labels is None else np.asarray(labels), tuple(spacing), name, name)
    return preprocess_cine(cine, crop, centre_crop, cavity_label, es_frame).images

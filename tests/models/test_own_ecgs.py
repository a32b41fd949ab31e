"""One's own ECGs through an encoder: as in training, whatever their type, length, leads, unit and sampling rate."""

import warnings

import numpy as np
import pytest
import torch
import wfdb

from mmcl.config import LEADS, EcgConfig, EncoderConfig, preset
from mmcl.data.ecg_preprocessing import baseline
from mmcl.data.pipeline import Settings, prepare
from mmcl.data.readers import read_wfdb
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.pretrained import PretrainedEncoder
from mmcl.profiles import profile
from mmcl.training.features import ecg_features

TWO = ("V5", "II")


def _encoder(leads=LEADS, window=2500, patch=100, rate=500):
    torch.manual_seed(0)
    config = EncoderConfig(width=48, depth=2, heads=4)
    model = EcgEncoder(EcgConfig(rate, window, patch), config, leads=len(leads))
    return PretrainedEncoder(model, leads, rate).eval()


def _signals(n=3, rate=500, seconds=10):
    time = np.arange(int(rate * seconds)) / rate
    phase = np.random.default_rng(0).uniform(0, 6, (n, 12, 1))
    return np.sin(2 * np.pi * 1.2 * time + phase) + 0.3 * np.sin(2 * np.pi * 7 * time + 2 * phase)


@pytest.mark.parametrize("name", ["corrected", "paper"])
def test_features_are_those_of_the_training_path(tmp_path, name):
    """From a raw file through reader, pipeline and the features of probes, and from its array by `embed`: to 1e-6."""
    chosen, sizes = preset(name), profile("smoke")
    wfdb.wrsamp(
        "own", fs=500, units=["mV"] * 12, sig_name=list(LEADS), p_signal=_signals(1)[0].T, fmt=["16"] * 12,
        adc_gain=[200.0] * 12, baseline=[0] * 12, write_dir=str(tmp_path),
    )  # fmt: skip
    recording = read_wfdb(tmp_path / "own.hea", "own")
    row = prepare(recording, None, Settings.of(sizes, chosen)).arrays["ecg"]
    encoder = _encoder(window=sizes.ecg.window, patch=sizes.ecg.patch, rate=sizes.ecg.sampling_rate)
    stored = ecg_features(encoder.model, row[None], sizes.ecg.window, chosen, torch.device("cpu"))
    # The store keeps half precision; rounded alike the features are equal, and without it they are close.
    raw, tile = recording.signal[None], chosen.tile_crops
    np.testing.assert_allclose(encoder.embed(raw, 500, tile=tile, as_stored=True), stored, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(encoder.embed(raw, 500, tile=tile), stored, atol=5e-3)


def test_numbers_of_any_type_and_recordings_of_any_length():
    encoder = _encoder()
    signals, whole = _signals(2, seconds=8), _signals(1)
    with pytest.warns(UserWarning, match="of 2 ECGs 2 shorter than 10 s"):
        expected = encoder.embed(signals, 500)
    with pytest.warns(UserWarning, match="of 2 ECGs 1 shorter than 10 s"):
        mixed = encoder.embed([signals[0], whole[0]], 500)
    full = encoder.embed(whole, 500)
    np.testing.assert_allclose(mixed, np.stack([expected[0], full[0]]), rtol=1e-5, atol=1e-6)
    assert encoder.embed(torch.from_numpy(whole).bfloat16(), 500).dtype == torch.float32
    for kind, tolerance in ((np.float32, 1e-4), (np.float16, 0.05)):
        np.testing.assert_allclose(encoder.embed(whole.astype(kind), 500), full, atol=tolerance)
    counts = (1000 * whole).round().astype(np.int16)
    np.testing.assert_allclose(encoder.embed(counts, 500, unit="uV"), full, atol=0.02)
    np.testing.assert_allclose(encoder.double().embed(whole, 500), full, atol=1e-5)


@pytest.mark.parametrize("rate", [250, 400, 1000])
def test_the_sampling_rate_hardly_matters(rate):
    encoder = _encoder()
    expected, found = encoder.embed(_signals(), 500), encoder.embed(_signals(rate=rate), rate)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999


def test_what_was_filled_in_or_looks_wrong_is_told():
    encoder = _encoder()
    with pytest.warns(UserWarning, match="of 3 ECGs 3 without V6, taken as 0"):
        encoder.embed(_signals()[:, :11], 500, LEADS[:11])
    with pytest.warns(UserWarning, match=r"of 3 ECGs 3 of implausible amplitude \(is the unit right"):
        encoder.embed(1000 * _signals(), 500)
    with pytest.warns(UserWarning, match="V9, pleth: none of the twelve leads, not used"):
        encoder.embed(np.concatenate([_signals(), _signals()[:, :2]], axis=1), 500, [*LEADS, "V9", "pleth"])
    signals = _signals()
    signals[1, 2, 100:200] = np.nan
    with pytest.warns(UserWarning, match="of 3 ECGs 1 with NaN in III, taken as 0"):
        assert np.isfinite(encoder.embed(signals, 500)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.embed(_signals(), 500)
        encoder.embed(_signals()[:, [0, 1, 6, 7, 8, 9, 10, 11]], 500, ["I", "II", *LEADS[6:]])  # the rest follows


def test_an_encoder_of_few_leads_needs_no_others():
    encoder, signals = _encoder(TWO), _signals()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        features = encoder.embed(signals[:, [1, 10]], 500, ["II", "V5"])
    # Sines reach no clipping; either lead is alone in its group, so that it is standardised by itself.
    pairs = signals[:, [10, 1]]
    level = pairs - baseline(pairs)
    ready = torch.from_numpy((level - level.mean(2, keepdims=True)) / level.std(2, keepdims=True)).float()
    with torch.no_grad():
        expected = (encoder(ready[..., :2500]) + encoder(ready[..., 2500:])) / 2
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-5)
    with pytest.raises(ValueError, match="no signal in V5, expected a signal in each of V5, II"):
        encoder.embed(signals[:, [1, 9]], 500, ["II", "V4"])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda x: [x[0], x[0, :3]], {}, r"\(3, 5000\): expected .*12 leads"),
        (lambda x: x.transpose(0, 2, 1), {}, r"\(1, 5000, 12\): expected .*12 leads.*transposed\?"),
        (lambda x: x[0, 0], {}, r"\(5000,\): expected .*leads, samples"),
        (lambda x: 1j * x, {}, "type complex128: expected real numbers"),
        (lambda x: x[..., :2000], {}, "too short: 4.00 s, expected at least 5 s"),
        (lambda x: x, {"unit": "pA"}, "unknown unit: pA in I, expected mv"),
        (lambda x: x, {"leads": ["II"] * 12}, "lead twice: II"),
        (lambda x: np.where(np.arange(5000) < 800, np.nan, x), {}, "too many NaN: 16.0%, expected at most 10%"),
        (lambda x: x, {"sampling_rate": "fast"}, "unknown sampling rate: fast, expected 50 to 20000 Hz"),
        (lambda x: x, {"batch": 0}, "batch 0: expected at least 1"),
    ],
)
def test_what_cannot_be_used_is_named(change, options, message):
    with pytest.raises(ValueError, match=message):
        _encoder().embed(change(_signals(1)), **{"sampling_rate": 500} | options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tensors_on_a_gpu_stay_there():
    encoder = _encoder()
    expected = encoder.embed(_signals(), 500)
    found = encoder.to("cuda").embed(torch.from_numpy(_signals()).to("cuda"), 500)
    assert found.device.type == "cuda"
    np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=1e-4, atol=1e-4)

"""Encoders from files of every known layout, their sizes inferred; one's own ECGs through them; export and back."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mmcl.config import LEADS, CmrEncoderConfig, EcgConfig, EncoderConfig
from mmcl.data.single import preprocess_ecg
from mmcl.models.cmr_encoder import CmrEncoder, to_released
from mmcl.models.contrastive import ContrastiveModel
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.estimator import EcgFeatures
from mmcl.models.pretrained import PretrainedEncoder, export_encoder, load_encoder

SIZES = {"tiny": (384, 3, 6), "small": (512, 4, 8), "medium": (640, 6, 8), "big": (768, 8, 8)}


def _encoder(width=48, depth=2, heads=4, window=500, patch=50, leads=12, pooling="mean", seed=0):
    torch.manual_seed(seed)
    config = EncoderConfig(width=width, depth=depth, heads=heads)
    return EcgEncoder(EcgConfig(window=window, patch=patch), config, pooling, leads=leads).eval()


def _signals(n=3, rate=500, seconds=10, seed=0):
    time = np.arange(int(rate * seconds)) / rate
    generator = np.random.default_rng(seed)
    phase = generator.uniform(0, 6, (n, 12, 1))
    return np.sin(2 * np.pi * 1.2 * time + phase) + 0.3 * np.sin(2 * np.pi * 7 * time + 2 * phase)


def _released(encoder):
    """State of an encoder as the released files hold it: a `norm`, neither `fc_norm` nor head."""
    state = {name: value for name, value in encoder.state_dict().items() if not name.startswith("fc_norm")}
    return state | {"norm.weight": torch.ones(encoder.width), "norm.bias": torch.zeros(encoder.width)}


@pytest.mark.parametrize("size", SIZES)
def test_published_sizes_are_inferred(tmp_path, size):
    width, depth, heads = SIZES[size]
    encoder = _encoder(width, depth, heads, window=2500, patch=100)
    torch.save({"model": _released(encoder), "args": torch.device("cpu")}, tmp_path / "signal.pth")
    loaded = load_encoder(tmp_path / "signal.pth")
    assert (loaded.width, len(loaded.model.blocks), loaded.model.blocks[0].attn.heads) == SIZES[size]
    assert (loaded.window, loaded.sampling_rate, loaded.leads) == (2500, 500, LEADS)
    x = torch.randn(2, 12, 2500)
    torch.testing.assert_close(loaded(x), encoder(x))
    torch.testing.assert_close(loaded.tokens(x), encoder.tokens(x))
    assert not loaded.training and loaded.tokens(x).shape == (2, 300, width)


@pytest.mark.parametrize(("window", "patch", "leads"), [(500, 50, 12), (1000, 100, 8), (300, 25, 3), (2000, 200, 1)])
def test_window_patch_and_leads_are_inferred_from_the_tensors(tmp_path, window, patch, leads):
    encoder = _encoder(window=window, patch=patch, leads=leads)
    with torch.no_grad():
        encoder.pos_embed.add_(0.2 * torch.randn_like(encoder.pos_embed))  # trained, no longer sine and cosine
    torch.save({"model": _released(encoder)}, tmp_path / "x.pth")
    loaded = load_encoder(tmp_path / "x.pth", heads=4)
    assert (loaded.window, loaded.model.patch, len(loaded.leads)) == (window, patch, leads)
    x = torch.randn(2, leads, window)
    torch.testing.assert_close(loaded(x), encoder(x))


def test_full_checkpoints_hold_both_encoders(tmp_path):
    cmr = CmrEncoder(CmrEncoderConfig("bottleneck", (1, 2, 1, 1), (8, 16, 32, 64))).eval()
    model = ContrastiveModel(_encoder(), cmr, hidden=16, projection=8)
    images = torch.rand(2, 3, 48, 48)
    ecg = torch.randn(2, 12, 500)
    published = {name: value for name, value in model.state_dict().items() if not name.startswith("encoder_imaging")}
    published |= to_released(cmr.state_dict())
    for name, state in (("ours", model.state_dict()), ("published", published)):
        torch.save({"state_dict": state, "hyper_parameters": {"path": tmp_path}}, tmp_path / name)
        torch.testing.assert_close(load_encoder(tmp_path / name, heads=4)(ecg), model.encoder_ecg(ecg))
        torch.testing.assert_close(load_encoder(tmp_path / name, modality="cmr")(images), cmr(images))


def test_released_image_encoders_load_without_being_asked(tmp_path):
    cmr = CmrEncoder(CmrEncoderConfig()).eval()
    torch.save({"state_dict": to_released(cmr.state_dict())}, tmp_path / "image.pth")
    loaded = load_encoder(tmp_path / "image.pth")
    assert isinstance(loaded, CmrEncoder) and loaded.width == 2048
    images = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded(images), cmr(images))


def test_the_released_layout_of_the_conformance_file(shared):
    loaded = load_encoder(shared / "conformance" / "encoder_small_gap.pth", heads=4)
    numbers = np.load(shared / "conformance" / "encoder_small_gap.npz", allow_pickle=False)
    tokens = loaded.tokens(torch.from_numpy(numbers["x"])[:, 0]).detach().numpy()
    np.testing.assert_allclose(tokens, numbers["tokens"], rtol=1e-5, atol=1e-5 * np.abs(numbers["tokens"]).max())


def test_another_window_and_fewer_leads(tmp_path):
    encoder = _encoder()
    torch.save({"model": _released(encoder)}, tmp_path / "x.pth")
    longer = load_encoder(tmp_path / "x.pth", heads=4, window=1000)
    assert longer(torch.randn(1, 12, 1000)).shape == (1, 48)
    few = load_encoder(tmp_path / "x.pth", heads=4, leads=["v1", "II"])
    assert few.leads == ("V1", "II")
    own = encoder.pos_embed[0, 1:].unflatten(0, (12, -1))
    torch.testing.assert_close(few.model.pos_embed[0, 1:].unflatten(0, (2, -1)), own[[6, 1]])
    single = load_encoder(tmp_path / "x.pth", heads=4, leads=["II"])
    torch.save({"model": _released(single.model)}, tmp_path / "one.pth")
    resampled = load_encoder(tmp_path / "one.pth", heads=4, leads=["I", "II", "III"], window=700)
    assert resampled(torch.randn(1, 3, 700)).shape == (1, 48)


def test_errors_say_what_was_expected_and_found(tmp_path):
    state = _released(_encoder())
    torch.save({"model": state}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="width 48.*give heads="):
        load_encoder(tmp_path / "x.pth")
    with pytest.raises(ValueError, match="divisor of the width, 48"):
        load_encoder(tmp_path / "x.pth", heads=5)
    with pytest.raises(ValueError, match="x.pth: no CMR encoder.*found model.cls_token"):
        load_encoder(tmp_path / "x.pth", modality="cmr")
    with pytest.raises(ValueError, match="lead 'V9'"):
        load_encoder(tmp_path / "x.pth", heads=4, leads=["V9"])
    torch.save({"model": {k: v for k, v in state.items() if not k.startswith("blocks.0")}}, tmp_path / "gap.pth")
    with pytest.raises(ValueError, match=r"blocks \[1\]"):
        load_encoder(tmp_path / "gap.pth", heads=4)
    torch.save({"model": state | {"cls_token": torch.zeros(1, 1, 40)}}, tmp_path / "wide.pth")
    with pytest.raises(ValueError, match="expected"):
        load_encoder(tmp_path / "wide.pth", heads=4)
    torch.save({"model": {"weight": torch.zeros(3)}}, tmp_path / "foreign.pth")
    with pytest.raises(ValueError, match="foreign.pth: no ECG encoder.*found model.weight"):
        load_encoder(tmp_path / "foreign.pth")


def test_embedding_is_preprocessing_and_the_mean_over_windows():
    encoder = PretrainedEncoder(_encoder(window=2500, patch=100), LEADS, 500)
    signals = _signals()
    features = encoder.embed(signals, sampling_rate=500)
    ready = torch.from_numpy(np.stack([preprocess_ecg(signal, 500) for signal in signals]))
    with torch.no_grad():
        expected = (encoder(ready[..., :2500]) + encoder(ready[..., 2500:])) / 2
    np.testing.assert_allclose(features, expected.numpy(), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(encoder.embed(signals, 500, batch=1), features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(encoder.embed(signals, 500, tile=False), encoder(ready[..., :2500]).detach(), atol=1e-6)


def test_signals_may_come_in_other_units_orders_and_kinds():
    encoder = PretrainedEncoder(_encoder(window=2500, patch=100), LEADS, 500)
    signals = _signals()
    expected = encoder.embed(signals, 500)
    order = np.random.default_rng(0).permutation(12)
    shuffled = encoder.embed(1000 * signals[:, order], 500, [LEADS[k].lower() for k in order], "uV")
    np.testing.assert_allclose(shuffled, expected, rtol=1e-5, atol=1e-6)
    tensor = encoder.embed(torch.from_numpy(signals[0]), 500)
    assert torch.is_tensor(tensor) and tensor.shape == (48,)
    np.testing.assert_allclose(tensor.numpy(), expected[0], rtol=1e-5, atol=1e-6)
    assert encoder.embed(_signals(rate=250), 250).shape == (3, 48)
    assert encoder.embed(np.empty((0, 12, 5000)), 500).shape == (0, 48)


def test_an_ecg_that_cannot_be_used_is_named():
    encoder = PretrainedEncoder(_encoder(), LEADS, 500)
    with pytest.raises(ValueError, match="signal 1: .*flat"):
        encoder.embed(np.stack([_signals(1)[0], np.zeros((12, 5000))]), 500)
    with pytest.raises(ValueError, match="expected .*12 leads, samples"):
        encoder.embed(np.zeros((5000, 12)), 500)


def test_an_export_comes_back_with_all_that_it_needs(tmp_path):
    model = _encoder(window=300, patch=25, leads=2, pooling="attention")
    encoder = PretrainedEncoder(model, ("II", "V5"), 125).eval()
    path = export_encoder(encoder, tmp_path / "mine", {"data": "simulated cohort", "licence": "CC0-1.0"})
    loaded = load_encoder(path)
    assert (loaded.leads, loaded.sampling_rate, loaded.window, loaded.model.pooling) == (
        ("II", "V5"), 125, 300, "attention",
    )  # fmt: skip
    x = torch.randn(2, 2, 300)
    torch.testing.assert_close(loaded(x), encoder(x), rtol=0, atol=0)
    card = (tmp_path / "mine.md").read_text()
    assert "| licence | CC0-1.0 |" in card and "not a medical device" in card and "mine.safetensors" in card
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.md", "mine.safetensors"]


def test_our_own_checkpoints_tell_heads_and_sampling_rate(tmp_path):
    encoder = _encoder(heads=6)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors", {"heads": "6", "leads": "12", "sampling_rate": "125"})
    loaded = load_encoder(tmp_path / "weights.safetensors")
    assert loaded.sampling_rate == 125 and loaded.model.blocks[0].attn.heads == 6
    x = torch.randn(1, 12, 500)
    torch.testing.assert_close(loaded(x), encoder(x))


def test_the_transformer_fits_into_a_pipeline(tmp_path):
    encoder = PretrainedEncoder(_encoder(window=2500, patch=100), LEADS, 500)
    path = export_encoder(encoder, tmp_path / "x")
    signals, labels = _signals(8), np.arange(8) % 2
    pipeline = make_pipeline(EcgFeatures(path, unit="mV"), LogisticRegression()).fit(signals, labels)
    assert pipeline.predict_proba(signals).shape == (8, 2)
    assert pipeline[0].get_params()["sampling_rate"] == 500
    features = EcgFeatures(encoder).fit(signals).transform(signals)
    np.testing.assert_allclose(features, encoder.embed(signals, 500))

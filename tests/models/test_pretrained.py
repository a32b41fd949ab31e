"""Encoders from files of every known layout, their sizes inferred; one's own ECGs through them; export and back."""

import argparse

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from mmcl.config import ENCODERS, LEADS, CmrEncoderConfig, DecoderConfig, EcgConfig, EncoderConfig
from mmcl.data.single import preprocess_ecg
from mmcl.models.cmr_encoder import CmrEncoder, to_released
from mmcl.models.contrastive import ContrastiveModel
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.masked_autoencoder import MaskedAutoencoder
from mmcl.models.pretrained import PretrainedEncoder, export_encoder, load_encoder

CARD = {"data": "simulated cohort", "preset": "corrected", "metrics": "AUROC 0.5 | n 3", "licence": "CC0-1.0"}


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


@pytest.mark.parametrize("size", ENCODERS)
def test_published_sizes_are_inferred(tmp_path, size):
    width, depth, heads = (getattr(ENCODERS[size], name) for name in ("width", "depth", "heads"))
    encoder = _encoder(width, depth, heads, window=2500, patch=100)
    torch.save({"model": _released(encoder), "args": torch.device("cpu")}, tmp_path / "signal.pth")
    loaded = load_encoder(tmp_path / "signal.pth")
    assert (loaded.width, len(loaded.model.blocks), loaded.model.blocks[0].attn.heads) == (width, depth, heads)
    assert (loaded.window, loaded.sampling_rate, loaded.leads) == (2500, 500, LEADS)
    x = torch.randn(2, 12, 2500)
    torch.testing.assert_close(loaded(x), encoder(x))
    torch.testing.assert_close(loaded.tokens(x), encoder.tokens(x))
    assert not loaded.training and loaded.tokens(x).shape == (2, 300, width)


@pytest.mark.filterwarnings("ignore:the file names none")
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
    back = load_encoder(tmp_path / "x.pth", heads=4, leads=LEADS[::-1])
    torch.testing.assert_close(back.model.pos_embed[0, 1:].unflatten(0, (12, -1)), own.flip(0), rtol=0, atol=0)
    both = load_encoder(tmp_path / "x.pth", heads=4, leads=["V1", "II"], window=700)
    resized = F.interpolate(own[[6, 1]].permute(2, 0, 1)[None], (2, 14), mode="bicubic")[0].permute(1, 2, 0)
    torch.testing.assert_close(both.model.pos_embed[0, 1:].unflatten(0, (2, 14)), resized)


def test_leads_that_an_encoder_does_not_know_lie_between_those_that_it_knows(tmp_path):
    model = _encoder(leads=3)
    path = export_encoder(PretrainedEncoder(model, ("V6", "I", "V2"), 500), tmp_path / "x")
    wider = load_encoder(path, leads=["I", "V2", "V3", "V6", "aVR"])
    v6, one, v2 = model.pos_embed[0, 1:].unflatten(0, (3, -1))
    expected = torch.stack([one, v2, 0.75 * v2 + 0.25 * v6, v6, one + 3 / 7 * (v2 - one)])
    torch.testing.assert_close(wider.model.pos_embed[0, 1:].unflatten(0, (5, -1)), expected)


def test_a_file_of_fewer_leads_that_does_not_name_them(tmp_path):
    encoder = _encoder(leads=3)
    torch.save({"model": _released(encoder)}, tmp_path / "x.pth")
    with pytest.warns(UserWarning, match="none of its 3 leads: taken as I II III; give leads="):
        assert load_encoder(tmp_path / "x.pth", heads=4).leads == ("I", "II", "III")
    named = load_encoder(tmp_path / "x.pth", heads=4, leads=["V5", "II", "V1"])
    torch.testing.assert_close(named.model.pos_embed, encoder.pos_embed, rtol=0, atol=0)
    with pytest.warns(UserWarning, match="none of its 3 leads: resampled"):
        resampled = load_encoder(tmp_path / "x.pth", heads=4, leads=["I", "II"], window=700)
    assert resampled(torch.randn(1, 2, 700)).shape == (1, 48)


@pytest.mark.parametrize("name", ["signal_encoder_mdm", "signal_encoder_mmcl", "signal_encoder_mmcl_wo_mdm"])
def test_the_released_signal_files(tmp_path, name):
    """As method section 10 describes them; the MDM file holds its decoder and the options of its training besides."""
    torch.manual_seed(0)
    model = MaskedAutoencoder(EcgConfig(), EncoderConfig(), DecoderConfig()).eval()
    content = {"model": model.encoder.state_dict()}
    if name == "signal_encoder_mdm":
        content["model"] |= {k: v for k, v in model.state_dict().items() if not k.startswith("encoder.")}
        options = argparse.Namespace(model="mae_vit", output_dir=tmp_path, device=torch.device("cuda"))
        content |= {"args": options, "epoch": 399, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}}
    torch.save(content, tmp_path / f"{name}.pth")
    loaded = load_encoder(tmp_path / f"{name}.pth")
    x = torch.randn(1, 12, 2500)
    assert (loaded.width, loaded.window, loaded.model.patch, loaded.leads) == (384, 2500, 100, LEADS)
    torch.testing.assert_close(loaded.tokens(x), model.encoder.tokens(x))
    torch.testing.assert_close(loaded(x), F.layer_norm(model.encoder.tokens(x).mean(1), (384,), eps=1e-6))
    by_class = load_encoder(tmp_path / f"{name}.pth", pooling="class")
    torch.testing.assert_close(by_class(x), model.encoder(x))


def test_lightning_checkpoints_with_all_that_they_carry(tmp_path):
    cmr = CmrEncoder(CmrEncoderConfig("basic", (1, 1, 1, 1), (8, 8, 8, 8))).eval()
    model = ContrastiveModel(_encoder(), cmr, hidden=16, projection=8)
    optimiser = torch.optim.AdamW(model.parameters())
    model.project_ecg(torch.randn(2, 12, 500)).sum().backward()
    optimiser.step()
    checkpoint = {
        "state_dict": {f"model.{name}": value for name, value in model.state_dict().items()},
        "optimizer_states": [optimiser.state_dict()],
        "callbacks": {"ModelCheckpoint": {"best_model_path": str(tmp_path), "best_model_score": torch.tensor(0.1)}},
        "hyper_parameters": argparse.Namespace(lr=1e-3, path=tmp_path),
        "mmcl": {"heads": 4, "leads": 12, "sampling_rate": 125},
    }
    torch.save(checkpoint, tmp_path / "last.ckpt")
    loaded = load_encoder(tmp_path / "last.ckpt")
    x, images = torch.randn(1, 12, 500), torch.rand(1, 3, 48, 48)
    torch.testing.assert_close(loaded(x), model.encoder_ecg.eval()(x))
    assert loaded.sampling_rate == 125
    torch.testing.assert_close(load_encoder(tmp_path / "last.ckpt", modality="cmr")(images), cmr(images))


def test_errors_say_what_was_expected_and_found(tmp_path):
    state = _released(_encoder())
    torch.save({"model": state}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="width 48.*give heads="):
        load_encoder(tmp_path / "x.pth")
    with pytest.raises(ValueError, match="divisor of the width, 48"):
        load_encoder(tmp_path / "x.pth", heads=5)
    with pytest.raises(ValueError, match="x.pth: no CMR encoder.*found model.cls_token"):
        load_encoder(tmp_path / "x.pth", modality="cmr")
    for leads, name in ((["V9"], "V9"), (["II", "ii"], "ii")):
        with pytest.raises(ValueError, match=f"lead '{name}': expected each once of I, II"):
            load_encoder(tmp_path / "x.pth", heads=4, leads=leads)
    with pytest.raises(ValueError, match="window 520: expected a multiple of the patch, 50"):
        load_encoder(tmp_path / "x.pth", heads=4, window=520)
    with pytest.raises(ValueError, match="leads 7: expected a divisor"):
        load_encoder(tmp_path / "x.pth", heads=4, source_leads=7)
    torch.save({"model": state | {"cls_token": torch.full((1, 1, 48), torch.nan)}}, tmp_path / "nan.pth")
    with pytest.raises(ValueError, match="nan.pth: model.cls_token: expected finite"):
        load_encoder(tmp_path / "nan.pth", heads=4)
    cmr = CmrEncoder(CmrEncoderConfig("basic", (1, 1, 1, 1), (8, 8, 8, 8)))
    torch.save(to_released(cmr.state_dict()), tmp_path / "cmr.pth")
    with pytest.raises(ValueError, match="a CMR encoder and window, leads: expected none"):
        load_encoder(tmp_path / "cmr.pth", window=500, leads=["I"])
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
    path = export_encoder(encoder, tmp_path / "mine", CARD)
    loaded = load_encoder(path)
    assert (loaded.leads, loaded.sampling_rate, loaded.window, loaded.model.pooling) == (
        ("II", "V5"), 125, 300, "attention",
    )  # fmt: skip
    x = torch.randn(2, 2, 300)
    torch.testing.assert_close(loaded(x), encoder(x), rtol=0, atol=0)
    card = (tmp_path / "mine.md").read_text()
    for row in ("data | simulated cohort", "preset | corrected", r"metrics | AUROC 0.5 \| n 3", "licence | CC0-1.0"):
        assert f"| {row} |\n" in card
    assert "Research on" in card and "not a medical device" in card and "mine.safetensors" in card
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.md", "mine.safetensors"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("heads", "0"), ("heads", "-4"), ("leads", "x"), ("sampling_rate", "999"), ("pooling", "max"), ("card", "["),
     ("lead_names", "{}"), ("lead_names", "[1]"), ("lead_names", '["II", "II"]')],
)  # fmt: skip
def test_metadata_that_cannot_be_are_named(tmp_path, name, value):
    save_file(_encoder().state_dict(), tmp_path / "odd.safetensors", {"heads": "4"} | {name: value})
    word = {"sampling_rate": "sampling rate", "lead_names": "lead"}.get(name, name)
    with pytest.raises(ValueError, match=rf"odd.safetensors: .*{word}.*expected"):
        load_encoder(tmp_path / "odd.safetensors")


def test_a_card_says_what_it_must_or_is_refused(tmp_path):
    encoder = PretrainedEncoder(_encoder(), LEADS, 500)
    for lacking in CARD:
        with pytest.raises(ValueError, match=f"a model card without {lacking}: expected data, preset, metrics, lic"):
            export_encoder(encoder, tmp_path / "x", {key: value for key, value in CARD.items() if key != lacking})
    assert not list(tmp_path.iterdir())
    path = export_encoder(encoder, tmp_path / "v0.1")
    assert path.name == "v0.1.safetensors" and "| licence | not stated |" in (tmp_path / "v0.1.md").read_text()
    kept = export_encoder(load_encoder(export_encoder(encoder, tmp_path / "a", CARD)), tmp_path / "b")
    assert load_encoder(kept).card == CARD
    with pytest.raises(ValueError, match="of type EcgEncoder: expected what load_encoder gives"):
        export_encoder(encoder.model, tmp_path / "c", CARD)


def test_our_own_checkpoints_tell_heads_and_sampling_rate(tmp_path):
    encoder = _encoder(heads=6)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors", {"heads": "6", "leads": "12", "sampling_rate": "125"})
    loaded = load_encoder(tmp_path / "weights.safetensors")
    assert loaded.sampling_rate == 125 and loaded.model.blocks[0].attn.heads == 6
    x = torch.randn(1, 12, 500)
    torch.testing.assert_close(loaded(x), encoder(x))


def test_an_encoder_of_two_norms_embeds_as_it_was_used_in_its_run(tmp_path):
    model = EcgEncoder(EcgConfig(), EncoderConfig(), single_fc_norm=False).eval()
    torch.nn.init.normal_(model.fc_norm.weight)
    torch.nn.init.normal_(model.fc_norm.bias)
    facts = {"heads": 6, "leads": 12, "sampling_rate": 500, "norms": 2}
    torch.save({"model": model.state_dict(), "mmcl": facts}, tmp_path / "twice.pth")
    ecg = torch.randn(2, 12, 2500, generator=torch.Generator().manual_seed(0))
    loaded = load_encoder(tmp_path / "twice.pth")
    exported = load_encoder(export_encoder(loaded, tmp_path / "exported"))
    with torch.no_grad():
        assert torch.equal(loaded(ecg), model(ecg)) and torch.equal(exported(ecg), model(ecg))


def test_attention_pooling_that_a_file_lacks_is_told_and_disturbs_no_random_number(tmp_path):
    torch.save({"model": EcgEncoder(EcgConfig(), EncoderConfig()).state_dict()}, tmp_path / "mean.pth")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with pytest.warns(UserWarning, match="no attention pooling"):
        load_encoder(tmp_path / "mean.pth", pooling="attention")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    "options", [{"window": 0}, {"window": -100}, {"window": 2500.0}, {"window": 10_000}, {"leads": []}]
)
def test_options_that_no_encoder_can_have_are_refused_with_the_file(tmp_path, options):
    torch.save({"model": EcgEncoder(EcgConfig(), EncoderConfig()).state_dict()}, tmp_path / "mean.pth")
    with pytest.raises(ValueError, match=r"mean\.pth.*expected"):
        load_encoder(tmp_path / "mean.pth", **options)

"""The networks at every published size, pooling, window and subset of leads equal an oracle that shares no code.

The oracle is the method (section 5) written out in float64 NumPy; it reproduces the published numbers too, where the
folder `shared` is at hand, so that it stands in for them where they are not and at the sizes that they do not cover.
"""

import math
from unittest import mock

import numpy as np
import pytest
import torch
from scipy.special import erf

from mmcl.config import ENCODERS, LEADS, DecoderConfig, EcgConfig, EncoderConfig
from mmcl.losses.mdm import mdm_loss
from mmcl.models.ecg_encoder import POOLINGS, EcgEncoder
from mmcl.models.masked_autoencoder import MaskedAutoencoder

# (leads, window, patch): several windows and patches, and fewer leads down to one.
GRIDS = [(12, 300, 100), (12, 100, 25), (8, 400, 100), (3, 350, 50), (1, 1000, 200)]
DECODER = DecoderConfig()
COVERED = {
    "clip_a.npz", "cmr_resnet50_84.npz", "ecg_preprocessed.npz", "encoder_small_gap.npz", "encoder_small_gap.pth",
    "localisation.npz", "mdm_small.npz",
}  # fmt: skip
"""Files of the conformance folder that a test reads."""


# ---- the oracle: plain NumPy, one sample and one head at a time


def layer_norm(x, w, name):
    centred = x - x.mean(axis=-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x, w, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def attend(query, key, value, heads):
    """(queries, width), (keys, width) twice -> (queries, width), each head on its own stretch of the width."""
    d = query.shape[1] // heads
    parts = [slice(h * d, (h + 1) * d) for h in range(heads)]
    return np.hstack([softmax(query[:, p] @ key[:, p].T / math.sqrt(d)) @ value[:, p] for p in parts])


def run_blocks(x, w, prefix, depth, heads):
    for i in range(depth):
        b = f"{prefix}.{i}"
        query, key, value = np.split(linear(layer_norm(x, w, f"{b}.norm1"), w, f"{b}.attn.qkv"), 3, axis=1)
        x = x + linear(attend(query, key, value, heads), w, f"{b}.attn.proj")
        hidden = linear(layer_norm(x, w, f"{b}.norm2"), w, f"{b}.mlp.fc1")
        x = x + linear(hidden * (1 + erf(hidden / math.sqrt(2))) / 2, w, f"{b}.mlp.fc2")
    return x


def encode(ecg, w, size, patch, keep=None):
    """(leads, window) -> class token and (kept) patch tokens after the last block, (1 + tokens, width)."""
    patches = np.array([lead[s : s + patch] for lead in ecg for s in range(0, len(lead), patch)])
    x = patches @ w["patch_embed.proj.weight"][:, 0, 0].T + w["patch_embed.proj.bias"] + w["pos_embed"][0, 1:]
    x = x if keep is None else x[keep]
    x = np.vstack([w["cls_token"][0] + w["pos_embed"][0, :1], x])
    return run_blocks(x, w, "blocks", size.depth, size.heads)


def pool(x, w, pooling, heads):
    if pooling == "class":
        return layer_norm(x[0], w, "norm")
    tokens = x[1:]
    mean = tokens.mean(axis=0)
    if pooling == "attention":
        stretches = zip(
            np.split(w["attention_pool.in_proj_weight"], 3), np.split(w["attention_pool.in_proj_bias"], 3), strict=True
        )
        projected = [a @ m.T + b for a, (m, b) in zip((mean[None], tokens, tokens), stretches, strict=True)]
        mean = linear(attend(*projected, heads), w, "attention_pool.out_proj")[0]
    return layer_norm(mean, w, "fc_norm")


def sin_cos(width, rows, columns):
    """Method section 5, rounded to the float32 in which the models hold it; the class token's row is 0."""
    frequency = 10000.0 ** -(np.arange(width // 4) / (width / 4))
    table = [np.zeros(width)]
    for row in range(rows):
        for column in range(columns):
            a, b = column * frequency, row * frequency
            table.append(np.concatenate([np.sin(a), np.cos(a), np.sin(b), np.cos(b)]))
    return np.float32(table).astype(np.float64)[None]


def autoencode(ecg, noise, w, size, decoder, patch, kept):
    """Prediction (tokens, patch), mask (tokens,) and latent (1 + kept, width) of one ECG."""
    keep = np.argsort(noise, kind="stable")[:kept]
    latent = layer_norm(encode(ecg, w, size, patch, keep), w, "norm")
    embedded = linear(latent, w, "decoder_embed")
    x = np.repeat(w["mask_token"][0], 1 + len(noise), axis=0)
    x[0], x[1 + keep] = embedded[0], embedded[1:]
    x = run_blocks(x + w["decoder_pos_embed"][0], w, "decoder_blocks", decoder.depth, decoder.heads)
    prediction = linear(layer_norm(x, w, "decoder_norm"), w, "decoder_pred")[1:]
    mask = np.ones(len(noise))
    mask[keep] = 0
    return prediction, mask, latent


def published_loss(ecg, prediction, ncc_weight=0.1):
    """0.9 MSE over all patches + 0.1 (1 - NCC) of a batch (n, leads, window), method section 6."""
    error = ((prediction - ecg) ** 2).sum() / (ecg.size + 1e-5)
    standard = [(a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, ddof=1, keepdims=True) + 1e-12)
                for a in (ecg, prediction)]  # fmt: skip
    ncc = (standard[0] * standard[1]).sum(-1).mean() / (ecg.shape[-1] - 1)
    return (1 - ncc_weight) * error + ncc_weight * (1 - ncc)


# ---- models with the weights of the recipe


def build(make):
    """A model without initial weights, which would take longer than the test."""
    names = ("kaiming_uniform_", "xavier_uniform_", "uniform_", "zeros_")
    patches = [mock.patch(f"torch.nn.init.{name}", lambda tensor, *_, **__: tensor) for name in names]
    for patch in patches:
        patch.start()
    try:
        return make().eval()
    finally:
        for patch in patches:
            patch.stop()


def weighted(model, recipe, cache):
    """`model` in float64 with the recipe's weights, and those as arrays by released name."""
    state = {}
    for name, value in model.state_dict().items():
        released = name.removeprefix("encoder.")
        if released.endswith("pos_embed") and isinstance(model, MaskedAutoencoder):
            state[name] = value.double()
        else:
            key = released, tuple(value.shape)
            if key not in cache:
                cache[key] = recipe(released, value).double()
            state[name] = cache[key]
    model.double().load_state_dict(state, assign=True)
    return model, {name.removeprefix("encoder."): value.numpy() for name, value in state.items()}


@pytest.fixture(scope="module", params=ENCODERS)
def size(request):
    """A published size, and the recipe's weights drawn once for it."""
    return ENCODERS[request.param], {}


def close(found, expected, rtol=1e-9):
    found = found.detach().numpy() if torch.is_tensor(found) else found
    assert found.shape == expected.shape and found.dtype == expected.dtype
    assert np.abs(found - expected).max() < rtol * np.abs(expected).max()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_encoder_at_every_size_pooling_window_and_number_of_leads(size, grid, recipe):
    config, cache = size
    leads, window, patch = grid
    ecg = np.random.default_rng(1).standard_normal((2, leads, window))
    expected = None
    for pooling in POOLINGS:
        model = build(lambda p=pooling: EcgEncoder(EcgConfig(window=window, patch=patch), config, p, leads=leads))
        model, weights = weighted(model, recipe, cache)
        if expected is None:
            expected = np.stack([encode(one, weights, config, patch) for one in ecg])
            with torch.no_grad():
                close(model.tokens(torch.from_numpy(ecg)), expected[:, 1:])
        with torch.no_grad():
            features = model(torch.from_numpy(ecg))
        close(features, np.stack([pool(x, weights, pooling, config.heads) for x in expected]))


def test_encoder_on_the_published_grid(recipe):
    config, ecg = ENCODERS["tiny"], np.random.default_rng(2).standard_normal((1, len(LEADS), 2500))
    model, weights = weighted(build(lambda: EcgEncoder(EcgConfig(), config)), recipe, {})
    expected = encode(ecg[0], weights, config, 100)
    with torch.no_grad():
        close(model.tokens(torch.from_numpy(ecg))[0], expected[1:])
        close(model(torch.from_numpy(ecg))[0], pool(expected, weights, "mean", config.heads))


@pytest.mark.parametrize("grid", [(12, 300, 100), (8, 150, 25), (1, 1000, 100)], ids=str)
def test_masked_autoencoder_at_every_size(size, grid, recipe):
    config, cache = size
    leads, window, patch = grid
    random = np.random.default_rng(3)
    tokens = leads * window // patch
    ecg, noise = random.standard_normal((2, leads, window)), random.random((2, tokens))
    shape = EcgConfig(window=window, patch=patch)
    model, weights = weighted(build(lambda: MaskedAutoencoder(shape, config, DECODER, leads=leads)), recipe, cache)
    np.testing.assert_array_equal(weights["pos_embed"], sin_cos(config.width, leads, window // patch))
    np.testing.assert_array_equal(weights["decoder_pos_embed"], sin_cos(DECODER.width, leads, window // patch))
    kept = round(tokens * 0.2)
    expected = [autoencode(*pair, weights, config, DECODER, patch, kept) for pair in zip(ecg, noise, strict=True)]
    prediction, mask, latent = (np.stack(part) for part in zip(*expected, strict=True))
    with torch.no_grad():
        found = model(torch.from_numpy(ecg), noise=torch.from_numpy(noise))
        close(found.prediction, prediction)
        close(found.latent, latent)
        loss = mdm_loss(torch.from_numpy(ecg), found.prediction).item()
        whole = model.encode(torch.from_numpy(ecg[:1]))[0]
    np.testing.assert_array_equal(found.mask, mask)
    assert loss == pytest.approx(published_loss(ecg, prediction.reshape(ecg.shape)), rel=1e-9)
    close(whole, layer_norm(encode(ecg[0], weights, config, patch), weights, "norm"))


# ---- the oracle and the published numbers


def test_every_file_of_the_conformance_folder_is_read_by_a_test(shared):
    assert {path.name for path in (shared / "conformance").iterdir()} - {"README.md"} == COVERED


def test_the_oracle_reproduces_the_published_encoder(shared, recipe):
    folder = shared / "conformance"
    numbers = np.load(folder / "encoder_small_gap.npz", allow_pickle=False)
    state = torch.load(folder / "encoder_small_gap.pth", weights_only=True)["model"]
    weights = {name: value.double().numpy() for name, value in state.items()}
    for name in ("fc_norm.weight", "fc_norm.bias"):
        weights[name] = recipe(name, torch.empty(48)).double().numpy()
    config = EncoderConfig(width=48, depth=2, heads=4)
    tokens = np.stack([encode(x[0].astype(np.float64), weights, config, 100) for x in numbers["x"]])
    close(tokens[:, 1:], numbers["tokens"].astype(np.float64), 1e-6)
    features = np.stack([pool(x, weights, "mean", 4) for x in tokens])
    close(features, numbers["features"].astype(np.float64), 1e-6)


def test_the_oracle_reproduces_the_published_autoencoder(shared, recipe):
    numbers = np.load(shared / "conformance" / "mdm_small.npz", allow_pickle=False)
    config, decoder = EncoderConfig(width=48, depth=2, heads=4), DecoderConfig(width=32, depth=1, heads=4)
    _, weights = weighted(build(lambda: MaskedAutoencoder(EcgConfig(), config, decoder)), recipe, {})
    ecg = numbers["x"][:, 0].astype(np.float64)
    pairs = zip(ecg, numbers["noise"], strict=True)
    expected = [autoencode(*pair, weights, config, decoder, 100, 59) for pair in pairs]
    prediction, mask, latent = (np.stack(part) for part in zip(*expected, strict=True))
    np.testing.assert_array_equal(mask, numbers["mask"])
    close(prediction, numbers["pred"].astype(np.float64), 1e-6)
    close(latent, numbers["latent"].astype(np.float64), 1e-6)
    assert published_loss(ecg, prediction.reshape(ecg.shape)) == pytest.approx(float(numbers["loss"]), rel=1e-6)

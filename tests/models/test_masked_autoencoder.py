import numpy as np
import pytest
import torch

from mmcl.config import DecoderConfig, EcgConfig, EncoderConfig
from mmcl.losses.mdm import mdm_loss
from mmcl.models.masked_autoencoder import MaskedAutoencoder, kept_tokens

ECG = EcgConfig(sampling_rate=125, window=100, patch=25)
SMALL = EncoderConfig(width=32, depth=2, heads=4)
DECODER = DecoderConfig(width=16, depth=1, heads=4)


def test_published_autoencoder_is_reproduced(shared, recipe):
    """Mask, latent, prediction, loss and the unmasked encoding of the published code (59 of 300 tokens), to 1e-5."""
    numbers = np.load(shared / "conformance" / "mdm_small.npz", allow_pickle=False)
    model = MaskedAutoencoder(
        EcgConfig(),
        EncoderConfig(width=48, depth=2, heads=4),
        DecoderConfig(width=32, depth=1, heads=4),
        mask_ratio=0.8,
        round_kept_tokens=False,
    )
    state = {
        name: value if name.endswith("pos_embed") else recipe(name.removeprefix("encoder."), value)
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    ecg = torch.from_numpy(numbers["x"]).squeeze(1)
    with torch.no_grad():
        prediction, mask, latent = model(ecg, noise=torch.from_numpy(numbers["noise"]))
        found = {"pred": prediction, "latent": latent, "full": model.encode(ecg), "loss": mdm_loss(ecg, prediction)}
    assert np.array_equal(mask, numbers["mask"])
    for name, value in found.items():
        expected = torch.from_numpy(numbers[name])
        assert value.shape == expected.shape
        assert (value - expected).abs().max() < 1e-5 * expected.abs().max(), name


def test_corrected_keeps_sixty_of_three_hundred_where_the_published_code_keeps_fifty_nine():
    assert kept_tokens(300, 0.8, rounded=True) == 60
    assert kept_tokens(300, 0.8, rounded=False) == 59
    with pytest.raises(ValueError, match="keeps 0"):
        kept_tokens(300, 0.999)


def test_decoder_has_the_published_number_of_parameters():
    model = MaskedAutoencoder(EcgConfig(), EncoderConfig(), DecoderConfig())
    decoder = (p for name, p in model.named_parameters() if not name.startswith("encoder.") and p.requires_grad)
    assert sum(p.numel() for p in decoder) == pytest.approx(1.70e6, rel=5e-3)


def test_the_prediction_depends_on_kept_patches_alone():
    model = MaskedAutoencoder(ECG, SMALL, DECODER)
    ecg, noise = torch.randn(2, 12, 100), torch.rand(2, 48)
    with torch.no_grad():
        prediction, mask, _ = model(ecg, noise)
        assert mask.sum(dim=1).tolist() == [38.0, 38.0]
        hidden = mask[:, :, None].expand(-1, -1, 25).reshape(ecg.shape)
        unseen = model(ecg + 5.0 * hidden, noise).prediction
        seen = model(ecg + 5.0 * (1 - hidden), noise).prediction
    assert torch.equal(unseen, prediction)
    assert not torch.allclose(seen, prediction)


def test_decoding_puts_each_latent_token_in_its_place():
    """Against the shuffle and gather of the original masked autoencoder."""
    model = MaskedAutoencoder(ECG, SMALL, DECODER)
    noise, latent = torch.rand(2, 48), torch.randn(2, 11, 32)
    order = noise.argsort(dim=1)
    with torch.no_grad():
        x = model.decoder_embed(latent)
        shuffled = torch.cat([x[:, 1:], model.mask_token.expand(2, 38, -1)], dim=1)
        restored = shuffled.gather(1, order.argsort(dim=1)[:, :, None].expand(-1, -1, 16))
        x = torch.cat([x[:, :1], restored], dim=1) + model.decoder_pos_embed
        for block in model.decoder_blocks:
            x = block(x)
        expected = model.decoder_pred(model.decoder_norm(x))[:, 1:]
        torch.testing.assert_close(model.decode(latent, order[:, :10]), expected)


def test_a_generator_makes_the_mask():
    model = MaskedAutoencoder(ECG, SMALL, DECODER)
    ecg = torch.randn(2, 12, 100)
    masks = [model(ecg, generator=torch.Generator().manual_seed(seed)).mask for seed in (0, 0, 1)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_one_batch_can_be_overfitted():
    torch.manual_seed(0)
    model = MaskedAutoencoder(ECG, SMALL, DECODER, mask_ratio=0.5)
    time = torch.arange(100) / 25.0
    ecg = torch.stack([torch.sin(2 * torch.pi * (time * f + lead / 12)) for f in (1, 2, 3, 4) for lead in range(12)])
    ecg, noise = ecg.view(4, 12, 100), torch.rand(4, 48)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(120):
        optimiser.zero_grad()
        loss = mdm_loss(ecg, model(ecg, noise).prediction)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmcl.config import EcgConfig, EncoderConfig
from mmcl.models.ecg_encoder import POOLINGS, EcgEncoder, load_pretrained

ECG = EcgConfig(sampling_rate=125, window=100, patch=25)
SMALL = EncoderConfig(width=16, depth=2, heads=4)


def test_published_encoder_is_reproduced(shared, recipe):
    """From the released file layout to features and tokens, to a relative 1e-5."""
    folder = shared / "conformance"
    numbers = np.load(folder / "encoder_small_gap.npz", allow_pickle=False)
    encoder = EcgEncoder(EcgConfig(), EncoderConfig(width=48, depth=2, heads=4), pooling="mean")
    load_pretrained(encoder, torch.load(folder / "encoder_small_gap.pth", weights_only=True)["model"])
    norm = encoder.fc_norm
    norm.load_state_dict({name: recipe(f"fc_norm.{name}", value) for name, value in norm.state_dict().items()})
    ecg = torch.from_numpy(numbers["x"]).squeeze(1)
    with torch.no_grad():
        for ours, name in ((encoder(ecg), "features"), (encoder.tokens(ecg), "tokens")):
            expected = torch.from_numpy(numbers[name])
            assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()


def test_tiny_has_the_published_number_of_parameters():
    encoder = EcgEncoder(EcgConfig(), EncoderConfig(), pooling="class", trainable_position=False)
    assert sum(p.numel() for p in encoder.parameters() if p.requires_grad) == pytest.approx(5.36e6, rel=1e-3)


def test_patch_embedding_equals_the_convolution_that_its_weights_are_of():
    encoder = EcgEncoder(ECG, SMALL)
    ecg = torch.randn(3, 12, 100)
    proj = encoder.patch_embed.proj
    assert proj.weight.shape == (16, 1, 1, 25)
    torch.testing.assert_close(encoder.patch_embed(encoder.patches(ecg)), proj(ecg[:, None]).flatten(2).transpose(1, 2))


def test_embedding_of_kept_tokens_is_part_of_the_whole():
    encoder = EcgEncoder(ECG, SMALL)
    torch.nn.init.normal_(encoder.pos_embed)
    patches = encoder.patches(torch.randn(2, 12, 100))
    keep = torch.stack([torch.randperm(48)[:9] for _ in range(2)])
    whole, part = encoder.embed(patches), encoder.embed(patches, keep)
    torch.testing.assert_close(part[:, 0], whole[:, 0])
    torch.testing.assert_close(whole[:, 0], (encoder.cls_token[0] + encoder.pos_embed[0, :1]).expand(2, -1))
    for sample in range(2):
        torch.testing.assert_close(part[sample, 1:], whole[sample, 1:][keep[sample]])


def test_poolings_as_defined():
    ecg = torch.randn(2, 12, 100)
    for pooling in POOLINGS:
        encoder = EcgEncoder(ECG, SMALL, pooling=pooling).eval()
        sequence = encoder.sequence(ecg)
        tokens = sequence[:, 1:]
        if pooling == "class":
            expected = F.layer_norm(sequence[:, 0], (16,), eps=1e-6)
        elif pooling == "mean":
            expected = F.layer_norm(tokens.mean(dim=1), (16,), eps=1e-6)
        else:
            pool = encoder.attention_pool
            query, key, value = (
                F.linear(x, w, b).unflatten(-1, (4, 4)).transpose(1, 2)
                for x, w, b in zip(
                    (tokens.mean(dim=1, keepdim=True), tokens, tokens),
                    pool.in_proj_weight.chunk(3),
                    pool.in_proj_bias.chunk(3),
                    strict=True,
                )
            )
            pooled = (query @ key.transpose(2, 3) / 2).softmax(-1) @ value
            expected = F.layer_norm(pool.out_proj(pooled.transpose(1, 2).flatten(1)), (16,), eps=1e-6)
        torch.testing.assert_close(encoder(ecg), expected)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_the_published_norm_is_applied_a_second_time(pooling):
    encoders = [EcgEncoder(ECG, SMALL, pooling=pooling, single_fc_norm=single).eval() for single in (True, False)]
    torch.nn.init.normal_(encoders[0].fc_norm.weight, mean=1.0)
    torch.nn.init.normal_(encoders[0].fc_norm.bias)
    encoders[1].load_state_dict(encoders[0].state_dict())
    ecg = torch.randn(3, 12, 100)
    once, twice = (encoder(ecg) for encoder in encoders)
    torch.testing.assert_close(twice, encoders[0].fc_norm(once))
    assert (once - twice).abs().max() > 0.1


def test_attention_of_the_last_block_is_what_the_block_uses():
    encoder = EcgEncoder(ECG, SMALL).eval()
    ecg = torch.randn(2, 12, 100)
    weights = encoder.attention(ecg)
    assert weights.shape == (2, 4, 49, 49)
    x = encoder.blocks[0](encoder.embed(encoder.patches(ecg)))
    last = encoder.blocks[1]
    value = last.attn.qkv(last.norm1(x))[:, :, 32:].unflatten(2, (4, 4)).transpose(1, 2)
    attended = last.attn.proj((weights @ value).transpose(1, 2).flatten(2))
    y = x + attended
    torch.testing.assert_close(y + last.mlp(last.norm2(y)), encoder.sequence(ecg))


def test_drop_path_rises_along_the_blocks():
    encoder = EcgEncoder(ECG, EncoderConfig(width=16, depth=3, heads=4), drop_path=0.2)
    assert [round(b.drop_path.probability, 6) for b in encoder.blocks] == [0.0, 0.1, 0.2]


def test_pretrained_weights_fit_another_window_and_fewer_leads():
    source = EcgEncoder(ECG, SMALL, pooling="class")
    state = source.state_dict() | {"decoder_embed.weight": torch.zeros(3)}
    target = EcgEncoder(EcgConfig(sampling_rate=125, window=200, patch=25), SMALL, leads=6)
    load_pretrained(target, state)
    assert target.pos_embed.shape == (1, 1 + 6 * 8, 16)
    assert torch.equal(target.blocks[1].mlp.fc1.weight, source.blocks[1].mlp.fc1.weight)
    assert target(torch.randn(2, 6, 200)).shape == (2, 16)


def test_the_published_resampling_changes_the_window_and_refuses_other_leads():
    state = EcgEncoder(ECG, SMALL).state_dict()
    longer = EcgConfig(sampling_rate=125, window=200, patch=25)
    both, time = EcgEncoder(longer, SMALL), EcgEncoder(longer, SMALL)
    load_pretrained(both, state)
    load_pretrained(time, state, both_axes=False)
    torch.testing.assert_close(time.pos_embed, both.pos_embed)
    with pytest.raises(ValueError, match="12 leads for 6: without the choice interpolate_both_axes"):
        load_pretrained(EcgEncoder(ECG, SMALL, leads=6), state, both_axes=False)
    load_pretrained(EcgEncoder(ECG, SMALL, leads=6), state)


def test_weights_that_lack_or_misfit_are_named():
    state = EcgEncoder(ECG, SMALL).state_dict()
    lacking = {name: value for name, value in state.items() if name != "blocks.1.attn.qkv.bias"}
    with pytest.raises(ValueError, match=r"lacks blocks\.1\.attn\.qkv\.bias"):
        load_pretrained(EcgEncoder(ECG, SMALL), lacking)
    with pytest.raises(ValueError, match=r"patch_embed\.proj\.weight is \(16, 1, 1, 25\), expected \(16, 1, 1, 50\)"):
        load_pretrained(EcgEncoder(EcgConfig(window=200, patch=50), SMALL), state)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"\(2, 12, 99\).*\(batch, 12, 100\)"):
        EcgEncoder(ECG, SMALL)(torch.zeros(2, 12, 99))
    with pytest.raises(ValueError, match="pooling 'max'"):
        EcgEncoder(ECG, SMALL, pooling="max")
    with pytest.raises(ValueError, match="multiple of the patch"):
        EcgEncoder(EcgConfig(window=110, patch=25), SMALL)

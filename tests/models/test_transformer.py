import pytest
import torch

from mmcl.models.transformer import Attention, Block, DropPath


def test_attention_equals_its_weights_times_the_values():
    attention = Attention(16, 4)
    x = torch.randn(2, 7, 16)
    weights = attention.weights(x)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 4, 7))
    value = attention.qkv(x)[:, :, 32:].view(2, 7, 4, 4).transpose(1, 2)
    torch.testing.assert_close(attention(x), attention.proj((weights @ value).transpose(1, 2).reshape(2, 7, 16)))


def test_drop_path_keeps_the_expectation_and_drops_whole_samples():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    y = drop(torch.ones(4000, 3, 2))
    per_sample = y.flatten(1)
    assert (per_sample == per_sample[:, :1]).all()
    assert sorted(set(per_sample[:, 0].tolist())) == pytest.approx([0.0, 4 / 3])
    assert abs(per_sample.mean().item() - 1.0) < 0.05
    drop.eval()
    assert torch.equal(drop(y), y)


def test_a_dropped_block_is_the_identity():
    torch.manual_seed(0)
    block = Block(8, 2, drop_path=0.999)
    x = torch.randn(2, 3, 8)
    assert torch.equal(block(x), x)
    assert not torch.equal(block.eval()(x), x)


def test_impossible_sizes_are_named():
    with pytest.raises(ValueError, match="multiple of the 3 heads"):
        Attention(16, 3)
    with pytest.raises(ValueError, match="0 <= p < 1"):
        DropPath(1.0)

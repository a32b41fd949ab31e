"""Operations and bytes of a step against those worked out by hand, and the least time that follows."""

import pytest
import torch

from mmcl.profiles import profile
from tests.benchmarks.roofline import Cost, Hardware, counted, pretraining_cost, stored_batch


def test_a_product_is_counted_and_a_view_is_not():
    x, y = torch.ones(8, 16), torch.ones(16, 4)
    operations, elements, every_byte = counted(lambda: x @ y)
    assert (operations, elements) == (2 * 8 * 16 * 4, 8 * 16 + 16 * 4 + 8 * 4)
    assert every_byte == 4 * elements
    assert counted(lambda: x.view(16, 8).T[:2]).tolist() == [0, 0, 0]
    assert counted(lambda: x + x).tolist() == [0, 0, 3 * 4 * 8 * 16]


def block(tokens, width):
    """Operations of one transformer block, forward: four layers of 12 width^2 weights, and attention."""
    return 2 * tokens * 12 * width**2 + 4 * tokens**2 * width


def test_masked_autoencoder_by_hand():
    """60 of 300 tokens and the class token pass the encoder, all 301 the decoder; backward costs twice the forward."""
    sizes = profile("paper")
    batch, encoder, decoder, patch = 128, 384, 256, 100
    forward = 3 * block(61, encoder) + 2 * block(301, decoder)
    forward += 2 * (60 * patch * encoder + 61 * encoder * decoder + 300 * decoder * patch)
    cost = pretraining_cost("mdm", sizes, batch)
    assert cost.operations == pytest.approx(3 * batch * forward, rel=0.03)
    assert cost.data == batch * 12 * 5000 * 2 == batch * stored_batch(sizes, 1)["ecg"].nbytes
    # 5.36 million weights of the encoder and 1.70 of the decoder, less the fixed positions.
    assert cost.update == pytest.approx(7 * 4 * (5.36e6 + 1.70e6), rel=0.05)
    assert cost.bytes(2) < cost.bytes(4) < cost.unfused


def test_the_slower_of_computing_and_moving_sets_the_least_time():
    hardware = Hardware("made up", {"float32": 1e9, "bfloat16": 4e9}, bandwidth=1e9)
    assert hardware.format == "bfloat16"
    assert hardware.step(Cost(operations=8e9, elements=1e8, update=0, data=0, unfused=0)) == 2.0
    assert hardware.step(Cost(operations=4e9, elements=1e9, update=5e8, data=5e8, unfused=0)) == 3.0

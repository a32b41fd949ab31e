import numpy as np
import pytest
import torch

from mmcl.config import CmrEncoderConfig
from mmcl.models.cmr_encoder import CmrEncoder, from_released, to_released


def test_published_encoder_is_reproduced(shared, recipe):
    """ResNet-50 from the released names to features and feature map, to a relative 1e-5."""
    numbers = np.load(shared / "conformance" / "cmr_resnet50_84.npz", allow_pickle=False)
    encoder = CmrEncoder(CmrEncoderConfig()).eval()
    released = to_released(encoder.state_dict())
    assert "encoder_imaging.4.0.conv1.weight" in released
    encoder.load_state_dict(from_released({name: recipe(name, value) for name, value in released.items()}))
    cmr = torch.from_numpy(numbers["x"])
    with torch.no_grad():
        for ours, name in (
            (encoder(cmr), "features"),
            (encoder.feature_map(cmr).mean(dim=1), "feature_map_mean"),
        ):
            expected = torch.from_numpy(numbers[name])
            assert ours.shape == expected.shape
            assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()


def test_names_and_shapes_are_torchvisions():
    state = CmrEncoder(CmrEncoderConfig("basic", (2, 2, 2, 2), (64, 128, 256, 512))).state_dict()
    assert len(state) == 120
    parameters = (v.numel() for name, v in state.items() if "running" not in name and "num_batches" not in name)
    assert sum(parameters) == 11_176_512  # of torchvision's ResNet-18 without its last layer
    assert state["layer2.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["conv1.weight"].shape == (64, 3, 7, 7)


def test_released_names_go_both_ways_and_strangers_are_left_out():
    state = CmrEncoder(CmrEncoderConfig("basic", (1, 1, 1, 1), (8, 8, 8, 8))).state_dict()
    released = to_released(state)
    back = from_released(released | {"projection_head_imaging.layers.0.weight": torch.zeros(1)})
    assert back.keys() == state.keys()
    with pytest.raises(ValueError, match="index '9'"):
        from_released({"encoder_imaging.9.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="no name starts with"):
        from_released({"conv1.weight": torch.zeros(1)})


def test_wrong_input_is_named():
    encoder = CmrEncoder(CmrEncoderConfig("basic", (1, 1, 1, 1), (8, 8, 8, 8)))
    with pytest.raises(ValueError, match=r"\(2, 1, 64, 64\)"):
        encoder(torch.zeros(2, 1, 64, 64))

import pytest
import torch

from mmcl.config import CmrEncoderConfig, EcgConfig, EncoderConfig
from mmcl.losses.clip import clip_loss
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.contrastive import ContrastiveModel
from mmcl.models.ecg_encoder import EcgEncoder


@pytest.fixture
def model() -> ContrastiveModel:
    torch.manual_seed(0)
    ecg = EcgEncoder(EcgConfig(sampling_rate=125, window=100, patch=25), EncoderConfig(width=16, depth=1, heads=4))
    return ContrastiveModel(ecg, CmrEncoder(CmrEncoderConfig("basic", (1, 1, 1, 1), (8, 8, 8, 8))), 32, 16)


def test_modules_have_the_published_names(model):
    names = {name.split(".")[0] for name in model.state_dict()}
    assert names == {"encoder_ecg", "encoder_imaging", "projection_head_ecg", "projection_head_imaging"}
    assert model.projection_head_ecg.layers[0].weight.shape == (32, 16)
    assert model.projection_head_imaging.layers[2].weight.shape == (16, 32)


def test_one_batch_can_be_overfitted(model):
    ecg, cmr = torch.randn(8, 12, 100), torch.rand(8, 3, 48, 48)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        z_ecg, z_cmr = model(ecg, cmr)
        loss = clip_loss(z_cmr, z_ecg)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 1.5
    assert losses[-1] < 0.1

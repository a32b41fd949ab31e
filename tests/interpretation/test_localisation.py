import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmcl.config import CmrEncoderConfig, EcgConfig, EncoderConfig
from mmcl.interpretation.localisation import Projections, cosine_map, ecg_segments, pairwise, project
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.contrastive import ContrastiveModel
from mmcl.models.ecg_encoder import EcgEncoder


@pytest.fixture
def model() -> ContrastiveModel:
    torch.manual_seed(0)
    ecg = EcgEncoder(EcgConfig(sampling_rate=125, window=100, patch=25), EncoderConfig(width=16, depth=1, heads=4))
    torch.nn.init.normal_(ecg.fc_norm.weight, 1.0, 0.5)
    return ContrastiveModel(ecg, CmrEncoder(CmrEncoderConfig("basic", (1, 1, 1, 1), (8, 8, 8, 8))), 32, 6).eval()


def test_published_maps_are_reproduced(shared):
    numbers = np.load(shared / "conformance" / "localisation.npz", allow_pickle=False)
    z = {name: torch.from_numpy(numbers[name]) for name in numbers.files}
    torch.testing.assert_close(cosine_map(z["local_cmr"], z["z_ecg"]), z["map_cmr"], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(cosine_map(z["local_ecg"], z["z_cmr"]), z["map_ecg"], rtol=1e-9, atol=1e-12)


def test_shapes_and_ranges(model):
    found = project(model, torch.randn(2, 12, 100), torch.rand(2, 3, 64, 64))
    assert found.ecg_local.shape == (2, 12, 8, 6)
    assert found.cmr_local.shape == (2, 4, 4, 6)
    for z in found:
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(z.shape[:-1]))
    assert cosine_map(found.cmr_local, found.ecg).shape == (2, 4, 4)
    assert ecg_segments(found).shape == (2, 12, 8)
    assert pairwise(found).shape == (2, 8, 4, 4)


def test_local_vectors_are_upsampled_then_normalised_then_projected(model):
    ecg, cmr = torch.randn(1, 12, 100), torch.rand(1, 3, 64, 64)
    found = project(model, ecg, cmr)
    with torch.no_grad():
        tokens = model.encoder_ecg.tokens(ecg).view(12, 4, 16)
        # The second of two times per patch lies a quarter of the way to the next patch.
        between = 0.75 * tokens[3, 1] + 0.25 * tokens[3, 2]
        expected = model.projection_head_ecg(model.encoder_ecg.fc_norm(between))
        torch.testing.assert_close(found.ecg_local[0, 3, 3], F.normalize(expected, dim=0), rtol=1e-4, atol=1e-5)
        corner = model.encoder_imaging.feature_map(cmr)[0, :, 0, 0]
        expected = model.projection_head_imaging(corner)
        torch.testing.assert_close(found.cmr_local[0, 0, 0], F.normalize(expected, dim=0), rtol=1e-4, atol=1e-5)


def test_corrected_tokens_live_in_the_space_of_the_global_vector(model):
    """An ECG whose tokens are all equal is told everywhere as it is told globally; the published tokens are not."""
    ecg, cmr = torch.zeros(1, 12, 100), torch.rand(1, 3, 64, 64)
    torch.nn.init.zeros_(model.encoder_ecg.pos_embed)
    torch.nn.init.normal_(model.encoder_ecg.patch_embed.proj.bias)
    corrected = project(model, ecg, cmr, norm_local_tokens=True)
    published = project(model, ecg, cmr, norm_local_tokens=False)
    assert cosine_map(corrected.ecg_local, corrected.ecg).min() > 1 - 1e-5
    assert cosine_map(published.ecg_local, published.ecg).max() < 0.99


def test_pairwise_is_the_mean_over_leads_of_cosines():
    shapes = ((2, 5), (2, 5), (2, 3, 4, 5), (2, 2, 6, 5))
    z = Projections(*(F.normalize(torch.randn(shape), dim=-1) for shape in shapes))
    found = pairwise(z)
    expected = sum(z.ecg_local[1, lead, 2] @ z.cmr_local[1, 0, 4] for lead in range(3)) / 3
    assert found[1, 2, 0, 4].item() == pytest.approx(expected.item(), abs=1e-6)


def test_training_mode_is_refused(model):
    with pytest.raises(ValueError, match="training mode"):
        project(model.train(), torch.randn(2, 12, 100), torch.rand(2, 3, 64, 64))

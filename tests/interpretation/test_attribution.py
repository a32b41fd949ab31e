"""Attribution by gradients, occlusion and rollout, against models whose answer is known."""

import numpy as np
import pytest
import torch

from mmcl.config import CmrEncoderConfig, EcgConfig, EncoderConfig
from mmcl.evaluation.probe import LinearProbe
from mmcl.interpretation.attribution import (
    grad_cam,
    gradient,
    input_times_gradient,
    integrated_gradients,
    probe_score,
    similarity,
)
from mmcl.interpretation.occlusion import bridge, occlude_leads, occlude_waves, occluded_projections
from mmcl.interpretation.rollout import attention_rollout
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.contrastive import ContrastiveModel
from mmcl.models.ecg_encoder import EcgEncoder


@pytest.fixture
def model() -> ContrastiveModel:
    torch.manual_seed(0)
    ecg = EcgEncoder(EcgConfig(sampling_rate=125, window=100, patch=25), EncoderConfig(width=16, depth=2, heads=4))
    cmr = CmrEncoder(CmrEncoderConfig("basic", (1, 1, 1, 1), (8, 8, 8, 8)))
    return ContrastiveModel(ecg, cmr, 32, 6).requires_grad_(False).eval()


@pytest.fixture
def ecg():
    return torch.randn(3, 12, 100, generator=torch.Generator().manual_seed(1))


def weighted(weight):
    """A linear output, whose attribution is the weight times the input."""
    return lambda inputs: (inputs * weight).sum(dim=(1, 2))


def test_integrated_gradients_of_a_linear_output_are_its_terms(ecg):
    weight = torch.randn(12, 100, generator=torch.Generator().manual_seed(2))
    found = integrated_gradients(weighted(weight), ecg, steps=4)
    torch.testing.assert_close(found.values, ecg * weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(input_times_gradient(weighted(weight), ecg), ecg * weight)
    torch.testing.assert_close(gradient(weighted(weight), ecg), weight.expand(3, -1, -1))
    assert found.delta.abs().max() < 1e-4


def test_integrated_gradients_add_up_to_the_change_of_the_similarity(model, ecg):
    target = torch.randn(3, 6)
    output = similarity(model.project_ecg)
    found = integrated_gradients(output, ecg, target, steps=128)
    change = output(ecg, target) - output(torch.zeros_like(ecg), target)
    torch.testing.assert_close(found.values.sum(dim=(1, 2)), change, rtol=0.02, atol=2e-3)
    too_few = integrated_gradients(output, ecg, target, steps=2)
    assert found.delta.abs().max() < 0.02 < too_few.delta.abs().max()


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_the_score_of_a_head_is_what_its_probe_predicts(model, ecg, kind):
    random = np.random.default_rng(0)
    numbers = {"mean": random.normal(size=16), "std": random.uniform(1, 2, 16), "penalty": np.ones(2)}
    probe = LinearProbe(kind, ("a", "b"), coefficient=random.normal(size=(2, 16)), intercept=np.ones(2), **numbers)
    predicted = probe.predict(model.encoder_ecg(ecg).numpy())[:, 1]
    score = probe_score(model.encoder_ecg, probe, "b")(ecg).numpy()
    np.testing.assert_allclose(score if kind == "ridge" else 1 / (1 + np.exp(-score)), predicted, rtol=1e-4)
    with pytest.raises(ValueError, match="expected a fitted target 'c'"):
        probe_score(model.encoder_ecg, probe, "c")


def test_grad_cam_weighs_channels_by_their_mean_gradient(model):
    cmr, target = torch.rand(2, 3, 64, 64), torch.randn(2, 6)
    features = model.encoder_imaging.feature_map(cmr).requires_grad_()
    projected = model.projection_head_imaging(features.mean(dim=(2, 3)))
    slope = torch.autograd.grad(torch.cosine_similarity(projected, target).sum(), features)[0]
    expected = (slope.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1)
    output = similarity(model.project_cmr)
    found = grad_cam(output, model.encoder_imaging, cmr, target)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    assert grad_cam(output, model.encoder_imaging, cmr, target, "layer2").shape == (2, 8, 8)


def test_a_lead_costs_what_it_contributed(ecg):
    weight = torch.zeros(12, 100)
    weight[3] = 1.0
    drop = occlude_leads(weighted(weight), ecg)
    torch.testing.assert_close(drop[:, 3], ecg[:, 3].sum(dim=1))
    assert (drop[:, [0, 1, 2, *range(4, 12)]] == 0).all()


def test_a_wave_is_bridged_in_every_lead(ecg):
    waves = np.zeros((3, 100), np.uint8)
    waves[:2, 10:20], waves[:2, 40:50] = 1, 2
    waves[2, 40:50] = 2
    line = bridge(ecg, waves == 1)
    middle = ecg[0, 5, 9] + (ecg[0, 5, 20] - ecg[0, 5, 9]) * 5 / 11
    assert line[0, 5, 14].item() == pytest.approx(middle.item(), rel=1e-5)
    torch.testing.assert_close(line[:, :, 20:], ecg[:, :, 20:])
    weight = torch.zeros(12, 100)
    weight[:, 40:50] = 1.0
    drop = occlude_waves(weighted(weight), ecg, waves)
    assert drop.shape == (3, 5) and drop[0, 0] == 0 and drop[0, 1] != 0
    assert torch.isnan(drop[2, 0]) and torch.isnan(drop[0, 2]) and torch.isfinite(drop[2, 1])


def test_a_grey_patch_changes_the_projection_and_that_of_a_grey_image_does_not(model):
    image = torch.rand(2, 3, 64, 64)
    image[1] = 0.25
    found = occluded_projections(model, image, patch=16, stride=24)
    assert found.shape == (2, 3, 3, 6)
    whole = model.project_cmr(image)
    assert (found[0] - whole[0]).abs().amax(dim=2).min() > 1e-6
    torch.testing.assert_close(found[1], whole[1].expand(3, 3, -1), rtol=1e-4, atol=1e-6)
    grey = image[:1].clone()
    grey[:, :, 24:40, 48:64] = grey.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(found[0, 1, 2], model.project_cmr(grey)[0], rtol=1e-4, atol=1e-6)


def test_rollout_is_the_product_of_attentions_with_their_residuals(model, ecg):
    encoder = model.encoder_ecg
    found = attention_rollout(encoder, ecg)
    assert found.shape == (3, 12, 4) and (found >= 0).all() and (found.sum(dim=(1, 2)) < 1).all()
    x, product = encoder.embed(encoder.patches(ecg)), torch.eye(49)
    for block in encoder.blocks:
        attention = block.attn.weights(block.norm1(x))[1].mean(dim=0)
        product = (0.5 * attention + 0.5 * torch.eye(49)) @ product
        x = block(x)
    torch.testing.assert_close(found[1].flatten(), product[1:, 1:].mean(dim=0))


def test_batches_change_nothing(model, ecg, monkeypatch):
    target, cmr = torch.randn(3, 6), torch.rand(3, 3, 64, 64)

    def maps():
        integrated = integrated_gradients(similarity(model.project_ecg), ecg, target, steps=4)
        return (
            integrated.values,
            integrated.delta,
            grad_cam(similarity(model.project_cmr), model.encoder_imaging, cmr, target),
        )

    whole = maps()
    monkeypatch.setattr("mmcl.interpretation.attribution.BATCH", 2)
    for one, other in zip(whole, maps(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)

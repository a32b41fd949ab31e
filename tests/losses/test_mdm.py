import math

import pytest
import torch

from mmcl.losses.mdm import cross_correlation, mdm_loss, normalise_patches


def _naive(ecg: torch.Tensor, prediction: torch.Tensor, mask: torch.Tensor, ncc_weight: float) -> torch.Tensor:
    """The definition, element by element; `mask` (batch, tokens), 1 = counted."""
    batch, leads, time = ecg.shape
    patch = prediction.shape[2]
    error, elements, correlations = 0.0, 0, []
    for sample in range(batch):
        for lead in range(leads):
            x, y = [], []
            for t in range(time):
                token = lead * (time // patch) + t // patch
                if mask[sample, token]:
                    x.append(prediction[sample, token, t % patch])
                    y.append(ecg[sample, lead, t])
            if len(x) < 2:
                continue
            x, y = torch.stack(x), torch.stack(y)
            error, elements = error + ((x - y) ** 2).sum(), elements + len(x)
            x = (x - x.mean()) / (x.var(unbiased=True) + 1e-12).sqrt()
            y = (y - y.mean()) / (y.var(unbiased=True) + 1e-12).sqrt()
            correlations.append((x * y).sum() / (len(x) - 1))
    ncc = torch.stack(correlations).mean()
    return (1 - ncc_weight) * error / (elements + 1e-5) + ncc_weight * (1 - ncc)


def _case(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ecg = torch.randn(3, 4, 20, generator=generator, dtype=torch.float64)
    prediction = torch.randn(3, 16, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    mask = (torch.rand(3, 16, generator=generator) < 0.6).double()
    mask[0, :4] = 0.0  # a lead of which nothing was removed
    return ecg, prediction, mask


@pytest.mark.parametrize("ncc_weight", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_naive_loss_in_value_and_gradient(masked, ncc_weight):
    ecg, prediction, mask = _case()
    ours = mdm_loss(ecg, prediction, mask if masked else None, ncc_weight)
    naive = _naive(ecg, prediction, mask if masked else torch.ones_like(mask), ncc_weight)
    torch.testing.assert_close(ours, naive, rtol=1e-9, atol=0.0)
    gradients = [torch.autograd.grad(loss, prediction)[0] for loss in (ours, naive)]
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-12)


def test_a_mask_of_ones_is_no_mask():
    ecg, prediction, mask = _case()
    torch.testing.assert_close(mdm_loss(ecg, prediction, torch.ones_like(mask)), mdm_loss(ecg, prediction))


def test_masked_loss_ignores_what_the_encoder_saw():
    ecg, prediction, mask = _case()
    other = prediction + 3.0 * torch.randn_like(prediction) * (1 - mask)[:, :, None]
    torch.testing.assert_close(mdm_loss(ecg, prediction, mask), mdm_loss(ecg, other, mask))
    assert not torch.isclose(mdm_loss(ecg, prediction), mdm_loss(ecg, other))


def test_a_perfect_reconstruction_costs_nothing_and_an_inverted_one_the_most():
    ecg, _, _ = _case()
    assert mdm_loss(ecg, ecg.reshape(3, 16, 5)).item() == pytest.approx(0.0, abs=1e-9)
    assert cross_correlation(-ecg, ecg).item() == pytest.approx(-1.0)
    assert cross_correlation(2 * ecg + 1, ecg).item() == pytest.approx(1.0)


def test_a_constant_lead_is_uncorrelated_and_has_a_finite_gradient():
    ecg, prediction, _ = _case()
    ecg[1, 2] = 0.0
    loss = mdm_loss(ecg, prediction)
    loss.backward()
    assert math.isfinite(loss.item())
    assert prediction.grad.isfinite().all()
    assert cross_correlation(torch.ones(1, 1, 9), torch.randn(1, 1, 9)).item() == 0.0


def test_targets_normalised_per_patch():
    ecg, prediction, _ = _case()
    patches = normalise_patches(ecg.reshape(3, 16, 5))
    torch.testing.assert_close(patches.std(dim=-1), torch.ones(3, 16, dtype=torch.float64), rtol=1e-4, atol=0.0)
    assert mdm_loss(ecg, patches, per_patch=True).item() == pytest.approx(0.0, abs=1e-9)
    expected = mdm_loss(patches.reshape(3, 4, 20), prediction)
    torch.testing.assert_close(mdm_loss(ecg, prediction, per_patch=True), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
def test_half_precision_is_computed_in_single(dtype, masked):
    ecg, prediction, mask = _case()
    ecg[1, 2] = 0.0  # whose variance is below what a half can tell from 0
    mask = mask if masked else None
    found = mdm_loss(ecg.to(dtype), prediction.detach().to(dtype), mask)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, mdm_loss(ecg, prediction, mask).float(), rtol=0.02, atol=0.0)


def test_a_batch_of_one():
    ecg, prediction, mask = _case()
    ours = mdm_loss(ecg[1:2], prediction[1:2], mask[1:2])
    torch.testing.assert_close(ours, _naive(ecg[1:2], prediction[1:2], mask[1:2], 0.1), rtol=1e-9, atol=0.0)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="does not cover"):
        mdm_loss(torch.zeros(2, 12, 100), torch.zeros(2, 47, 25))
    with pytest.raises(ValueError, match="ncc_weight 2"):
        mdm_loss(torch.zeros(2, 12, 100), torch.zeros(2, 48, 25), ncc_weight=2)

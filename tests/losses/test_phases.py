import math

import pytest
import torch

from mmcl.losses.phases import phase_loss


def _naive(ecg: torch.Tensor, cmr: torch.Tensor, known: torch.Tensor, temperature: float) -> torch.Tensor:
    """The definition, subject by subject and phase by phase."""
    losses = []
    for one, other in zip(ecg[known], cmr[known], strict=True):
        cosine = [[(a @ b) / (a.norm() * b.norm()) / temperature for b in other] for a in one]
        phases = range(len(one))
        for k in phases:
            losses.append(-(cosine[k][k].exp() / sum(cosine[k][j].exp() for j in phases)).log())
            losses.append(-(cosine[k][k].exp() / sum(cosine[j][k].exp() for j in phases)).log())
    return torch.stack(losses).mean()


def _pair(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ecg, cmr = torch.randn(2, n, 3, 4, generator=generator, dtype=torch.float64)
    return ecg.requires_grad_(), cmr.requires_grad_()


EVERY, SOME = torch.ones(5, dtype=torch.bool), torch.tensor([True, False, True, True, False])


@pytest.mark.parametrize("known", [EVERY, SOME])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_the_naive_loss_in_value_and_gradient(temperature, known):
    pair = _pair()
    ours, naive = (loss(*pair, known, temperature) for loss in (phase_loss, _naive))
    torch.testing.assert_close(ours, naive, rtol=1e-9, atol=0.0)
    for a, b in zip(torch.autograd.grad(ours, pair), torch.autograd.grad(naive, pair), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


def test_chance_level_alignment_and_confusion():
    ecg = torch.eye(3).expand(4, 3, 3)
    known = torch.ones(4, dtype=torch.bool)
    assert phase_loss(torch.ones(4, 3, 3), ecg, known).item() == pytest.approx(math.log(3))
    assert phase_loss(ecg, ecg, known, 0.02).item() < 1e-6
    assert phase_loss(ecg, ecg.roll(1, dims=1), known, 0.1).item() == pytest.approx(10, rel=1e-3)


def test_other_subjects_play_no_part():
    ecg, cmr = (z.detach() for z in _pair())
    alone = [phase_loss(ecg[[k]], cmr[[k]], EVERY[:1]) for k in range(5)]
    torch.testing.assert_close(phase_loss(ecg, cmr, EVERY), torch.stack(alone).mean())


def test_nobody_known_is_no_loss():
    ecg, cmr = _pair()
    loss = phase_loss(ecg, cmr, ~EVERY)
    assert loss.item() == 0.0
    assert all((g == 0).all() for g in torch.autograd.grad(loss, (ecg, cmr)))


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="temperature 0"):
        phase_loss(*_pair(), EVERY, 0.0)
    with pytest.raises(ValueError, match=r"\(2, 3, 4\), \(2, 2, 4\), \(2,\)"):
        phase_loss(torch.ones(2, 3, 4), torch.ones(2, 2, 4), EVERY[:2])

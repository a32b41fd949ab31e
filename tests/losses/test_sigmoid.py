import math

import pytest
import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing

from mmcl.losses.sigmoid import sigmoid_loss


def _naive(cmr: torch.Tensor, ecg: torch.Tensor, temperature, bias) -> torch.Tensor:
    """The definition, pair by pair."""
    total = 0.0
    for i, a in enumerate(cmr):
        for j, b in enumerate(ecg):
            logit = (a @ b) / (a.norm() * b.norm()) / temperature + bias
            total = total - (1 / (1 + torch.exp(-logit if i == j else logit))).log()
    return total / len(cmr)


def _pair(n: int = 6, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    cmr, ecg = torch.randn(2, n, width, generator=generator, dtype=torch.float64)
    return cmr.requires_grad_(), ecg.requires_grad_()


def _learnt(temperature: float = 0.4, bias: float = -1.0) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (temperature, bias))


@pytest.mark.parametrize("temperature, bias", [(0.1, -10.0), (0.4, -1.0), (1.0, 2.0)])
def test_equals_the_naive_loss_in_value_and_gradient(temperature, bias):
    inputs = (*_pair(), *_learnt(temperature, bias))
    ours, naive = (loss(*inputs) for loss in (sigmoid_loss, _naive))
    torch.testing.assert_close(ours, naive, rtol=1e-9, atol=0.0)
    for a, b in zip(torch.autograd.grad(ours, inputs), torch.autograd.grad(naive, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


def test_at_the_published_start_strangers_cost_next_to_nothing():
    """Orthogonal pairs: n questions answered no at a bias of -10, of which only the partner's is wrong."""
    cmr, ecg = torch.eye(16)[:8], torch.eye(16)[8:]
    assert sigmoid_loss(cmr, ecg).item() == pytest.approx(10 + 8 * math.log1p(math.exp(-10)), rel=1e-6)


def test_perfect_alignment():
    assert sigmoid_loss(torch.eye(8), torch.eye(8), temperature=0.02, bias=-25.0).item() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    pair = [z.detach().to(dtype) for z in _pair()]
    found = sigmoid_loss(*pair)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, sigmoid_loss(*(z.float() for z in pair)))
    single = [z.detach().float() for z in _pair()]
    with torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(sigmoid_loss(*single), _naive(*single, 0.1, -10.0), rtol=1e-4, atol=0.0)


def test_extreme_logits_stay_finite():
    inputs = (*_pair(), *_learnt(1e-3, -300.0))
    loss = sigmoid_loss(*inputs)
    assert all(torch.isfinite(x).all() for x in (loss, *torch.autograd.grad(loss, inputs)))


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="temperature 0"):
        sigmoid_loss(torch.eye(2), torch.eye(2), temperature=0.0)
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(3, 3\)"):
        sigmoid_loss(torch.eye(2), torch.eye(3))


def _gradient_of_one_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    pair, learnt = [z.detach()[rank * 8 : rank * 8 + 8].requires_grad_() for z in _pair(16)], _learnt()
    loss = sigmoid_loss(*pair, *learnt)
    loss.backward()
    torch.save((loss.detach(), *(x.grad for x in (*pair, *learnt))), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_whole_batch(tmp_path):
    """Projections have twice their part of the gradient, which the average of distributed data parallel halves; what
    is learnt of the loss has the whole in each, which the average keeps.
    """
    multiprocessing.spawn(_gradient_of_one_process, args=(str(tmp_path),), nprocs=2)
    pair, learnt = _pair(16), _learnt()
    loss = sigmoid_loss(*pair, *learnt)
    loss.backward()
    for rank in range(2):
        found, *gradients = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found, loss.detach(), rtol=1e-6, atol=0.0)
        for gradient, whole in zip(gradients[:2], pair, strict=True):
            torch.testing.assert_close(gradient / 2, whole.grad[rank * 8 : rank * 8 + 8], rtol=1e-6, atol=1e-9)
        for gradient, whole in zip(gradients[2:], learnt, strict=True):
            torch.testing.assert_close(gradient, whole.grad, rtol=1e-6, atol=1e-9)

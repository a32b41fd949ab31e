"""Comparison objectives against their definitions written out, in value and gradient, and at their edges."""

import itertools
import math

import pytest
import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing

from mmcl.losses.barlow_twins import EPSILON, barlow_twins_loss
from mmcl.losses.byol import byol_loss
from mmcl.losses.clip import clip_loss
from mmcl.losses.clocs import clocs_loss
from mmcl.losses.simclr import nt_xent_loss


def _cosine(a, b):
    return (a @ b) / (a.norm() * b.norm())


def _nt_xent(one, other, temperature):
    views, n = [*one, *other], len(one)
    total = 0.0
    for i, view in enumerate(views):
        scores = {j: (_cosine(view, views[j]) / temperature).exp() for j in range(2 * n) if j != i}
        total = total - (scores[(i + n) % (2 * n)] / sum(scores.values())).log()
    return total / (2 * n)


def _barlow_twins(one, other, redundancy):
    n, width = one.shape
    total = 0.0
    for k, m in itertools.product(range(width), repeat=2):
        a, b = one[:, k] - one[:, k].mean(), other[:, m] - other[:, m].mean()
        scale = ((a @ a / n + EPSILON) * (b @ b / n + EPSILON)).sqrt()
        correlation = (a @ b) / n / scale
        total = total + ((1 - correlation) ** 2 if k == m else redundancy * correlation**2)
    return total


def _clocs(views, patients, temperature):
    terms = []
    for one, other in itertools.permutations(range(len(views)), 2):
        rows = []
        for i, j in itertools.product(range(views.shape[1]), repeat=2):
            if patients[i] == patients[j]:
                scores = torch.stack([_cosine(views[one, i], row) / temperature for row in views[other]])
                rows.append(-scores.log_softmax(0)[j])
        terms.append(torch.stack(rows).mean())
    return torch.stack(terms).mean()


def _views(count=2, batch=5, width=4):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, batch, width, generator=generator).requires_grad_()


PATIENTS = torch.tensor([0, 1, 1, 2, 3])
PAIRS = {
    "simclr": (lambda v: nt_xent_loss(v[0], v[1], 0.3), lambda v: _nt_xent(v[0], v[1], 0.3)),
    "barlow twins": (lambda v: barlow_twins_loss(v[0], v[1], 0.02), lambda v: _barlow_twins(v[0], v[1], 0.02)),
    "clocs": (lambda v: clocs_loss(v, None, 0.3), lambda v: _clocs(v, range(5), 0.3)),
    "clocs, repeated patients": (lambda v: clocs_loss(v, PATIENTS, 0.3), lambda v: _clocs(v, PATIENTS, 0.3)),
    "byol": (lambda v: byol_loss(v[0], v[1]), lambda v: 2 - 2 * sum(map(_cosine, v[0], v[1].detach())) / 5),
}


@pytest.mark.parametrize("name", PAIRS)
def test_equals_its_definition_in_value_and_gradient(name):
    ours, naive = PAIRS[name]
    for count in (2, 3) if name.startswith("clocs") else (2,):
        views = _views(count)
        one, other = ours(views), naive(views)
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
        gradients = (torch.autograd.grad(loss, views)[0] for loss in (one, other))
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_the_target_of_byol_gets_no_gradient():
    views = _views()
    gradient = torch.autograd.grad(byol_loss(views[0], views[1]), views)[0]
    assert gradient[0].abs().sum() > 0 and not gradient[1].any()


def test_a_batch_of_one():
    views = _views(batch=1)
    assert nt_xent_loss(*views).item() == 0.0
    assert clocs_loss(views).item() == 0.0
    assert 0 <= byol_loss(*views).item() <= 4
    with pytest.raises(ValueError, match="batch of 1"):
        barlow_twins_loss(*views)


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1e3, 1e6])
def test_temperatures_at_their_limits_stay_finite(temperature):
    views = _views()
    for loss in (nt_xent_loss(*views, temperature), clocs_loss(views, None, temperature)):
        assert torch.isfinite(loss) and torch.isfinite(torch.autograd.grad(loss, views)[0]).all()
    if temperature > 1:
        assert nt_xent_loss(*views, temperature).item() == pytest.approx(math.log(9), rel=1e-3)
        assert clocs_loss(views, None, temperature).item() == pytest.approx(math.log(5), rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    original = _views(batch=8, width=16).detach()
    halves = original.to(dtype)
    losses = [lambda v, loss=loss: loss(*v) for loss in (nt_xent_loss, barlow_twins_loss, byol_loss)]
    for loss in (*losses, clocs_loss):
        found, whole = loss(halves), loss(original)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, loss(halves.float()))
        torch.testing.assert_close(found, whole, rtol=0.02, atol=0.0)
        with torch.autocast("cpu", dtype=dtype):
            torch.testing.assert_close(loss(original), whole, rtol=0.0, atol=0.0)


def test_wrong_input_is_named():
    for loss in (nt_xent_loss, barlow_twins_loss, byol_loss):
        with pytest.raises(ValueError, match=r"\(2, 2\) and \(3, 3\)"):
            loss(torch.eye(2), torch.eye(3))
    for loss, views in ((lambda v, t: nt_xent_loss(*v, t), _views()), (lambda v, t: clocs_loss(v, None, t), _views())):
        with pytest.raises(ValueError, match="temperature 0"):
            loss(views, 0.0)
    with pytest.raises(ValueError, match="at least 2 views"):
        clocs_loss(_views(1))
    with pytest.raises(ValueError, match=r"patients of shape \(3,\)"):
        clocs_loss(_views(), torch.arange(3))


GLOBAL = {
    "simclr": lambda v: nt_xent_loss(v[0], v[1]),
    "barlow twins": lambda v: barlow_twins_loss(v[0], v[1]),
    "clocs": lambda v: clocs_loss(v),
}


def _gradients_of_one_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {}
    for name, loss in GLOBAL.items():
        views = _views(batch=16).detach()[:, rank * 8 : rank * 8 + 8].clone().requires_grad_()
        value = loss(views)
        value.backward()
        found[name] = (value.detach(), views.grad)
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_of_8_equal_one_of_16(tmp_path):
    multiprocessing.spawn(_gradients_of_one_process, args=(str(tmp_path),), nprocs=2)
    for name, loss in GLOBAL.items():
        views = _views(batch=16)
        whole = loss(views)
        whole.backward()
        for rank in range(2):
            value, gradient = torch.load(tmp_path / f"{rank}.pt", weights_only=True)[name]
            torch.testing.assert_close(value, whole.detach(), rtol=1e-6, atol=1e-6)
            mine = views.grad[:, rank * 8 : rank * 8 + 8]
            torch.testing.assert_close(gradient / 2, mine, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-39, float("inf"), float("nan")])
def test_temperatures_without_a_finite_cosine_are_refused(temperature):
    one = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    for loss in (nt_xent_loss, clip_loss, lambda a, b, t: clocs_loss(torch.stack([a, b]), temperature=t)):
        with pytest.raises(ValueError, match="temperature"):
            loss(one, one, temperature)

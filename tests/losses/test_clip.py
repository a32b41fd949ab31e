import math

import numpy as np
import pytest
import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing

from mmcl.losses.clip import clip_loss, labels, logits
from mmcl.losses.gather import gather


def _naive(cmr: torch.Tensor, ecg: torch.Tensor, temperature: float, lambda_0: float) -> torch.Tensor:
    """The definition, row by row."""
    n = len(cmr)
    cosine = [[(a @ b) / (a.norm() * b.norm()) / temperature for b in ecg] for a in cmr]
    total = 0.0
    for i in range(n):
        row = sum(cosine[i][j].exp() for j in range(n))
        column = sum(cosine[j][i].exp() for j in range(n))
        total = total - lambda_0 * (cosine[i][i].exp() / row).log()
        total = total - (1 - lambda_0) * (cosine[i][i].exp() / column).log()
    return total / n


def _pair(n: int = 6, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    cmr, ecg = torch.randn(2, n, width, generator=generator, dtype=torch.float64)
    return cmr.requires_grad_(), ecg.requires_grad_()


def test_published_loss_is_reproduced(shared):
    numbers = np.load(shared / "conformance" / "clip_a.npz", allow_pickle=False)
    rows, columns = torch.from_numpy(numbers["a"]), torch.from_numpy(numbers["b"])
    loss = clip_loss(rows, columns, float(numbers["temperature"]), float(numbers["lambda_0"]))
    assert loss.item() == pytest.approx(float(numbers["loss"]), rel=1e-9)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("lambda_0", [0.0, 0.5, 0.8])
def test_equals_the_naive_loss_in_value_and_gradient(temperature, lambda_0):
    pair = _pair()
    ours, naive = (loss(*pair, temperature, lambda_0) for loss in (clip_loss, _naive))
    torch.testing.assert_close(ours, naive, rtol=1e-9, atol=0.0)
    for a, b in zip(torch.autograd.grad(ours, pair), torch.autograd.grad(naive, pair), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


def test_parts():
    rows, columns = _pair(3, 4)
    similarity = logits(rows, columns, 0.5)
    expected = torch.nn.functional.cosine_similarity(rows[1], columns[2], dim=0) / 0.5
    assert similarity[1, 2].item() == pytest.approx(expected.item())
    assert labels(3, torch.device("cpu")).tolist() == [0, 1, 2]
    assert gather(rows) is rows


def test_chance_level_and_perfect_alignment():
    same = torch.ones(16, 4)
    assert clip_loss(same, same).item() == pytest.approx(math.log(16))
    assert clip_loss(torch.eye(16), torch.eye(16), temperature=0.01).item() < 1e-6


def test_a_batch_of_one_has_nothing_to_tell_apart():
    assert clip_loss(torch.ones(1, 4), torch.randn(1, 4)).item() == 0.0


@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1e3, 1e6])
def test_temperatures_at_their_limits_stay_finite(temperature):
    pair = _pair()
    loss = clip_loss(*pair, temperature)
    assert all(torch.isfinite(x).all() for x in (loss, *torch.autograd.grad(loss, pair)))
    single = clip_loss(*(z.detach().float() for z in pair), temperature)
    torch.testing.assert_close(single, loss.float(), rtol=1e-4, atol=1e-6)
    if temperature > 1:
        assert loss.item() == pytest.approx(math.log(6), rel=2e-3)


def test_a_temperature_can_be_learnt():
    pair, temperature = _pair(), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(clip_loss(*pair, temperature), temperature)[0]
    above, below = (clip_loss(*pair, 0.3 + step) for step in (1e-5, -1e-5))
    assert gradient.item() == pytest.approx((above - below).item() / 2e-5, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    pair = [z.detach().to(dtype) for z in _pair()]
    found = clip_loss(*pair)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, clip_loss(*(z.float() for z in pair)))
    whole = clip_loss(*(z.detach().float() for z in _pair()))
    torch.testing.assert_close(found, whole, rtol=0.02, atol=0.0)
    with torch.autocast("cpu", dtype=dtype):
        torch.testing.assert_close(clip_loss(*(z.detach().float() for z in _pair())), whole, rtol=0.0, atol=0.0)


def test_rows_are_cmr():
    """Two CMR that point at one ECG: the rows are certain, the columns are not."""
    cmr, ecg = torch.eye(3)[[0, 0, 2]], torch.eye(3)
    wrong_row = clip_loss(cmr, ecg, 0.1, 1.0).item()
    columns = clip_loss(cmr, ecg, 0.1, 0.0).item()
    assert wrong_row == pytest.approx(10 / 3, rel=1e-3)
    assert columns == pytest.approx((math.log(2) + math.log(3)) / 3, rel=1e-3)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="temperature 0"):
        clip_loss(torch.eye(2), torch.eye(2), temperature=0.0)
    with pytest.raises(ValueError, match="lambda_0 1.5"):
        clip_loss(torch.eye(2), torch.eye(2), lambda_0=1.5)
    with pytest.raises(ValueError, match=r"\(2, 2\) and \(3, 3\)"):
        clip_loss(torch.eye(2), torch.eye(3))


def _gradient_of_one_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    cmr, ecg = (z.detach()[rank * 8 : rank * 8 + 8].requires_grad_() for z in _pair(16))
    loss = clip_loss(cmr, ecg)
    loss.backward()
    torch.save((loss.detach(), cmr.grad, ecg.grad), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_whole_batch(tmp_path):
    """Two of 8 against one of 16, to 1e-6. Each process has twice its part of the gradient, which the average of
    distributed data parallel halves.
    """
    multiprocessing.spawn(_gradient_of_one_process, args=(str(tmp_path),), nprocs=2)
    pair = _pair(16)
    loss = clip_loss(*pair)
    loss.backward()
    for rank in range(2):
        found, *gradients = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(found, loss.detach(), rtol=1e-6, atol=0.0)
        for gradient, whole in zip(gradients, pair, strict=True):
            torch.testing.assert_close(gradient / 2, whole.grad[rank * 8 : rank * 8 + 8], rtol=1e-6, atol=1e-9)

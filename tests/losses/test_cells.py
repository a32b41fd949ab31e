"""The cell-wise contrastive term against its definition, and what it rewards that the global loss does not."""

import pytest
import torch

from mmcl.losses.cells import cell_loss, cell_similarity
from mmcl.losses.clip import clip_loss


def _pair(n: int = 4, cells: int = 3, width: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    local = torch.randn(n, cells, width, generator=generator, dtype=torch.float64)
    return local.requires_grad_(), torch.randn(n, width, generator=generator, dtype=torch.float64).requires_grad_()


def _naive(cells: torch.Tensor, ecg: torch.Tensor, temperature: float, lambda_0: float) -> torch.Tensor:
    """The definition, pair by pair."""
    n = len(ecg)
    similarity = torch.zeros(n, n, dtype=ecg.dtype)
    for i in range(n):
        unit = [cell / cell.norm() for cell in cells[i]]
        for j in range(n):
            vector = ecg[j] / ecg[j].norm()
            weight = torch.stack([(cell @ vector / temperature).exp() for cell in unit])
            attended = sum(w * cell for w, cell in zip(weight / weight.sum(), unit, strict=True))
            similarity[i, j] = attended @ vector / attended.norm() / temperature
    rows = -sum(similarity[i].log_softmax(0)[i] for i in range(n)) / n
    columns = -sum(similarity[:, i].log_softmax(0)[i] for i in range(n)) / n
    return lambda_0 * rows + (1 - lambda_0) * columns


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_the_naive_loss_in_value_and_gradient(temperature):
    pair = _pair()
    ours, naive = cell_loss(*pair, temperature, 0.3), _naive(*pair, temperature, 0.3)
    torch.testing.assert_close(ours, naive, rtol=1e-9, atol=0.0)
    for a, b in zip(torch.autograd.grad(ours, pair), torch.autograd.grad(naive, pair), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


def test_one_cell_is_the_global_loss():
    cells, ecg = _pair(cells=1)
    torch.testing.assert_close(cell_loss(cells, ecg), clip_loss(cells[:, 0], ecg))


def test_one_matching_cell_suffices_wherever_it_lies():
    """Each image holds its ECG's vector in one cell and another subject's in the other: the means do not tell."""
    ecg = torch.eye(4)
    cells = torch.stack([torch.stack([ecg[k], -ecg[(k + 1) % 4]]) for k in range(4)])
    assert torch.equal(cell_similarity(cells, ecg, 0.05).argmax(dim=0), torch.arange(4))
    swapped = cell_similarity(cells.flip(1), ecg, 0.05)
    torch.testing.assert_close(swapped, cell_similarity(cells, ecg, 0.05))


def test_shapes_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="expected"):
        cell_loss(torch.zeros(3, 2, 5), torch.zeros(4, 5))

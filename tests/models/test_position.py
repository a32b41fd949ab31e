import math

import pytest
import torch

from mmcl.models.position import interpolate_embedding, sin_cos_embedding


def test_first_half_encodes_the_column_second_half_the_row():
    width, rows, columns = 16, 3, 5
    embedding = sin_cos_embedding(width, rows, columns)[0]
    assert embedding.shape == (1 + rows * columns, width)
    assert not embedding[0].any()
    for row in range(rows):
        for column in range(columns):
            expected = []
            for position in (column, row):
                angles = [position * 10000 ** (-i / (width / 4)) for i in range(width // 4)]
                expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            torch.testing.assert_close(embedding[1 + row * columns + column], torch.tensor(expected))


def test_interpolation_to_the_same_grid_changes_nothing():
    embedding = sin_cos_embedding(16, 12, 25)
    assert torch.equal(interpolate_embedding(embedding, (12, 25), (12, 25)), embedding)


def test_interpolation_resamples_both_axes():
    # An embedding linear in row and column stays so away from the edges, to the accuracy of bicubic weights.
    rows, columns = 12, 24
    row, column = torch.meshgrid(torch.arange(rows).float(), torch.arange(columns).float(), indexing="ij")
    grid = torch.stack([row, column], dim=2).reshape(1, -1, 2)
    embedding = torch.cat([torch.full((1, 1, 2), 7.0), grid], dim=1)
    new = interpolate_embedding(embedding, (rows, columns), (6, 48))
    assert new.shape == (1, 1 + 6 * 48, 2)
    assert (new[0, 0] == 7.0).all()
    inner = new[0, 1:].view(6, 48, 2)[2:4, 8:40]
    expected = torch.stack(
        [
            torch.tensor([4.5, 6.5])[:, None].expand(2, 32),
            ((torch.arange(8.0, 40.0) + 0.5) / 2 - 0.5).expand(2, 32),
        ],
        dim=2,
    )
    torch.testing.assert_close(inner, expected, rtol=0.0, atol=0.05)


def test_without_both_axes_only_time_is_resampled():
    embedding = torch.cat([torch.zeros(1, 1, 4), torch.randn(1, 12 * 8, 4)], dim=1)
    new = interpolate_embedding(embedding, (12, 8), (12, 5), both_axes=False)[0, 1:].view(12, 5, 4)
    lead = interpolate_embedding(
        torch.cat([embedding[:, :1], embedding[:, 1 + 3 * 8 : 1 + 4 * 8]], dim=1), (1, 8), (1, 5)
    )
    torch.testing.assert_close(new[3], lead[0, 1:])
    with pytest.raises(ValueError, match="interpolate_both_axes"):
        interpolate_embedding(embedding, (12, 8), (6, 8), both_axes=False)


@pytest.mark.parametrize("source", [(12, 24), (6, 25)])
def test_a_grid_that_does_not_fit_is_named(source):
    with pytest.raises(ValueError, match="301 tokens"):
        interpolate_embedding(sin_cos_embedding(8, 12, 25), source, (12, 6))


def test_width_must_be_a_multiple_of_four():
    with pytest.raises(ValueError, match="multiple of 4"):
        sin_cos_embedding(10, 2, 2)

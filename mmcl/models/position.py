"""Two-dimensional position embeddings of a grid of tokens: rows are ECG leads, columns are time patches.

Method section 5. Tokens run along the columns of the first row, then of the second, and so on; a class token, where
there is one, comes first and has the embedding zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def _sin_cos(position: torch.Tensor, width: int) -> torch.Tensor:
    """[sin(p w_i), cos(p w_i)] with w_i = 10000^(-i / (width / 2)): (positions,) -> (positions, width), float64."""
    frequency = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angle = position.double()[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def sin_cos_embedding(width: int, rows: int, columns: int, class_token: bool = True) -> torch.Tensor:
    """Fixed embedding (1, [1 +] rows * columns, width), float32; `width` must be a multiple of 4.

    The first half of the width encodes the column, the second half the row.
    """
    if width % 4:
        raise ValueError(f"position embedding of width {width}: expected a multiple of 4")
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    embedding = torch.cat([_sin_cos(column.flatten(), width // 2), _sin_cos(row.flatten(), width // 2)], dim=1)
    if class_token:
        embedding = torch.cat([torch.zeros(1, width, dtype=torch.float64), embedding])
    return embedding.float()[None]


def interpolate_embedding(
    embedding: torch.Tensor, source: tuple[int, int], target: tuple[int, int], both_axes: bool = True
) -> torch.Tensor:
    """Resample an embedding (1, 1 + tokens, width), class token first, from one (rows, columns) to another.

    Bicubic on both axes, as is usual for vision transformers; the class token's embedding stays. The published code
    resamples the columns only, so that it cannot change the number of leads: nor can this without `both_axes` (choice
    `interpolate_both_axes` of a preset). ValueError for another number of rows then, and when `source` does not fit
    `embedding`.
    """
    if embedding.shape[1] != 1 + source[0] * source[1]:
        raise ValueError(
            f"position embedding has {embedding.shape[1]} tokens: expected 1 + {source[0]} x {source[1]} of its grid"
        )
    if not both_axes and source[0] != target[0]:
        raise ValueError(
            f"position embedding of {source[0]} leads for {target[0]}: without the choice interpolate_both_axes"
            f" only time is resampled; expected {source[0]} leads, or the preset corrected"
        )
    if source == target:
        return embedding
    grid = embedding[:, 1:].transpose(1, 2).unflatten(2, source)
    grid = F.interpolate(grid, size=target, mode="bicubic", align_corners=False)
    return torch.cat([embedding[:, :1], grid.flatten(2).transpose(1, 2)], dim=1)

"""Projection head between an encoder's features and the space of a contrastive loss."""

from __future__ import annotations

import torch
from torch import nn


class ProjectionHead(nn.Module):
    """Linear - ReLU - Linear, no normalisation, as published: (..., features) -> (..., projection).

    Other objectives' heads have BatchNorm before each ReLU (`batch_norm`; the input is then (batch, features)) or more
    layers than two (`depth`).
    """

    def __init__(
        self, features: int, hidden: int = 2048, projection: int = 128, batch_norm: bool = False, depth: int = 2
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for width in (features, *[hidden] * (depth - 2)):
            # BatchNorm has a bias of its own.
            layers += [nn.Linear(width, hidden, bias=not batch_norm)]
            layers += [nn.BatchNorm1d(hidden)] if batch_norm else []
            layers += [nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, projection))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)

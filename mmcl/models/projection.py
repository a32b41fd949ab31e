"""Projection head between an encoder's features and the space of the contrastive loss."""

from __future__ import annotations

import torch
from torch import nn


class ProjectionHead(nn.Module):
    """Linear - ReLU - Linear, no normalisation: (..., features) -> (..., projection)."""

    def __init__(self, features: int, hidden: int = 2048, projection: int = 128):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, projection))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)

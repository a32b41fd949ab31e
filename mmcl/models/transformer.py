"""Pre-norm transformer block shared by the ECG encoder and the decoder of the masked autoencoder.

Module names follow the released weights (`norm1`, `attn.qkv`, `attn.proj`, `norm2`, `mlp.fc1`, `mlp.fc2`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

NORM_EPSILON = 1e-6
"""Of every LayerNorm of the method."""


class Attention(nn.Module):
    """Multi-head self-attention: (batch, tokens, width) -> (batch, tokens, width)."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"attention width {width}: expected a multiple of the {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def _heads(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Query, key and value, each (batch, heads, tokens, width / heads)."""
        return self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.scaled_dot_product_attention(*self._heads(x))
        return self.proj(y.transpose(1, 2).flatten(2))

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """Attention weights (batch, heads, queries, keys); each row sums to 1."""
        query, key, _ = self._heads(x)
        return (query @ key.transpose(2, 3) * query.shape[-1] ** -0.5).softmax(dim=-1)


class Mlp(nn.Module):
    """Linear - GELU - Linear."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class DropPath(nn.Module):
    """Stochastic depth (Huang et al. 2016): in training, drop a sample's residual branch with `probability`.

    Kept branches are divided by 1 - probability, so that the expectation stays.
    """

    def __init__(self, probability: float):
        super().__init__()
        if not 0.0 <= probability < 1.0:
            raise ValueError(f"drop-path probability {probability}: expected 0 <= p < 1")
        self.probability = probability

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.probability == 0.0:
            return x
        keep = 1.0 - self.probability
        return x * x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(keep).div_(keep)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)): (batch, tokens, width) -> (batch, tokens, width)."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0, drop_path: float = 0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.mlp = Mlp(width, int(width * mlp_ratio))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


def initialise(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases in linear layers, for `Module.apply` (He et al. 2022)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

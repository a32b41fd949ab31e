"""ECG encoder: a vision transformer on patches of one lead x some samples (method section 5).

The state dict has the layout of the released weights (method section 10): `cls_token`, `pos_embed`, `patch_embed.proj`,
`blocks.i`, and `norm` (class-token pooling) or `fc_norm` (mean and attention pooling).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from mmcl.config import LEADS, EcgConfig, EncoderConfig
from mmcl.models.position import interpolate_embedding, sin_cos_embedding
from mmcl.models.transformer import NORM_EPSILON, Block, initialise

POOLINGS = ("class", "mean", "attention")


class PatchEmbedding(nn.Module):
    """Linear embedding of patches: (batch, tokens, patch) -> (batch, tokens, width).

    The published layer is a convolution of kernel and stride (1, patch). It is kept for its weights' shape, but
    applied as the matrix product that it is: several times faster, and possible on a subset of the patches.
    """

    def __init__(self, patch: int, width: int):
        super().__init__()
        self.proj = nn.Conv2d(1, width, kernel_size=(1, patch), stride=(1, patch))
        nn.init.xavier_uniform_(self.proj.weight.view(width, patch))
        nn.init.zeros_(self.proj.bias)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class EcgEncoder(nn.Module):
    """Vision transformer on ECGs.

    `pooling` makes one vector of the tokens after the last block: `class` is the class token after `norm`; `mean` the
    mean of the patch tokens after `fc_norm`; `attention` one multi-head attention with the mean token as query and all
    patch tokens as keys and values, then `fc_norm`. `drop_path` rises linearly from 0 in the first block to its value
    in the last. The position embedding starts as sine and cosine and stays so unless `trainable_position`. `leads` may
    be fewer than 12. The published fine-tuning code applies `fc_norm` again to the pooled vector, before the head: so
    does the encoder without `single_fc_norm` (preset `paper`). The class token's `norm` is applied once in either.
    """

    def __init__(
        self,
        ecg: EcgConfig,
        encoder: EncoderConfig,
        pooling: str = "mean",
        drop_path: float = 0.0,
        leads: int = len(LEADS),
        trainable_position: bool = True,
        single_fc_norm: bool = True,
    ):
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"pooling {pooling!r}: expected one of {', '.join(POOLINGS)}")
        if ecg.window % ecg.patch:
            raise ValueError(f"ECG window of {ecg.window} samples: expected a multiple of the patch, {ecg.patch}")
        width = encoder.width
        self.grid = (leads, ecg.columns)
        self.patch = ecg.patch
        self.width = width
        self.pooling = pooling
        self.single_fc_norm = single_fc_norm
        self.patch_embed = PatchEmbedding(ecg.patch, width)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.pos_embed = nn.Parameter(sin_cos_embedding(width, *self.grid), requires_grad=trainable_position)
        rates = torch.linspace(0.0, drop_path, encoder.depth).tolist()
        self.blocks = nn.ModuleList(Block(width, encoder.heads, encoder.mlp_ratio, rate) for rate in rates)
        if pooling == "class":
            self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        else:
            self.fc_norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.blocks.apply(initialise)
        if pooling == "attention":
            self.attention_pool = nn.MultiheadAttention(width, encoder.heads, batch_first=True)

    def patches(self, ecg: torch.Tensor) -> torch.Tensor:
        """(batch, leads, window) -> (batch, leads * columns, patch), lead after lead; ValueError otherwise."""
        leads, columns = self.grid
        if ecg.ndim != 3 or ecg.shape[1:] != (leads, columns * self.patch):
            raise ValueError(f"ECG of shape {tuple(ecg.shape)}: expected (batch, {leads}, {columns * self.patch})")
        return ecg.reshape(len(ecg), leads * columns, self.patch)

    def embed(self, patches: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Class token and embedded patches with their positions: (batch, 1 + kept, width), the blocks' input.

        `patches` (batch, tokens, patch); `keep` (batch, kept) int64 indices of the tokens to embed, None for all.
        """
        position = self.pos_embed[:, 1:]
        if keep is not None:
            patches = patches.gather(1, keep[:, :, None].expand(-1, -1, patches.shape[2]))
            position = position[0][keep]
        x = self.patch_embed(patches) + position
        class_token = (self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1)
        return torch.cat([class_token, x], dim=1)

    def sequence(self, ecg: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Class token and patch tokens after the last block, before any norm: (batch, 1 + leads * columns, width).

        With `keep`, as in `embed`, the blocks see these tokens alone: (batch, 1 + kept, width).
        """
        x = self.embed(self.patches(ecg), keep)
        for block in self.blocks:
            x = block(x)
        return x

    def tokens(self, ecg: torch.Tensor) -> torch.Tensor:
        """Patch tokens after the last block, before any norm: (batch, leads * columns, width), lead after lead."""
        return self.sequence(ecg)[:, 1:]

    @property
    def last_norm(self) -> nn.LayerNorm:
        """The norm of the pooled vector: `norm` of class-token pooling, else `fc_norm`."""
        return self.norm if self.pooling == "class" else self.fc_norm

    def pool(self, sequence: torch.Tensor) -> torch.Tensor:
        """One vector per ECG from `sequence`: (batch, 1 + tokens, width) -> (batch, width), normalised."""
        if self.pooling == "class":
            return self.last_norm(sequence[:, 0])
        tokens = sequence[:, 1:]
        pooled = tokens.mean(dim=1)
        if self.pooling == "attention":
            pooled = self.attention_pool(pooled[:, None], tokens, tokens, need_weights=False)[0][:, 0]
        pooled = self.last_norm(pooled)
        return pooled if self.single_fc_norm else self.last_norm(pooled)

    def forward(self, ecg: torch.Tensor) -> torch.Tensor:
        """Features: (batch, leads, window) float32, standardised -> (batch, width)."""
        return self.pool(self.sequence(ecg))

    def attention(self, ecg: torch.Tensor) -> torch.Tensor:
        """Attention of the last block: (batch, heads, 1 + tokens, 1 + tokens), queries x keys, class token first."""
        x = self.embed(self.patches(ecg))
        for block in self.blocks[:-1]:
            x = block(x)
        last = self.blocks[-1]
        return last.attn.weights(last.norm1(x))


def load_pretrained(
    encoder: EcgEncoder, state: Mapping[str, torch.Tensor], leads: int = len(LEADS), both_axes: bool = True
) -> None:
    """Copy the weights of a pre-trained encoder, in the released layout, into `encoder`.

    Tensors that `encoder` has no place for (a decoder, the `norm` of another pooling) are ignored; its own norm and
    attention pooling keep their initial values where `state` lacks them. The position embedding is resampled when the
    window, the patch count or the number of leads (`leads` is that of `state`) differs; over time alone, as published,
    without `both_axes` (choice `interpolate_both_axes` of a preset). ValueError names tensors that are missing or do
    not fit, and another number of leads where only time is resampled.
    """
    own = encoder.state_dict()
    optional = ("norm.", "fc_norm.", "attention_pool.")
    missing = [name for name in own if name not in state and not name.startswith(optional)]
    if missing:
        raise ValueError(f"weights of an ECG encoder: lacks {', '.join(missing)}")
    chosen = {name: state[name] for name in own if name in state}
    position = chosen["pos_embed"]
    source = (leads, (position.shape[1] - 1) // leads)
    chosen["pos_embed"] = interpolate_embedding(position, source, encoder.grid, both_axes)
    for name, value in chosen.items():
        if value.shape != own[name].shape:
            shapes = f"{name} is {tuple(value.shape)}, expected {tuple(own[name].shape)}"
            raise ValueError(f"weights of an ECG encoder: {shapes}")
    encoder.load_state_dict(chosen, strict=False)

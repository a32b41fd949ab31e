"""Attention rollout: how much of each patch token's input reaches the pooled vector (Abnar and Zuidema 2020, ACL)."""

from __future__ import annotations

import torch

from mmcl.models.ecg_encoder import EcgEncoder


@torch.no_grad()
def attention_rollout(encoder: EcgEncoder, ecg: torch.Tensor) -> torch.Tensor:
    """Share of each token in what is pooled, (batch, leads, columns); with the class token's share it sums to 1.

    Attention of every block, averaged over heads, half of it the residual connection's identity, multiplied from the
    first block to the last. What is pooled are the patch tokens, all alike, or the class token. It knows no output:
    whatever is read from the vector has the same map.
    """
    x = encoder.embed(encoder.patches(ecg))
    flow = torch.eye(x.shape[1], device=x.device, dtype=x.dtype)
    for block in encoder.blocks:
        attention = block.attn.weights(block.norm1(x)).mean(dim=1)
        flow = (attention @ flow + flow) / 2
        x = block(x)
    pooled = flow[:, 0] if encoder.pooling == "class" else flow[:, 1:].mean(dim=1)
    return pooled[:, 1:].reshape(len(ecg), *encoder.grid)

"""The published networks and losses, written plainly: explicit softmax attention, convolution of all patches, NCHW.

Names of parameters are those of `mmcl.models`, so that weights are copied by `load_state_dict`; no layer or loss of
`mmcl` is used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from mmcl.config import LEADS, CmrEncoderConfig, DecoderConfig, EcgConfig, EncoderConfig


class Attention(nn.Module):
    """Multi-head self-attention with the matrix of weights formed."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, ratio: float = 4.0):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads)
        hidden = int(width * ratio)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class EcgEncoder(nn.Module):
    """Vision transformer; `forward` is the mean of the patch tokens after `fc_norm`, `encode` sees kept tokens only."""

    def __init__(self, ecg: EcgConfig, encoder: EncoderConfig, norm: str):
        super().__init__()
        width, tokens = encoder.width, len(LEADS) * ecg.columns
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, (1, ecg.patch), (1, ecg.patch))})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + tokens, width), requires_grad=norm == "fc_norm")
        self.blocks = nn.ModuleList(Block(width, encoder.heads, encoder.mlp_ratio) for _ in range(encoder.depth))
        self.add_module(norm, nn.LayerNorm(width, eps=1e-6))

    def encode(self, ecg: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        x = self.patch_embed["proj"](ecg[:, None]).flatten(2).transpose(1, 2) + self.pos_embed[:, 1:]
        if keep is not None:
            x = x.gather(1, keep[:, :, None].expand(-1, -1, x.shape[2]))
        x = torch.cat([(self.cls_token + self.pos_embed[:, :1]).expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, ecg: torch.Tensor) -> torch.Tensor:
        return self.fc_norm(self.encode(ecg)[:, 1:].mean(dim=1))


class Classifier(nn.Module):
    """ECG encoder with attention pooling, its query the mean token, and a linear head."""

    def __init__(self, ecg: EcgConfig, encoder: EncoderConfig, targets: int):
        super().__init__()
        self.encoder = EcgEncoder(ecg, encoder, norm="fc_norm")
        self.encoder.attention_pool = nn.MultiheadAttention(encoder.width, encoder.heads, batch_first=True)
        self.head = nn.Linear(encoder.width, targets)

    def forward(self, ecg: torch.Tensor) -> torch.Tensor:
        tokens = self.encoder.encode(ecg)[:, 1:]
        query = tokens.mean(dim=1, keepdim=True)
        pooled = self.encoder.attention_pool(query, tokens, tokens)[0][:, 0]  # with its weights, hence not fused
        return self.head(self.encoder.fc_norm(pooled))


class MaskedAutoencoder(nn.Module):
    """Masked autoencoder; the tokens with the smallest `noise` (batch, tokens) are kept."""

    def __init__(self, ecg: EcgConfig, encoder: EncoderConfig, decoder: DecoderConfig, kept: int):
        super().__init__()
        self.kept, width = kept, decoder.width
        self.encoder = EcgEncoder(ecg, encoder, norm="norm")
        self.decoder_embed = nn.Linear(encoder.width, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_pos_embed = nn.Parameter(torch.zeros(1, 1 + len(LEADS) * ecg.columns, width), requires_grad=False)
        self.decoder_blocks = nn.ModuleList(Block(width, decoder.heads) for _ in range(decoder.depth))
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.decoder_pred = nn.Linear(width, ecg.patch)

    def forward(self, ecg: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Prediction of all samples, (batch, leads, time) as `ecg`."""
        order = noise.argsort(dim=1)
        latent = self.encoder.norm(self.encoder.encode(ecg, order[:, : self.kept]))
        x = self.decoder_embed(latent)
        hidden = self.mask_token.expand(len(x), order.shape[1] - self.kept, -1)
        tokens = torch.cat([x[:, 1:], hidden], dim=1)
        tokens = tokens.gather(1, order.argsort(dim=1)[:, :, None].expand_as(tokens))
        x = torch.cat([x[:, :1], tokens], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))[:, 1:].reshape(ecg.shape)


class CmrEncoder(nn.Module):
    """MONAI's residual network, images in the order they come."""

    def __init__(self, config: CmrEncoderConfig):
        super().__init__()
        from monai.networks.nets.resnet import ResNet

        shape = {"spatial_dims": 2, "n_input_channels": 3, "conv1_t_stride": 2, "bias_downsample": False}
        whole = ResNet(config.block, list(config.layers), list(config.widths), feed_forward=False, **shape)
        for name, child in whole.named_children():
            self.add_module(name, child)
        self.forward_whole = whole.forward

    def forward(self, cmr: torch.Tensor) -> torch.Tensor:
        return self.forward_whole(cmr)


class ContrastiveModel(nn.Module):
    """Both encoders with their projection heads."""

    def __init__(self, ecg: EcgConfig, encoder: EncoderConfig, cmr: CmrEncoderConfig, hidden: int, projection: int):
        super().__init__()
        self.encoder_ecg = EcgEncoder(ecg, encoder, norm="fc_norm")
        self.encoder_imaging = CmrEncoder(cmr)
        features = cmr.widths[-1] * (4 if cmr.block == "bottleneck" else 1)
        self.projection_head_ecg = _head(encoder.width, hidden, projection)
        self.projection_head_imaging = _head(features, hidden, projection)

    def forward(self, ecg: torch.Tensor, cmr: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z_ecg = self.projection_head_ecg["layers"](self.encoder_ecg(ecg))
        return z_ecg, self.projection_head_imaging["layers"](self.encoder_imaging(cmr))


def _head(features: int, hidden: int, projection: int) -> nn.ModuleDict:
    layers = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, projection))
    return nn.ModuleDict({"layers": layers})


def mdm_loss(ecg: torch.Tensor, prediction: torch.Tensor, weight: float) -> torch.Tensor:
    """(1 - w) MSE + w (1 - NCC) over all patches; both signals are standardised, then multiplied."""
    error = ((prediction - ecg) ** 2).sum() / (ecg.numel() + 1e-5)
    x, y = ((s - s.mean(-1, keepdim=True)) / (s.var(-1, keepdim=True) + 1e-12).sqrt() for s in (prediction, ecg))
    return (1 - weight) * error + weight * (1 - ((x * y).sum(-1) / (ecg.shape[-1] - 1)).mean())


def clip_loss(z_cmr: torch.Tensor, z_ecg: torch.Tensor, temperature: float, weight: float) -> torch.Tensor:
    """Cross-entropy over rows (CMR) and columns (ECG) of the cosines."""
    logits = F.normalize(z_cmr) @ F.normalize(z_ecg).T / temperature
    target = torch.arange(len(logits), device=logits.device)
    return weight * F.cross_entropy(logits, target) + (1 - weight) * F.cross_entropy(logits.T, target)

"""Masked data modelling (MDM): a masked autoencoder on ECG patches (He et al. 2022; method sections 5 and 6).

The encoder sees only the tokens that are kept. The decoder sees them with a mask token in every other place and
predicts the samples of all patches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from mmcl.config import LEADS, DecoderConfig, EcgConfig, EncoderConfig
from mmcl.models.ecg_encoder import EcgEncoder
from mmcl.models.position import sin_cos_embedding
from mmcl.models.transformer import NORM_EPSILON, Block, initialise


class Reconstruction(NamedTuple):
    """`prediction` (batch, tokens, patch), `mask` (batch, tokens; 1 = removed), `latent` (batch, 1 + kept, width)."""

    prediction: torch.Tensor
    mask: torch.Tensor
    latent: torch.Tensor


def kept_tokens(tokens: int, mask_ratio: float, rounded: bool = True) -> int:
    """Number of tokens that the encoder sees.

    The published code truncates tokens * (1 - ratio), which in floating point keeps 59 of 300 at ratio 0.8; `rounded`
    keeps 60 (preset `corrected`). ValueError when nothing or everything would be kept.
    """
    kept = tokens * (1 - mask_ratio)
    kept = round(kept) if rounded else int(kept)
    if not 0 < kept < tokens:
        raise ValueError(f"mask ratio {mask_ratio} of {tokens} tokens keeps {kept}: expected at least 1 and not all")
    return kept


class MaskedDecoder(nn.Module):
    """Draws the mask, and rebuilds what it hides from an encoder's tokens; its positions are fixed."""

    def __init__(
        self,
        ecg: EcgConfig,
        encoder_width: int,
        decoder: DecoderConfig,
        mask_ratio: float = 0.8,
        round_kept_tokens: bool = True,
        leads: int = len(LEADS),
    ):
        super().__init__()
        self.kept = kept_tokens(leads * ecg.columns, mask_ratio, round_kept_tokens)
        width = decoder.width
        self.decoder_embed = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.decoder_pos_embed = nn.Parameter(sin_cos_embedding(width, leads, ecg.columns), requires_grad=False)
        self.decoder_blocks = nn.ModuleList(Block(width, decoder.heads) for _ in range(decoder.depth))
        self.decoder_norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.decoder_pred = nn.Linear(width, ecg.patch)
        for module in (self.decoder_embed, self.decoder_blocks, self.decoder_pred):
            module.apply(initialise)

    def draw_noise(self, ecg: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Uniform noise (batch, tokens) from `generator`, on the device of `ecg`; None for torch's own."""
        return torch.rand(len(ecg), self.decoder_pos_embed.shape[1] - 1, device=ecg.device, generator=generator)

    def draw_mask(
        self, ecg: torch.Tensor, noise: torch.Tensor | None = None, generator: torch.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Indices of the kept tokens, (batch, kept) int64, and the mask, (batch, tokens; 1 = removed).

        The tokens with the smallest `noise` (batch, tokens) are kept; without it, it is that of `draw_noise`.
        """
        if noise is None:
            noise = self.draw_noise(ecg, generator)
        keep = noise.argsort(dim=1)[:, : self.kept]
        return keep, torch.ones_like(noise).scatter_(1, keep, 0.0)

    def decode(self, latent: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Samples of all patches, (batch, tokens, patch), from the kept tokens' `latent` (batch, 1 + kept, width)."""
        x = self.decoder_embed(latent)
        batch, tokens = len(x), self.decoder_pos_embed.shape[1]
        # Index 0 of the sequence is the class token, hence the shift by one.
        place = torch.cat([keep.new_zeros(batch, 1), keep + 1], dim=1)[:, :, None].expand_as(x)
        x = self.mask_token.to(x.dtype).expand(batch, tokens, -1).scatter(1, place, x) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x[:, 1:]))


class MaskedAutoencoder(MaskedDecoder):
    """Masked autoencoder on ECGs; its `encoder` holds, after training, the weights to go on with.

    `encoder.state_dict()` is the released layout. Position embeddings of encoder and decoder are fixed.
    """

    def __init__(
        self,
        ecg: EcgConfig,
        encoder: EncoderConfig,
        decoder: DecoderConfig,
        mask_ratio: float = 0.8,
        round_kept_tokens: bool = True,
        leads: int = len(LEADS),
    ):
        # Drawn before the decoder, so that a seed's initial weights do not depend on which class holds which part.
        own = EcgEncoder(ecg, encoder, pooling="class", leads=leads, trainable_position=False)
        super().__init__(ecg, encoder.width, decoder, mask_ratio, round_kept_tokens, leads)
        self.encoder = own

    def encode(self, ecg: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens after the final norm, class token first, (batch, 1 + kept, width); `keep` as in `EcgEncoder.embed`."""
        return self.encoder.norm(self.encoder.sequence(ecg, keep))

    def forward(
        self, ecg: torch.Tensor, noise: torch.Tensor | None = None, generator: torch.Generator | None = None
    ) -> Reconstruction:
        """Reconstruct `ecg` (batch, leads, window) from a random subset of its tokens, that of `draw_mask`."""
        keep, mask = self.draw_mask(ecg, noise, generator)
        latent = self.encode(ecg, keep)
        return Reconstruction(self.decode(latent, keep), mask, latent)

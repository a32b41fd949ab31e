"""What encoder a set of tensors is: the layout of a weight file told by its names, its sizes by its shapes.

Known are the released files, full checkpoints of the published training code (`encoder_ecg.*`, `encoder_imaging.*`),
those of this project, and exports (method section 10).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from mmcl.config import ENCODERS, LEADS, RAW_SAMPLING_RATE, CmrEncoderConfig, EcgConfig, EncoderConfig
from mmcl.models.cmr_encoder import RELEASED_PREFIX, from_released
from mmcl.models.position import sin_cos_embedding

HEADS = {size.width: size.heads for size in ENCODERS.values()}
"""Width -> attention heads of the published sizes; no tensor tells their number."""

RELEASED_RATE = RAW_SAMPLING_RATE
"""Hz; sampling rate of the released encoders."""

_LEAST_LIKENESS = 0.3
"""Correlation with the sine-cosine embedding from which on it tells how tokens are laid out; trained ones keep more."""


@dataclass(frozen=True)
class EcgLayout:
    """An ECG encoder's `state` in the names of `EcgEncoder`, its input, its sizes, pooling and number of `leads`.

    `single_fc_norm` is False for weights of a run whose preset applies the norm after pooling twice.
    """

    state: dict[str, torch.Tensor]
    ecg: EcgConfig
    encoder: EncoderConfig
    pooling: str
    leads: int
    single_fc_norm: bool


def modalities(state: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """Which encoders the tensors hold, of "ecg" and "cmr"."""
    return tuple(
        name for name, prefix in (("ecg", _ecg_prefix(state)), ("cmr", _cmr_prefix(state))) if prefix is not None
    )


def ecg_layout(
    state: Mapping[str, torch.Tensor],
    metadata: Mapping[str, str],
    heads: int | None = None,
    leads: int | None = None,
) -> EcgLayout:
    """Recognise an ECG encoder; `heads` and `leads` overrule what is known or inferred.

    ValueError tells what is missing, of a wrong shape, or cannot be inferred and has to be given.
    """
    prefix = _ecg_prefix(state)
    if prefix is None:
        raise ValueError(
            f"no ECG encoder: expected cls_token, pos_embed, patch_embed.*, blocks.*; found {_some(state)}"
        )
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    own = {name: value for name, value in own.items() if not name.startswith(("decoder_", "mask_token"))}
    width, patch = _sizes(own)
    indices = {int(match[1]) for name in own if (match := re.match(r"blocks\.(\d+)\.", name))}
    if indices != set(range(len(indices))) or not indices:
        raise ValueError(f"blocks {sorted(indices)} of an ECG encoder: expected all from 0")
    hidden = own.get("blocks.0.mlp.fc1.weight")
    if hidden is None or hidden.shape[1:] != (width,):
        raise ValueError(f"blocks.0.mlp.fc1.weight: expected (hidden, {width}), found {_shape(hidden)}")
    if heads is None:
        heads = _count(metadata, "heads") or HEADS.get(width)
    if heads is None:
        known = ", ".join(f"{n} of width {w}" for w, n in HEADS.items())
        raise ValueError(
            f"attention heads of an encoder of width {width}: no tensor tells them, published are {known}; give heads="
        )
    if heads < 1 or width % heads:
        raise ValueError(f"heads {heads}: expected a divisor of the width, {width}")
    tokens = own["pos_embed"].shape[1] - 1
    if leads is None:
        leads = _count(metadata, "leads") or _rows(own["pos_embed"])
    if not 1 <= leads <= len(LEADS) or tokens < leads or tokens % leads:
        raise ValueError(
            f"leads {leads}: expected a divisor, up to {len(LEADS)}, of the {tokens} tokens of the position embedding"
        )
    rate = _count(metadata, "sampling_rate") or RELEASED_RATE
    if rate > RAW_SAMPLING_RATE:
        raise ValueError(f"sampling rate {rate} Hz: expected at most {RAW_SAMPLING_RATE}")
    pooling = "attention" if any(name.startswith("attention_pool.") for name in own) else "mean"
    return EcgLayout(
        own,
        EcgConfig(sampling_rate=rate, window=tokens // leads * patch, patch=patch),
        EncoderConfig(width=width, depth=len(indices), heads=heads, mlp_ratio=hidden.shape[0] / width),
        metadata.get("pooling", pooling),
        leads,
        _count(metadata, "norms") != 2,
    )


def cmr_layout(state: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], CmrEncoderConfig]:
    """Recognise a CMR encoder: its tensors in the names of `CmrEncoder`, and its sizes. ValueError as above."""
    prefix = _cmr_prefix(state)
    if prefix is None:
        raise ValueError(f"no CMR encoder: expected {RELEASED_PREFIX}0.weight or conv1.weight; found {_some(state)}")
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    if "0.weight" in own:
        own = from_released({RELEASED_PREFIX + name: value for name, value in own.items()})
    layers, widths = [], []
    block = "bottleneck" if "layer1.0.conv3.weight" in own else "basic"
    for k in range(1, 5):
        units = {int(match[1]) for name in own if (match := re.match(rf"layer{k}\.(\d+)\.", name))}
        if not units or f"layer{k}.0.conv1.weight" not in own:
            raise ValueError(f"a residual network without layer {k}; found {_some(own)}")
        layers.append(len(units))
        widths.append(own[f"layer{k}.0.conv1.weight"].shape[0])
    return own, CmrEncoderConfig(block=block, layers=tuple(layers), widths=tuple(widths))


def _ecg_prefix(state: Mapping[str, torch.Tensor]) -> str | None:
    """What stands before the names of an ECG encoder; None when there is none."""
    ends = "patch_embed.proj.weight"
    prefixes = [name.removesuffix(ends) for name in state if name.endswith(ends)]
    whole = [p for p in prefixes if f"{p}cls_token" in state and f"{p}pos_embed" in state]
    return min(whole, key=len, default=None)


def _cmr_prefix(state: Mapping[str, torch.Tensor]) -> str | None:
    """What stands before `0.weight` (published) or `conv1.weight` (this project) of a CMR encoder."""
    for ends in ("0.weight", "conv1.weight"):
        prefixes = [name.removesuffix(ends) for name in state if name.endswith(RELEASED_PREFIX + ends)]
        if prefixes:
            return min(prefixes, key=len)
    return "" if "conv1.weight" in state and "layer4.0.conv1.weight" in state else None


def _sizes(own: Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """Width and patch, from tensors whose shapes agree."""
    width = (own["cls_token"].shape or (0,))[-1]
    expected = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, None, width),
        "patch_embed.proj.weight": (width, 1, 1, None),
    }
    for name, shape in expected.items():
        found = own[name].shape if name in own else ()
        if len(found) != len(shape) or any(n not in (None, m) for n, m in zip(shape, found, strict=True)):
            text = ", ".join("any" if n is None else str(n) for n in shape)
            raise ValueError(f"{name}: expected ({text}), found {tuple(found)}")
    return width, own["patch_embed.proj.weight"].shape[-1]


def _rows(embedding: torch.Tensor) -> int:
    """Leads of a position embedding (1, 1 + tokens, width): the layout whose sine-cosine embedding is most alike."""
    tokens, width = embedding.shape[1] - 1, embedding.shape[2]
    own = embedding[0, 1:].double().flatten()
    own = own - own.mean()
    likeness = {}
    for rows in range(1, len(LEADS) + 1):
        if tokens % rows == 0:
            usual = sin_cos_embedding(width, rows, tokens // rows, class_token=False).double().flatten()
            usual = usual - usual.mean()
            likeness[rows] = float((own @ usual) / (own.norm() * usual.norm()).clamp(min=1e-12))
    best = max(likeness, key=likeness.__getitem__)
    if likeness[best] >= _LEAST_LIKENESS:
        return best
    if tokens % len(LEADS) == 0:
        return len(LEADS)
    raise ValueError(f"position embedding of {tokens} tokens: cannot tell leads from time; give source_leads=")


def _count(metadata: Mapping[str, str], name: str) -> int | None:
    """A number of at least 1 from a file's metadata, None when it is not there."""
    if name not in metadata:
        return None
    text = metadata[name]
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError(f"metadata {name} {text[:40]!r}: expected a number of at least 1")
    return int(text)


def _shape(tensor: torch.Tensor | None) -> str:
    return "nothing" if tensor is None else str(tuple(tensor.shape))


def _some(state: Mapping[str, torch.Tensor]) -> str:
    names = list(state)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

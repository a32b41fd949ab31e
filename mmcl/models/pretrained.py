"""Pre-trained encoders from a file, ready for one's own ECGs; and to a file, with a card that says what they are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mmcl.atomic import atomic_path
from mmcl.config import LEADS
from mmcl.data.augmentation import first_crop, tiled_crops
from mmcl.data.ecg_preprocessing import reduce_sampling_rate
from mmcl.data.signals import canonical_lead
from mmcl.data.single import preprocess_ecg
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.ecg_encoder import EcgEncoder, load_pretrained
from mmcl.models.layout import cmr_layout, ecg_layout, modalities
from mmcl.models.weights import read_tensors

_CARD = """# {name}

An ECG encoder pre-trained by multimodal learning of ECG and cardiac MRI, after Turgut et al., *Medical Image Analysis*
(2025) 103451.

| | |
|---|---|
| input | {leads} at {rate} Hz, {window} samples, standardised by `mmcl.preprocess_ecg` |
| output | {width} features an ECG, pooling: {pooling} |
| vision transformer | {depth} blocks, {heads} heads, patches of one lead x {patch} samples |
{rows}
**Intended use.** Research on representations of the ECG. It is not a medical device: nothing it gives may be used to
diagnose, treat or reassure anybody.

```python
import mmcl
encoder = mmcl.load_encoder("{file}")
features = encoder.embed(signals, sampling_rate=500, leads=leads, unit="mV")
```
"""


class PretrainedEncoder(nn.Module):
    """An ECG encoder with all that its input needs: an ordinary module, and `embed` for ECGs as they come.

    `leads` names of the leads it takes, in their order; `sampling_rate` Hz and `window` samples of its input; `width`
    of its features.
    """

    def __init__(self, model: EcgEncoder, leads: Sequence[str], sampling_rate: int):
        super().__init__()
        self.model = model
        self.leads = tuple(leads)
        self.sampling_rate = sampling_rate
        self.window = model.grid[1] * model.patch
        self.width = model.width

    def forward(self, ecg: torch.Tensor) -> torch.Tensor:
        """Features: (batch, leads, window) preprocessed -> (batch, width)."""
        return self.model(ecg)

    def tokens(self, ecg: torch.Tensor) -> torch.Tensor:
        """Patch tokens after the last block: (batch, leads, window) -> (batch, leads * columns, width)."""
        return self.model.tokens(ecg)

    def embed(
        self,
        signals: np.ndarray | torch.Tensor,
        sampling_rate: float,
        leads: Sequence[str] = LEADS,
        unit: str = "mV",
        batch: int = 64,
        tile: bool = True,
    ) -> np.ndarray | torch.Tensor:
        """Features (n, width) of raw ECGs `signals` (n, leads, samples), or (width,) of one (leads, samples).

        `leads` names the signals in any order and spelling, `unit` is theirs, at `sampling_rate` Hz; what is absent is
        computed or filled by the rules of `mmcl.data.signals`. Ten seconds are preprocessed (method section 3); the
        result is the mean over the windows that tile them, or that of the first window when not `tile`. It runs on the
        encoder's device; an array comes back for an array, a tensor, there, for a tensor. ValueError names an ECG that
        cannot be used, its value and what was expected.
        """
        array = signals.detach().cpu().numpy() if torch.is_tensor(signals) else np.asarray(signals)
        if array.ndim not in (2, 3) or array.shape[-2] != len(leads):
            raise ValueError(f"signals of shape {array.shape}: expected ([n,] {len(leads)} leads, samples)")
        single = array.ndim == 2
        array = array[None] if single else array
        device = next(self.parameters()).device
        rows = [LEADS.index(name) for name in self.leads]
        parts = [torch.empty(0, self.width, device=device)]
        for start in range(0, len(array), batch):
            ecg = [
                preprocess_ecg(signal, sampling_rate, leads, unit, f"signal {start + k}")
                for k, signal in enumerate(array[start : start + batch])
            ]
            ecg = reduce_sampling_rate(np.stack(ecg), self.sampling_rate)[:, rows]
            parts.append(window_features(self, torch.from_numpy(ecg).to(device), self.window, tile))
        features = torch.cat(parts)
        features = features[0] if single else features
        return features if torch.is_tensor(signals) else features.cpu().numpy()


@torch.no_grad()
def window_features(encoder: nn.Module, ecg: torch.Tensor, window: int, tile: bool = True) -> torch.Tensor:
    """Features (n, width) float32 of preprocessed records (n, leads, record) on the encoder's device.

    The mean over the windows that tile a record, or those of its first window.
    """
    crops = tiled_crops(ecg, window) if tile else first_crop(ecg, window)[:, None]
    training = encoder.training
    encoder.eval()
    features = encoder(crops.flatten(0, 1)).unflatten(0, crops.shape[:2]).mean(dim=1).float()
    encoder.train(training)
    return features


def load_encoder(
    path: str | Path,
    modality: str | None = None,
    window: int | None = None,
    leads: Sequence[str] | None = None,
    pooling: str | None = None,
    heads: int | None = None,
    source_leads: int | None = None,
    device: str | torch.device = "cpu",
) -> PretrainedEncoder | CmrEncoder:
    """The encoder in a weight file, in evaluation mode: released, full checkpoint, this project's, or an export.

    The layout is told by the tensors' names and sizes. `modality` "ecg" or "cmr" chooses where a file holds both (ECG
    without it). For an ECG encoder: `window` samples and `leads` other than its own resample its position embedding,
    over time and, where the file's leads are not the twelve, over leads; `pooling` is class, mean or attention;
    `heads` must be given for a width that was not published; `source_leads` where the position embedding does not tell
    how many leads it is for. Weights that the file lacks (a norm after pooling, attention pooling) keep their initial
    values. No code of the file runs. ValueError tells what was expected and what was found.
    """
    state, metadata = read_tensors(path)
    try:
        held = modalities(state)
        modality = modality or (held[0] if held else "ecg")
        if modality == "ecg":
            layout = ecg_layout(state, metadata, heads, source_leads)
            encoder = _ecg_encoder(layout, metadata, window, leads, pooling)
        elif modality == "cmr":
            encoder = _cmr_encoder(*cmr_layout(state))
        else:
            raise ValueError(f"modality {modality!r}: expected 'ecg' or 'cmr'")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return encoder.to(device).eval()


def export_encoder(encoder: PretrainedEncoder, path: str | Path, card: Mapping[str, object] | None = None) -> Path:
    """Write `encoder` as safetensors to `path` (.safetensors) with all that `load_encoder` needs, and its card (.md).

    `card` adds rows to the model card: data, preset, metrics, licence, whatever a user must know. Returns the weights'
    path; both files appear whole or not at all.
    """
    from safetensors.torch import save_file

    path = Path(path).with_suffix(".safetensors")
    model = encoder.model
    facts = {
        "format": "mmcl ecg encoder",
        "leads": str(len(encoder.leads)),
        "lead_names": json.dumps(encoder.leads),
        "sampling_rate": str(encoder.sampling_rate),
        "heads": str(model.blocks[0].attn.heads),
        "pooling": model.pooling,
        "card": json.dumps({key: str(value) for key, value in (card or {}).items()}),
    }
    with atomic_path(path) as part:
        save_file({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, part, facts)
    rows = "".join(f"| {key} | {value} |\n" for key, value in (card or {}).items())
    text = _CARD.format(
        name=path.stem,
        file=path.name,
        leads=" ".join(encoder.leads),
        rate=encoder.sampling_rate,
        window=encoder.window,
        width=encoder.width,
        pooling=model.pooling,
        depth=len(model.blocks),
        heads=facts["heads"],
        patch=model.patch,
        rows=rows,
    )
    with atomic_path(path.with_suffix(".md")) as part:
        part.write_text(text, encoding="utf-8")
    return path


def _ecg_encoder(layout, metadata: Mapping[str, str], window, leads, pooling) -> PretrainedEncoder:
    from dataclasses import replace

    own = json.loads(metadata["lead_names"]) if "lead_names" in metadata else LEADS[: layout.leads]
    names = tuple(own) if leads is None else tuple(_known_lead(name) for name in leads)
    ecg = layout.ecg if window is None else replace(layout.ecg, window=window)
    state = dict(layout.state)
    rows = layout.leads
    if names != tuple(own) and set(names) <= set(own) and len(own) == layout.leads:
        # These leads are among the encoder's own: their rows are taken as they are, no row is made up.
        grid = state["pos_embed"][:, 1:].unflatten(1, (rows, -1))[:, [own.index(name) for name in names]]
        state["pos_embed"] = torch.cat([state["pos_embed"][:, :1], grid.flatten(1, 2)], dim=1)
        rows = len(names)
    model = EcgEncoder(ecg, layout.encoder, pooling or layout.pooling, leads=len(names))
    load_pretrained(model, state, leads=rows)
    return PretrainedEncoder(model, names, ecg.sampling_rate)


def _cmr_encoder(state: dict[str, torch.Tensor], config) -> CmrEncoder:
    encoder = CmrEncoder(config)
    own = encoder.state_dict()
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    if missing:
        raise ValueError(f"weights of a CMR encoder: lacks {', '.join(missing[:5])}")
    for name, value in own.items():
        if name in state and state[name].shape != value.shape:
            raise ValueError(f"{name}: expected {tuple(value.shape)}, found {tuple(state[name].shape)}")
    encoder.load_state_dict({name: state[name] for name in own if name in state}, strict=False)
    return encoder


def _known_lead(name: str) -> str:
    lead = canonical_lead(name)
    if lead is None:
        raise ValueError(f"lead {name!r}: expected one of {', '.join(LEADS)}")
    return lead

"""Pre-trained encoders from a file, ready for one's own ECGs; and to a file, with a card that says what they are."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mmcl.atomic import atomic_path
from mmcl.config import LEADS, EcgConfig
from mmcl.data.augmentation import first_crop, tiled_crops
from mmcl.data.ecg_preprocessing import reduce_sampling_rate
from mmcl.data.signals import canonical_lead
from mmcl.data.single import as_array, prepare_ecg
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.ecg_encoder import EcgEncoder, load_pretrained
from mmcl.models.layout import EcgLayout, cmr_layout, ecg_layout, modalities
from mmcl.models.weights import read_tensors

CARD = ("data", "preset", "metrics", "licence")
"""What a model card must say beside what the encoder is and is for."""

_TOLD = {
    "missing": "without {}, taken as 0",
    "flat": "without a signal in {}",
    "nan": "with NaN in {}, taken as 0",
    "short": "shorter than 10 s, continued by their last value",
    "amplitude": "of implausible amplitude (is the unit right?)",
}
"""Flags of `mmcl.data.signals` that `embed` warns of: what was filled in, or is probably an error."""

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
    of its features; `card` what the file that it came from says of it.
    """

    def __init__(
        self, model: EcgEncoder, leads: Sequence[str], sampling_rate: int, card: Mapping[str, str] | None = None
    ):
        super().__init__()
        self.model = model
        self.leads = tuple(leads)
        self.sampling_rate = sampling_rate
        self.window = model.grid[1] * model.patch
        self.width = model.width
        self.card = dict(card or {})

    def forward(self, ecg: torch.Tensor) -> torch.Tensor:
        """Features: (batch, leads, window) preprocessed -> (batch, width)."""
        return self.model(ecg)

    def tokens(self, ecg: torch.Tensor) -> torch.Tensor:
        """Patch tokens after the last block: (batch, leads, window) -> (batch, leads * columns, width)."""
        return self.model.tokens(ecg)

    def embed(
        self,
        signals: np.ndarray | torch.Tensor | Sequence[np.ndarray],
        sampling_rate: float,
        leads: Sequence[str] = LEADS,
        unit: str = "mV",
        batch: int = 64,
        tile: bool = True,
        as_stored: bool = False,
    ) -> np.ndarray | torch.Tensor:
        """Features (n, width) of raw ECGs `signals` (n, leads, samples), or (width,) of one (leads, samples).

        A list may hold recordings of different length. `leads` names the signals in any order and spelling, `unit` (V,
        mV, uV, nV) is theirs, at `sampling_rate` Hz; what is absent is computed or filled by the rules of
        `mmcl.data.signals`, and a warning says how often. An encoder of fewer than twelve leads needs its own leads
        alone, but all leads that are given take part in the standardisation: give the same ones every time. Ten seconds
        are preprocessed (method section 3), a shorter recording with its filling; the result is the mean over the
        windows that tile them, or that of the first window when not `tile`. `as_stored` rounds them to half precision,
        as a cohort's store does, for features that equal those of training to 1e-6. It runs on the encoder's device; an
        array comes back for an array, a tensor, there, for a tensor. ValueError names an ECG that cannot be used, its
        value and what was expected.
        """
        records, single, shape = _records(signals)
        if any(record.ndim != 2 or len(record) != len(leads) for record in records) or shape[-2] != len(leads):
            transposed = "; are they transposed?" if shape[-1] == len(leads) else ""
            raise ValueError(
                f"signals of shape {shape}: expected ([n,] {len(leads)} leads, samples), as named by leads{transposed}"
            )
        if batch < 1:
            raise ValueError(f"batch {batch}: expected at least 1")
        weight = next(self.parameters())
        rows = [LEADS.index(name) for name in self.leads]
        needed = None if len(rows) == len(LEADS) else self.leads
        flags: list[str] = []
        parts = [torch.empty(0, self.width, device=weight.device)]
        for start in range(0, len(records), batch):
            chosen = records[start : start + batch]
            ready = [
                prepare_ecg(record, sampling_rate, leads, unit, f"signal {start + k}", needed)
                for k, record in enumerate(chosen)
            ]
            flags += [flag for _, found in ready for flag in found]
            ecg = reduce_sampling_rate(np.stack([signal for signal, _ in ready]), self.sampling_rate)[:, rows]
            ecg = ecg.astype(np.float16) if as_stored else ecg
            parts.append(window_features(self, torch.from_numpy(ecg).to(weight.device), self.window, tile))
        strangers = [name for name in leads if canonical_lead(name) is None]
        if strangers:
            warnings.warn(f"{', '.join(strangers)}: none of the twelve leads, not used", stacklevel=2)
        _warn(flags, len(records), self.leads)
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
    dtype = next(encoder.parameters()).dtype
    features = encoder(crops.flatten(0, 1).to(dtype)).unflatten(0, crops.shape[:2]).mean(dim=1).float()
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
    without it); a CMR encoder maps (batch, 3, rows, columns) in [0, 1] to (batch, 2048) and takes no further option.

    For an ECG encoder `window` samples other than its own resample its position embedding over time. `leads` that it
    knows, in any order, take the rows of the position embedding that are theirs; leads that it does not know take a
    mean of the rows of their neighbours in the usual order. A file of other than twelve leads that does not name them
    (exports do) is taken to be of `leads`, where that is their number, else of the first of the usual order, with a
    warning, and then resampled over leads. `pooling` is class, mean or attention; `heads` must be given for a width
    that was not published, unless the file is this project's; `source_leads` where the position embedding does not
    tell how many leads it is for. A norm after pooling that the file lacks is the identity after standardisation;
    attention pooling that it lacks is random, with a warning: it has to be trained before it says anything. No code of
    the file runs. ValueError tells what was expected and what was found.

    >>> import tempfile
    >>> from mmcl.config import EcgConfig, EncoderConfig
    >>> path = Path(tempfile.mkdtemp(), "signal_encoder.pth")  # in place of a released file
    >>> torch.save({"model": EcgEncoder(EcgConfig(), EncoderConfig()).state_dict()}, path)
    >>> encoder = load_encoder(path)
    >>> encoder.width, encoder.window, len(encoder.leads)
    (384, 2500, 12)
    >>> signals = np.random.default_rng(0).normal(size=(2, 12, 5000))
    >>> encoder.embed(signals, sampling_rate=500, leads=LEADS, unit="mV").shape
    (2, 384)
    >>> load_encoder(path, leads=["V5", "II"], window=5000)(torch.zeros(1, 2, 5000)).shape
    torch.Size([1, 384])
    """
    state, metadata = read_tensors(path)
    try:
        held = modalities(state)
        modality = modality or (held[0] if held else "ecg")
        if modality == "ecg":
            layout = ecg_layout(state, metadata, heads, source_leads)
            # Initial values are overwritten; the caller's random numbers stay as they would have been.
            with torch.random.fork_rng(devices=[]):
                encoder = _ecg_encoder(layout, metadata, window, leads, pooling)
        elif modality == "cmr":
            given = {"window": window, "leads": leads, "pooling": pooling, "heads": heads, "source_leads": source_leads}
            of_ecg = [name for name, value in given.items() if value is not None]
            if of_ecg:
                raise ValueError(f"a CMR encoder and {', '.join(of_ecg)}: expected none of these, which are for ECGs")
            encoder = _cmr_encoder(*cmr_layout(state))
        else:
            raise ValueError(f"modality {modality!r}: expected 'ecg' or 'cmr'")
        for name, value in encoder.state_dict().items():
            if not value.isfinite().all():
                raise ValueError(f"{name}: expected finite numbers, found NaN or infinity")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {str(device)!r}: PyTorch finds no CUDA device")
    return encoder.to(device).eval()


def export_encoder(encoder: PretrainedEncoder, path: str | Path, card: Mapping[str, object] | None = None) -> Path:
    """Write `encoder` as safetensors to `path` (.safetensors) with all that `load_encoder` needs, and its card (.md).

    `card` has the rows of the model card: `data`, `preset`, `metrics`, `licence`, and whatever else a user must know;
    rows of the file that the encoder was loaded from stay. Without `card` what is not known is said to be. The intended
    use, research and not a medical device, is always stated. Returns the weights' path; both files appear whole or not
    at all. ValueError for a card that lacks a row.

    >>> import tempfile
    >>> from mmcl.config import EcgConfig, EncoderConfig
    >>> model = EcgEncoder(EcgConfig(), EncoderConfig())
    >>> card = {"data": "none", "preset": "corrected", "metrics": "none: random weights", "licence": "CC0-1.0"}
    >>> path = export_encoder(PretrainedEncoder(model, LEADS, 500), Path(tempfile.mkdtemp(), "random"), card)
    >>> path.name, path.with_suffix(".md").exists()
    ('random.safetensors', True)
    >>> load_encoder(path).card["licence"]
    'CC0-1.0'
    """
    from safetensors.torch import save_file

    if not isinstance(encoder, PretrainedEncoder):
        raise ValueError(f"an encoder of type {type(encoder).__name__}: expected what load_encoder gives for ECGs")
    rows = encoder.card | {key: str(value) for key, value in (card or {}).items()}
    lacking = [key for key in CARD if not rows.get(key, "").strip()]
    if card is not None and lacking:
        raise ValueError(f"a model card without {', '.join(lacking)}: expected {', '.join(CARD)}")
    rows = dict.fromkeys(CARD, "not stated") | {key: " ".join(value.split()) for key, value in rows.items() if value}
    path = Path(path)
    path = path if path.suffix == ".safetensors" else path.with_name(f"{path.name}.safetensors")
    model = encoder.model
    facts = {
        "format": "mmcl ecg encoder",
        "leads": str(len(encoder.leads)),
        "lead_names": json.dumps(encoder.leads),
        "sampling_rate": str(encoder.sampling_rate),
        "heads": str(model.blocks[0].attn.heads),
        "pooling": model.pooling,
        "norms": "1" if model.single_fc_norm else "2",
        "card": json.dumps(rows),
    }
    with atomic_path(path) as part:
        save_file({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, part, facts)
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
        rows="".join(f"| {key} | {value} |\n" for key, value in _escaped(rows).items()),
    )
    with atomic_path(path.with_suffix(".md")) as part:
        part.write_text(text, encoding="utf-8")
    return path


def _escaped(rows: Mapping[str, str]) -> dict[str, str]:
    """Rows whose bars do not end a cell of a Markdown table."""
    return {key.replace("|", "\\|"): value.replace("|", "\\|") for key, value in rows.items()}


def _records(signals: np.ndarray | torch.Tensor | Sequence[np.ndarray]) -> tuple[list[np.ndarray], bool, tuple]:
    """Recordings as arrays, whether it was one alone, and the shape of them all, or of one of a list."""
    if isinstance(signals, (list, tuple)) and signals and all(np.ndim(one) == 2 for one in signals):
        records = [as_array(one) for one in signals]
        odd = [record.shape for record in records if len(record) != len(records[0])]
        return records, False, (odd or [records[-1].shape])[0]
    array = as_array(signals)
    if array.ndim not in (2, 3):
        raise ValueError(f"signals of shape {array.shape}: expected ([n,] leads, samples)")
    return ([array], True, array.shape) if array.ndim == 2 else (list(array), False, array.shape)


def _warn(flags: Sequence[str], count: int, leads: Sequence[str]) -> None:
    """Warn of what was filled in or looks wrong in some of `count` ECGs, of single leads where they are of `leads`."""
    told: Counter[str] = Counter()
    for flag in flags:
        kind, _, detail = flag.partition(":")
        if kind in _TOLD and ("{}" not in _TOLD[kind] or detail in leads):
            told[_TOLD[kind].format(detail)] += 1
    if told:
        text = ", ".join(f"{n} {what}" for what, n in sorted(told.items()))
        warnings.warn(f"of {count} ECGs {text} (rules: mmcl.data.signals)", stacklevel=3)


def _ecg_encoder(
    layout: EcgLayout,
    metadata: Mapping[str, str],
    window: int | None,
    leads: Sequence[str] | None,
    pooling: str | None,
) -> PretrainedEncoder:
    own = _own_leads(metadata, layout.leads)
    names = None if leads is None else _lead_names(leads)
    if own is None and (names is None or len(names) != layout.leads):
        taken = f"taken as {' '.join(LEADS[: layout.leads])}; give leads=" if names is None else "resampled"
        warnings.warn(f"the file names none of its {layout.leads} leads: {taken}", stacklevel=3)
    elif own is None:
        own = names
    names = names or own or LEADS[: layout.leads]
    state, rows = dict(layout.state), layout.leads
    if own is not None and names != own:
        state["pos_embed"] = _rows_of(state["pos_embed"], own, names)
        rows = len(names)
    ecg = layout.ecg if window is None else replace(layout.ecg, window=_window(window, layout.ecg))
    pooling = pooling or layout.pooling
    if pooling == "attention" and not any(name.startswith("attention_pool.") for name in state):
        warnings.warn("the file holds no attention pooling: it starts from random weights", stacklevel=3)
    model = EcgEncoder(ecg, layout.encoder, pooling, leads=len(names), single_fc_norm=layout.single_fc_norm)
    load_pretrained(model, state, leads=rows)
    return PretrainedEncoder(model, names, ecg.sampling_rate, _json(metadata, "card", {}))


def _window(window: int, ecg: EcgConfig) -> int:
    """`window` where it is whole patches within a record; ValueError otherwise."""
    whole = isinstance(window, int) and not isinstance(window, bool)
    if not whole or not 0 < window <= ecg.record or window % ecg.patch:
        raise ValueError(
            f"window {window!r}: expected a multiple of the patch, {ecg.patch}, up to {ecg.record} samples"
        )
    return window


def _rows_of(embedding: torch.Tensor, own: Sequence[str], names: Sequence[str]) -> torch.Tensor:
    """Position embedding (1, 1 + tokens, width) for the leads `names` from that for `own`.

    A lead of `own` keeps its row; another lies between the rows of the nearest of `own` in the order of `LEADS`.
    """
    place = {LEADS.index(name): row for row, name in enumerate(own)}
    known = sorted(place)
    share = torch.zeros(len(names), len(own), dtype=embedding.dtype)
    for target, name in enumerate(names):
        lead = LEADS.index(name)
        below = max((k for k in known if k <= lead), default=known[0])
        above = min((k for k in known if k >= lead), default=known[-1])
        part = (lead - below) / (above - below) if above > below else 0.0
        share[target, place[below]] += 1 - part
        share[target, place[above]] += part
    grid = embedding[:, 1:].unflatten(1, (len(own), -1))
    grid = torch.einsum("to,bocw->btcw", share, grid)
    return torch.cat([embedding[:, :1], grid.flatten(1, 2)], dim=1)


def _own_leads(metadata: Mapping[str, str], count: int) -> tuple[str, ...] | None:
    """Names of the leads that a file is of; None when it does not tell."""
    named = _json(metadata, "lead_names", [])
    names = _lead_names(named) if named else ()
    if names and len(names) == count:
        return names
    return LEADS if count == len(LEADS) else None


def _json(metadata: Mapping[str, str], name: str, default: list | dict) -> list | dict:
    """A list or dictionary of strings from a file's metadata, `default` when it is not there."""
    try:
        content = json.loads(metadata.get(name, json.dumps(default)))
    except (ValueError, RecursionError):
        content = None
    strings = content.values() if isinstance(content, dict) else content
    if type(content) is not type(default) or not all(isinstance(one, str) for one in strings):
        raise ValueError(f"metadata {name} {metadata[name][:40]!r}: expected a {type(default).__name__} of strings")
    return content


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


def _lead_names(names: Sequence[str]) -> tuple[str, ...]:
    """`names` in the project's spelling; ValueError for an unknown one and one that comes twice."""
    if not names:
        raise ValueError(f"no leads: expected some of {', '.join(LEADS)}")
    found = []
    for name in names:
        lead = canonical_lead(name)
        if lead is None or lead in found:
            raise ValueError(f"lead {name!r}: expected each once of {', '.join(LEADS)}")
        found.append(lead)
    return tuple(found)

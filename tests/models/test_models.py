"""What every model must do; a public model without a case here fails the first test."""

import importlib
import pkgutil
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import mmcl.models
from mmcl.config import LEADS, CmrEncoderConfig, DecoderConfig, EcgConfig, EncoderConfig
from mmcl.models.cmr_encoder import CmrEncoder
from mmcl.models.contrastive import ContrastiveModel
from mmcl.models.ecg_encoder import EcgEncoder, PatchEmbedding
from mmcl.models.masked_autoencoder import MaskedAutoencoder, MaskedDecoder
from mmcl.models.pretrained import PretrainedEncoder
from mmcl.models.projection import ProjectionHead
from mmcl.models.transformer import Attention, Block, DropPath, Mlp
from mmcl.models.views import ByolModel, CmrViews, EcgViews

ECG = EcgConfig(sampling_rate=125, window=100, patch=25)
ENCODER = EncoderConfig(width=16, depth=2, heads=4)
CMR_ENCODER = CmrEncoderConfig("bottleneck", (1, 1, 1, 1), (4, 4, 4, 4))


def _ecg(pooling: str) -> EcgEncoder:
    return EcgEncoder(ECG, ENCODER, pooling=pooling)


class Decoding(nn.Module):
    """The decoder on some kept tokens, which it takes as integers."""

    def __init__(self):
        super().__init__()
        self.decoder = MaskedDecoder(ECG, 16, DecoderConfig(width=16, depth=1, heads=4))

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        return self.decoder.decode(latent, torch.arange(10).expand(len(latent), -1))


# name: (build, shapes of the inputs, shapes of the outputs)
CASES: dict[str, tuple[Callable[[], nn.Module], list, list]] = {
    "Attention": (lambda: Attention(8, 2), [(3, 5, 8)], [(3, 5, 8)]),
    "Block": (lambda: Block(8, 2), [(3, 5, 8)], [(3, 5, 8)]),
    "DropPath": (lambda: DropPath(0.1), [(3, 5, 8)], [(3, 5, 8)]),
    "Mlp": (lambda: Mlp(8, 16), [(3, 5, 8)], [(3, 5, 8)]),
    "PatchEmbedding": (lambda: PatchEmbedding(25, 16), [(3, 48, 25)], [(3, 48, 16)]),
    "ProjectionHead": (lambda: ProjectionHead(16, 32, 8), [(3, 16)], [(3, 8)]),
    "EcgEncoder": (lambda: _ecg("mean"), [(3, 12, 100)], [(3, 16)]),
    "EcgEncoder class": (lambda: _ecg("class"), [(3, 12, 100)], [(3, 16)]),
    "EcgEncoder attention": (lambda: _ecg("attention"), [(3, 12, 100)], [(3, 16)]),
    "PretrainedEncoder": (lambda: PretrainedEncoder(_ecg("mean"), LEADS, 125), [(3, 12, 100)], [(3, 16)]),
    "MaskedAutoencoder": (
        lambda: MaskedAutoencoder(ECG, ENCODER, DecoderConfig(width=16, depth=1, heads=4)),
        [(3, 12, 100)],
        [(3, 48, 25), (3, 48), (3, 11, 16)],
    ),
    "MaskedDecoder": (Decoding, [(3, 11, 16)], [(3, 48, 25)]),
    "EcgViews": (lambda: EcgViews(_ecg("mean"), ProjectionHead(16, 32, 8)), [(3, 12, 100)], [(3, 8)]),
    "EcgViews three layers": (
        lambda: EcgViews(_ecg("mean"), ProjectionHead(16, 32, 8, batch_norm=True, depth=3)),
        [(3, 12, 100)],
        [(3, 8)],
    ),
    "CmrViews": (lambda: CmrViews(CmrEncoder(CMR_ENCODER), ProjectionHead(16, 32, 8)), [(3, 3, 48, 48)], [(3, 8)]),
    "ByolModel": (lambda: ByolModel(_ecg("mean"), 32, 8), [(3, 12, 100)], [(3, 8), (3, 8)]),
    "CmrEncoder": (lambda: CmrEncoder(CMR_ENCODER), [(3, 3, 48, 48)], [(3, 16)]),
    "ContrastiveModel": (
        lambda: ContrastiveModel(_ecg("mean"), CmrEncoder(CMR_ENCODER), 32, 8),
        [(3, 12, 100), (3, 3, 48, 48)],
        [(3, 8), (3, 8)],
    ),
}


def _run(model: nn.Module, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    result = model(*inputs)
    return result if isinstance(result, tuple) else (result,)


def test_every_public_model_has_a_case():
    found = set()
    for module in pkgutil.iter_modules(mmcl.models.__path__, "mmcl.models."):
        for name, thing in vars(importlib.import_module(module.name)).items():
            if isinstance(thing, type) and issubclass(thing, nn.Module) and thing.__module__ == module.name:
                found |= {name} - {name if name.startswith("_") else ""}
    assert found == {name.split()[0] for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_shapes_and_gradients(name):
    build, inputs, outputs = CASES[name]
    model = build()
    results = _run(model, [torch.randn(shape) for shape in inputs])
    assert [tuple(r.shape) for r in results] == outputs
    if not any(p.requires_grad for p in model.parameters()):
        return
    # Squares, for the sum of a normalised vector does not depend on what comes before the norm.
    sum((r * torch.randn_like(r)).square().sum() for r in results).backward()
    for parameter_name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"{parameter_name} is not used"
            assert parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize("name", CASES)
def test_saved_weights_give_equal_outputs(name, tmp_path):
    build, inputs, _ = CASES[name]
    first, second = build().eval(), build().eval()
    x = [torch.randn(shape) for shape in inputs]
    with torch.no_grad():
        if list(first.parameters()):
            assert not all(torch.equal(a, b) for a, b in zip(_run(first, x), _run(second, x), strict=True))
        save_file(first.state_dict(), tmp_path / "weights.safetensors")
        second.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert all(torch.equal(a, b) for a, b in zip(_run(first, x), _run(second, x), strict=True))

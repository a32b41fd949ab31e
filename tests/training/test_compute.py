"""Precision, compiled models, fused optimisers: faster, with the same results."""

import dataclasses

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mmcl.config import ComputeConfig, preset
from mmcl.data.augmentation import augment_cmr
from mmcl.profiles import PROFILES, profile
from mmcl.training.compute import compile_model, lightning_precision
from mmcl.training.finetuning import finetune_seeds
from mmcl.training.objectives import OBJECTIVES
from mmcl.training.pretraining import history, pretrain

PROFILE = profile("smoke")
CPU = torch.device("cpu")


def module_and_batch(objective, batch=8, **options):
    torch.manual_seed(0)
    recipe = dataclasses.replace(getattr(PROFILE, objective), **options)
    module = OBJECTIVES[objective](dataclasses.replace(PROFILE, **{objective: recipe}), preset("corrected"), 0)
    module.record = lambda *arguments, **scores: None
    random = torch.Generator().manual_seed(0)
    side = PROFILE.cmr.crop
    return module, {
        "ecg": torch.randn(batch, 12, PROFILE.ecg.record, generator=random).half(),
        "cmr": torch.randint(0, 256, (batch, 3, side, side), generator=random, dtype=torch.uint8),
        "subject": torch.arange(batch) // 2,
    }


def loss(module, batch, stage="train"):
    return module.step(stage, batch, torch.Generator().manual_seed(1))


OPTIONS = [(objective, {}) for objective in OBJECTIVES] + [
    ("mdm", {"masked_only": True, "per_patch": True, "similarity_weight": 0.1}),
    ("mmcl", {"learn_temperature": True}),
    ("mmcl", {"loss": "sigmoid"}),
    ("mmcl", {"local_weight": 0.1, "learn_temperature": True}),
]


@pytest.mark.parametrize("stage", ["train", "validation"])
@pytest.mark.parametrize("objective, options", OPTIONS)
def test_a_step_never_waits_for_a_number(objective, options, stage):
    """Tensors without numbers go through a step: what asks for one, and so would wait for a GPU, raises."""
    module, batch = module_and_batch(objective, **options)
    random = torch.Generator().manual_seed(1)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        value = module.step(stage, {name: fake.from_tensor(values) for name, values in batch.items()}, random)
        value.backward()
        with pytest.raises(Exception, match="item|local_scalar"):
            float(value.detach())


@pytest.mark.gpu
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_on_a_gpu_never_waits(objective):
    module, batch = module_and_batch(objective)
    module.to("cuda")
    batch = {name: values.cuda() for name, values in batch.items()}
    random = torch.Generator("cuda").manual_seed(1)
    module.step("train", batch, random).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.autocast("cuda", torch.bfloat16):
            value = module.step("train", batch, random)
        value.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_compiled_model_is_one_graph_with_the_same_loss_and_gradients(objective):
    module, batch = module_and_batch(objective)
    plain = loss(module, batch)
    plain.backward()
    gradients = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    compiled, _ = module_and_batch(objective)
    compiled.model.compile(backend="aot_eager", dynamic=False, fullgraph=True)
    value = loss(compiled, batch)
    value.backward()
    assert torch.allclose(value, plain, rtol=1e-5, atol=1e-6)
    assert compiled.state_dict().keys() == module.state_dict().keys()
    for name, parameter in compiled.named_parameters():
        if name in gradients:
            assert torch.allclose(parameter.grad, gradients[name], rtol=1e-3, atol=1e-6), name


def test_nothing_is_compiled_without_a_gpu():
    module, _ = module_and_batch("mdm")
    compile_model(module.model, ComputeConfig(), CPU)
    assert module.model._compiled_call_impl is None


def test_only_the_profile_of_the_paper_is_compiled():
    assert {name for name, numbers in PROFILES.items() if numbers.compute.compiled} == {"paper"}


def test_precision_by_name(monkeypatch):
    assert lightning_precision(ComputeConfig(precision="single"), torch.device("cuda")) == "32-true"
    assert lightning_precision(ComputeConfig(precision="mixed"), CPU) == "bf16-mixed"
    for able, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able, **keywords: able)
        assert lightning_precision(ComputeConfig(), torch.device("cuda")) == expected
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: {"avx512_bf16": able}, raising=False)
        assert lightning_precision(ComputeConfig(), CPU) == expected
    with pytest.raises(ValueError, match="unknown precision 'half'; expected one of single, mixed"):
        lightning_precision(ComputeConfig(precision="half"), CPU)


@pytest.mark.parametrize("task", ["risk", "phenotypes"])
@pytest.mark.parametrize("arm, side_by_side", [("scratch", 1), ("scratch", 2), ("cmr", 1)])
def test_fine_tuning_in_mixed_precision(own_setting, arm, task, side_by_side):
    downstream = dataclasses.replace(PROFILE.downstream, side_by_side=side_by_side)
    mixed = ComputeConfig(precision="mixed", compiled=False)
    profile = dataclasses.replace(PROFILE, compute=mixed, downstream=downstream)
    setting = dataclasses.replace(own_setting, profile=profile)
    for outcome in finetune_seeds(arm, task, None, (0, 1), setting).values():
        assert np.isfinite(outcome.load("test").score).all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_mixed_precision_moves_a_loss_by_rounding_alone(objective):
    module, batch = module_and_batch(objective)
    with torch.no_grad():
        single = loss(module, batch)
        module, _ = module_and_batch(objective)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = loss(module, batch)
    assert mixed.dtype == torch.float32
    assert torch.allclose(mixed, single, rtol=0.02)


def test_images_are_sampled_in_single_precision_under_autocast():
    cmr = torch.rand(4, 3, 78, 78)
    plain = augment_cmr(cmr, PROFILE.cmr, PROFILE.mmcl.cmr_augmentation, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = augment_cmr(cmr, PROFILE.cmr, PROFILE.mmcl.cmr_augmentation, torch.Generator().manual_seed(0))
    assert torch.equal(plain, mixed)


def test_gradients_are_clipped_under_mixed_precision_with_a_fused_optimiser(own_setting):
    """Lightning refuses this on its own; the update of plain gradient descent tells the norm that was left."""
    mixed = dataclasses.replace(PROFILE, compute=ComputeConfig(precision="mixed", compiled=False))
    folder = pretrain("mdm", dataclasses.replace(own_setting, profile=mixed))
    assert history(folder)["train_loss"].is_monotonic_decreasing


def test_the_norm_of_gradients_is_limited():
    module, batch = module_and_batch("mdm")
    (loss(module, batch) * 1e3).backward()
    module.configure_gradient_clipping(None, 0.5)
    norm = torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm()
    assert torch.allclose(norm, torch.tensor(0.5), rtol=1e-4)

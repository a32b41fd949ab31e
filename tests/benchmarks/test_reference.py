"""The reference path computes what the project computes: same weights and input, same loss and gradient."""

import dataclasses

import numpy as np
import pytest
import torch

from mmcl.config import CmrAugmentation, CmrConfig, EcgAugmentation, preset
from mmcl.data.augmentation import augment_cmr, augment_ecg, first_crop, resize
from mmcl.profiles import profile
from mmcl.training.batches import generator
from mmcl.training.pretraining import new_module
from tests.benchmarks.reference.augmentation import augment_one_cmr, augment_one_ecg
from tests.benchmarks.reference.training import PUBLISHED
from tests.benchmarks.roofline import stored_batch

CPU = torch.device("cpu")


@pytest.mark.parametrize("arm", ["mdm", "mmcl"])
def test_same_loss_and_gradient_as_the_project(arm, monkeypatch):
    sizes = profile("smoke")
    torch.manual_seed(0)
    module = new_module(arm, sizes, preset("corrected"), 0).train()
    monkeypatch.setattr(module, "record", lambda *arguments, **scores: None)
    published = PUBLISHED[arm](module, sizes, CPU)
    batch = stored_batch(sizes, 6)
    loss = module.step("validation", batch, generator(CPU, 1))
    whole = {"ecg": first_crop(batch["ecg"], sizes.ecg.window), "cmr": resize(batch["cmr"], sizes.cmr)}
    expected = published.loss(whole, generator(CPU, 1))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    loss.backward()
    expected.backward()
    ours, theirs = (dict(model.named_parameters()) for model in (module.model, published.model))
    assert ours.keys() == theirs.keys()
    for name, parameter in ours.items():
        if parameter.requires_grad:
            torch.testing.assert_close(theirs[name].grad, parameter.grad, rtol=1e-3, atol=1e-5, msg=name)
    assert published.step(whole) > 0


def test_one_by_one_as_in_batches_ecg():
    """Mean and deviation of augmented ECGs agree between both ways, as far as so many draws can tell."""
    recipe, window, draws = EcgAugmentation(probability=0.95, phase_probability=1.0), 300, 2000
    record = np.sin(np.arange(300) / 7)[None].repeat(12, axis=0).astype(np.float16)
    random = np.random.default_rng(0)
    one = torch.stack([augment_one_ecg(record, window, recipe, True, random) for _ in range(draws)])
    many = augment_ecg(torch.from_numpy(record).expand(draws, -1, -1), window, recipe, True, generator(CPU, 0))
    for moment in (torch.mean, torch.std):
        torch.testing.assert_close(moment(one, 0), moment(many, 0), rtol=0, atol=0.1)
    torch.testing.assert_close(
        one.square().mean((1, 2)).quantile(0.9), many.square().mean((1, 2)).quantile(0.9), rtol=0.1, atol=0
    )


def test_one_by_one_as_in_batches_cmr():
    recipe, side, draws = CmrAugmentation(), 32, 2000
    image = np.zeros((3, 32, 32), np.uint8)
    image[0, 8:24, 12:28], image[1, 10:22, 8:20], image[2] = 200, 150, 50
    random = np.random.default_rng(0)
    one = torch.stack([augment_one_cmr(image, side, recipe, random) for _ in range(draws)])
    view = CmrConfig(crop=side, image_size=side)
    many = augment_cmr(torch.from_numpy(image).expand(draws, -1, -1, -1), view, recipe, generator(CPU, 0))
    assert one.min() >= 0 and one.max() <= 1
    torch.testing.assert_close(one.mean(0), many.mean(0), rtol=0, atol=0.06)
    torch.testing.assert_close(one.std(0), many.std(0), rtol=0, atol=0.06)


def test_without_augmentation_nothing_changes():
    never = dataclasses.replace(EcgAugmentation(), probability=0.0)
    record = np.random.default_rng(0).standard_normal((12, 300)).astype(np.float16)
    ecg = augment_one_ecg(record, 300, never, True, np.random.default_rng(0))
    np.testing.assert_array_equal(ecg.numpy(), record.astype(np.float32))

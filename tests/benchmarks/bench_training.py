"""Steps of pre-training and fine-tuning beside the published way of running them, at the published sizes."""

import dataclasses

import pytest
import torch

from mmcl.config import Profile, preset
from mmcl.data.augmentation import first_crop
from mmcl.profiles import profile
from mmcl.training.pretraining import new_module
from mmcl.training.supervised import Supervised
from mmcl.training.tasks import open_task
from tests.benchmarks.fast import compare_training
from tests.benchmarks.reference.training import PUBLISHED
from tests.benchmarks.roofline import Cost, pretraining_cost, step_cost, stored_batch
from tests.benchmarks.timing import Comparison

# Batches, steps of a turn and pairs of turns. On a GPU the published batches.
SIZES = {"cpu": {"mdm": (16, 1, 7), "mmcl": (16, 1, 5), "finetune": (8, 1, 5)}}
SIZES["cuda"] = {"mdm": (128, 20, 9), "mmcl": (256, 10, 9), "finetune": (32, 20, 9)}
LABELS = {"mdm": "MDM step", "mmcl": "MMCL step", "finetune": "fine-tuning step"}
PAPER = profile("paper")


def sized(batch: int, epochs: int = 1) -> Profile:
    """The published sizes, one epoch of `batch`."""
    short = {"batch": batch, "epochs": epochs, "warmup": 1}
    recipes = {name: dataclasses.replace(getattr(PAPER, name), **short) for name in ("mdm", "mmcl")}
    finetune = dataclasses.replace(PAPER.downstream.finetune, **short, learning_rates=(8e-6,), drop_path=0.0)
    return dataclasses.replace(PAPER, **recipes, downstream=dataclasses.replace(PAPER.downstream, finetune=finetune))


def modules(arm, store, device, batch):
    """A module of this project, its published form with the same weights, and labels of all rows."""
    sizes, labels, choices = sized(batch), None, preset("corrected")
    torch.manual_seed(0)
    if arm == "finetune":
        task = open_task("risk", store, None, 0, "weights")
        labels = task.labels
        module = Supervised("mdm", task, sizes, choices, sizes.downstream.finetune, 0)
    else:
        module = new_module(arm, sizes, choices, 0)
    return module, PUBLISHED[arm](module, sizes, device), labels


def finetuning_cost(module: Supervised, batch: int) -> Cost:
    data = stored_batch(module.profile, batch)["ecg"]

    def loss(size: int) -> torch.Tensor:
        ecg = first_crop(data[:size], module.profile.ecg.window)
        return module.loss(module(ecg), torch.ones(size, module.head.out_features))

    return step_cost(loss, module, data[0].nbytes, batch)


@pytest.mark.parametrize("arm", LABELS)
def test_step(benchmark, arm, store, device, hardware, keep, tmp_path):
    batch, steps, rounds = SIZES[device.type][arm]
    module, published, labels = modules(arm, store, device, batch)
    cost = finetuning_cost(module, batch) if arm == "finetune" else pretraining_cost(arm, PAPER, batch)
    comparison = Comparison(LABELS[arm], f"batch {batch}", "subjects", hardware.step(cost) / batch)
    monitor = "validation_score" if arm == "finetune" else "validation_loss"
    arguments = (comparison, module, published, store, labels, batch, steps, rounds, tmp_path, monitor)
    benchmark.pedantic(compare_training, args=arguments, rounds=1)
    assert len(comparison.fast) == len(comparison.reference) == rounds
    keep(comparison)

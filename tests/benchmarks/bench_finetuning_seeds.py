"""Fine-tuning of five seeds, side by side and one after another: an encoder of the demo's size on a CPU, of the
published size on a GPU. Both ways include setting up the training and its validation.
"""

import dataclasses

import numpy as np
import pytest

from mmcl.config import preset
from mmcl.profiles import profile
from mmcl.training.finetuning import fit
from mmcl.training.supervised import Supervised
from mmcl.training.tasks import open_task
from tests.benchmarks.bench_training import finetuning_cost
from tests.benchmarks.stores import random_store
from tests.benchmarks.timing import Comparison, in_turn

SEEDS, BATCH = (0, 101, 202, 303, 404), 16


@pytest.fixture
def sizes(device):
    small = profile("demo")
    return dataclasses.replace(small, encoder=profile("paper").encoder) if device.type == "cuda" else small


def test_five_seeds(benchmark, device, hardware, sizes, keep, tmp_path):
    steps = 100 if device.type == "cuda" else 4
    few = open_task("risk", random_store(tmp_path / "store", sizes, 64))
    task = dataclasses.replace(few, train=np.resize(few.train, BATCH * steps))
    recipe = dataclasses.replace(sizes.downstream.scratch, epochs=1, batch=BATCH)

    def train(at_once):
        models = [Supervised("scratch", task, sizes, preset("corrected"), recipe, seed) for seed in SEEDS]
        for start in range(0, len(models), at_once):
            part = models[start : start + at_once]
            fit(part, [task] * len(part), [tmp_path / str(model.seed) for model in part], device)

    items = len(SEEDS) * BATCH * steps
    cost = finetuning_cost(Supervised("scratch", task, sizes, preset("corrected"), recipe, 0), BATCH)
    comparison = Comparison("five seeds of a fine-tuning", f"batch {BATCH}", "subjects", hardware.step(cost) / BATCH)
    both = (lambda: train(len(SEEDS)), items), (lambda: train(1), items)
    benchmark.pedantic(in_turn, args=(comparison, *both, device, 3), rounds=1)
    keep(comparison)

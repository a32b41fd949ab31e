"""Seconds a step of fine-tuning five seeds: side by side and one after another, interleaved (`make bench`).

One epoch of an encoder of the demo's size on a CPU, of the published size on a GPU. Both ways include setting up the
training and its validation.
"""

import dataclasses
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mmcl.config import Profile, preset
from mmcl.data.store import Store
from mmcl.profiles import profile
from mmcl.setting import choose_device
from mmcl.training.finetuning import fit
from mmcl.training.supervised import Supervised
from mmcl.training.tasks import Task, open_task

SEEDS = (0, 101, 202, 303, 404)
DEVICE = choose_device("auto")
ROUNDS, BATCH, STEPS = 3, 16, 100 if DEVICE.type == "cuda" else 4


@pytest.fixture
def sizes() -> Profile:
    """Records are those of the store in either case."""
    small = profile("demo")
    return dataclasses.replace(small, encoder=profile("paper").encoder) if DEVICE.type == "cuda" else small


@pytest.fixture
def task(smoke_run) -> Task:
    """Disease risk of the store's training subjects, over and over."""
    few = open_task("risk", Store.open(smoke_run.store))
    return dataclasses.replace(few, train=np.resize(few.train, BATCH * STEPS))


def untrained(sizes: Profile, task: Task) -> list[Supervised]:
    recipe = dataclasses.replace(sizes.downstream.scratch, epochs=1, batch=BATCH)
    return [Supervised("scratch", task, sizes, preset("corrected"), recipe, seed) for seed in SEEDS]


def side_by_side(models: list[Supervised], task: Task, folder: Path) -> None:
    fit(models, [task] * len(models), [folder / str(model.seed) for model in models], DEVICE)


def one_after_another(models: list[Supervised], task: Task, folder: Path) -> None:
    for model in models:
        side_by_side([model], task, folder)


def seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def test_finetuning_of_five_seeds(benchmark, sizes, task, tmp_path):
    together, apart = [], []
    side_by_side(untrained(sizes, task), task, tmp_path)  # the first call of anything takes longer
    for _ in range(ROUNDS):
        together.append(seconds(side_by_side, untrained(sizes, task), task, tmp_path))
        apart.append(seconds(one_after_another, untrained(sizes, task), task, tmp_path))
    ratios = sorted(one / other for one, other in zip(apart, together, strict=True))
    benchmark.extra_info |= {"ratio": statistics.median(ratios), "ratios": ratios, "device": str(DEVICE)}
    each = [1000 * statistics.median(times) / STEPS for times in (together, apart)]
    print(f"\n{DEVICE}: a step of five seeds {each[0]:.0f} ms side by side, {each[1]:.0f} ms one after another")
    print(f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    benchmark.pedantic(side_by_side, args=(untrained(sizes, task), task, tmp_path), rounds=1)

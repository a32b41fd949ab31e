"""Cost of pre-training in subjects and epochs, and memory besides the data, at three sizes of the cohort."""

import json
import subprocess
import sys

import numpy as np
import pytest

from mmcl.paths import ROOT
from mmcl.profiles import profile
from tests.benchmarks.scaling import ARMS
from tests.benchmarks.stores import random_store

SIZES = (256, 512, 1024)
EPOCHS = 3


@pytest.fixture(scope="module")
def small_store(tmp_path_factory):
    return random_store(tmp_path_factory.mktemp("scaling") / "store", profile("smoke"), SIZES[-1] + 16).folder


def test_cost_grows_linearly_and_memory_does_not(benchmark, small_store, device, tmp_path):
    def run(subjects):
        program = [sys.executable, "-m", "tests.benchmarks.scaling", small_store, str(subjects), str(EPOCHS)]
        program += [device.type, tmp_path / str(subjects)]
        done = subprocess.run(program, cwd=ROOT, check=True, capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1])

    found = benchmark.pedantic(lambda: [run(subjects) for subjects in SIZES], rounds=1)
    for arm in ARMS:
        # The first epoch warms up; the shortest of the others was disturbed least.
        each = np.array([one["seconds"][arm][1:] for one in found])
        slope = np.polyfit(np.log(SIZES), np.log(each.min(axis=1)), 1)[0]
        drift = np.median(each[:, -1] / each[:, 0])
        benchmark.extra_info[arm] = {"exponent": slope, "last_epoch_over_second": drift}
        print(
            f"\n{arm}: time of an epoch grows with the {slope:.2f}th power of the subjects, the last takes {drift:.2f}"
        )
        print("  times the second; ms a subject:", *(1000 * each.min(axis=1) / SIZES).round(2))
    besides = [one["besides"] for one in found]
    benchmark.extra_info["memory_besides_data"] = dict(zip(map(str, SIZES), besides, strict=True))
    print("MB besides the data:", *(round(size / 1e6) for size in besides))
    assert max(besides) < 1.1 * min(besides)

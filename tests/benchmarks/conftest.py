"""What all benches share: the device (`DEVICE=`), its limits, a store, and the table that `make bench` ends with."""

import datetime
import os

import numpy as np
import pandas as pd
import pytest
import torch

from mmcl.data.store import Store
from mmcl.data.store_writer import StoreWriter
from mmcl.environment import report
from mmcl.paths import build_root
from mmcl.phenotypes import PHENOTYPES
from mmcl.profiles import profile
from mmcl.provenance import write_json
from mmcl.setting import choose_device
from tests.benchmarks.roofline import device_name, measure_hardware, roofline, stored_batch, table
from tests.benchmarks.timing import Comparison, markdown

ROWS = pytest.StashKey[list]()
HARDWARE = pytest.StashKey[object]()
SUBJECTS = 64


def pytest_configure(config):
    config.stash[ROWS] = []


@pytest.fixture(scope="session")
def device() -> torch.device:
    return choose_device(os.environ.get("DEVICE", "auto"))


@pytest.fixture(scope="session")
def hardware(device, request):
    request.config.stash[HARDWARE] = found = measure_hardware(device)
    return found


@pytest.fixture
def keep(request, benchmark):
    """Keeps a comparison for the table, and its ratio in pytest-benchmark's JSON."""

    def keep(comparison: Comparison) -> None:
        request.config.stash[ROWS].append(comparison.row())
        benchmark.extra_info |= comparison.row()

    return keep


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Store:
    """Random subjects in the published shapes."""
    data = stored_batch(profile("paper"), SUBJECTS)
    random = np.random.default_rng(0)
    names = [phenotype.name for phenotype in PHENOTYPES]
    people = {"subject": [f"s{k:03d}" for k in range(SUBJECTS)], "visit": "2", "flags": ""}
    people["split"] = ["train"] * (SUBJECTS - 16) + ["validation"] * 16
    diseases = {name: np.arange(SUBJECTS) % 2 for name in ("CAD", "AF", "DM")}
    table = pd.DataFrame(random.normal(50, 10, (SUBJECTS, len(names))), columns=names)
    folder = tmp_path_factory.mktemp("bench") / "store"
    shapes = {name: tuple(value.shape[1:]) for name, value in data.items()}
    with StoreWriter(folder, shapes, {"source": "random numbers"}) as writer:
        arrays = {name: value.numpy() for name, value in data.items()}
        writer.append(pd.concat([pd.DataFrame({**people, **diseases}), table], axis=1), **arrays)
    return Store.open(folder)


def pytest_terminal_summary(terminalreporter, config):
    """The table, and `bench_summary.json` with it: rates, quartiles of ratios, limits, device, versions and date."""
    rows = config.stash[ROWS]
    if not rows or HARDWARE not in config.stash:
        return
    hardware = config.stash[HARDWARE]
    device = choose_device(os.environ.get("DEVICE", "auto"))
    environment, date = report(device), datetime.date.today().isoformat()
    versions = ", ".join(f"{name} {environment[name]}" for name in ("python", "torch", "pytorch-lightning", "numpy"))
    summary = {
        "device": device_name(device),
        "device_type": device.type,
        "date": date,
        "environment": environment,
        "hardware": {"products": hardware.products, "bandwidth": hardware.bandwidth},
        "rows": rows,
        "roofline": roofline(hardware, profile("paper")),
    }
    write_json(build_root() / "bench_summary.json", summary)
    terminalreporter.section("beside the reference path")
    terminalreporter.write_line(markdown(rows, f"{device_name(device)}; {versions}; {date}."))
    terminalreporter.section("what the hardware allows")
    terminalreporter.write_line(table([hardware], profile("paper")))

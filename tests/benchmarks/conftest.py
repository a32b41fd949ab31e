"""What all benches share: the device (`DEVICE=`), its limits, a store, and the table that `make bench` ends with."""

import datetime
import os

import pytest
import torch

from mmcl.data.store import Store
from mmcl.environment import report
from mmcl.paths import build_root
from mmcl.profiles import profile
from mmcl.provenance import write_json
from mmcl.setting import choose_device
from tests.benchmarks.roofline import device_name, measure_hardware, roofline, table
from tests.benchmarks.stores import random_store
from tests.benchmarks.timing import Comparison, markdown

ROWS = pytest.StashKey[list]()
HARDWARE = pytest.StashKey[object]()
SUBJECTS = 512


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
    """Random subjects in the published shapes: 70 MB."""
    return random_store(tmp_path_factory.mktemp("bench") / "store", profile("paper"), SUBJECTS)


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

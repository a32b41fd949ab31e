"""The Python environment: whether it holds what the project needs, and a report of what it holds.

Run as a script (`python mmcl/environment.py`) it needs the standard library alone: it exits with 1 and names what is
missing.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from pathlib import Path

_REPORTED = ("torch", "pytorch-lightning", "numpy", "scipy", "scikit-learn", "monai", "wfdb", "nibabel", "matplotlib")


def requirements() -> list[str]:
    """Requirements in `pyproject.toml`, extras included, e.g. "numpy>=2.0,<3"."""
    import tomllib

    project = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    return project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]


def unmet() -> list[str]:
    """Requirements that the running environment does not meet, each with what was found."""
    problems = []
    for requirement in requirements():
        name, bounds = re.match(r"([A-Za-z0-9._-]+)\s*(.*)", requirement).groups()
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{requirement} (not installed)")
            continue
        if not all(_holds(version, bound) for bound in bounds.split(",") if bound):
            problems.append(f"{requirement} (found {version})")
    return problems


def report(device: object = "cpu") -> dict[str, str]:
    """Versions, platform and device, for the head of every executed notebook."""
    import torch

    versions = {}
    for name in _REPORTED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    device = torch.device(device)
    accelerator = (
        torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} thread(s)"
    )
    return {"python": platform.python_version(), **versions, "device": f"{device.type}, {accelerator}"}


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.match(r"\d+(\.\d+)*", version).group().split("."))


def _holds(version: str, bound: str) -> bool:
    relation, limit = re.match(r"\s*(>=|<|==|>)\s*(.+)", bound).groups()
    found, wanted = _numbers(version), _numbers(limit)
    return {">=": found >= wanted, "<": found < wanted, "==": found == wanted, ">": found > wanted}[relation]


if __name__ == "__main__":
    missing = unmet()
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        sys.exit(f"this environment lacks {shown}")

"""The environment check reads the project's own requirements, and lock and conda file agree with them."""

import re
from pathlib import Path

import pytest

from mmcl import environment

ROOT = Path(__file__).resolve().parents[1]


def test_this_environment_meets_the_requirements():
    assert environment.unmet() == []


@pytest.mark.parametrize(
    "requirement, found", [("no-such-package>=1", "not installed"), ("numpy>=99", "found"), ("numpy>=1,<1.5", "found")]
)
def test_what_is_missing_is_named(monkeypatch, requirement, found):
    monkeypatch.setattr(environment, "requirements", lambda: [requirement, "pytest>=8"])
    (problem,) = environment.unmet()
    assert problem.startswith(requirement) and found in problem


def test_the_lock_pins_every_requirement_within_its_range(monkeypatch):
    lock = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text().split())
    pinned = {name.lower().replace("_", "-"): version for name, version in lock.items()}
    for requirement in environment.requirements():
        name, bounds = re.match(r"([A-Za-z0-9._-]+)(.*)", requirement).groups()
        assert name.lower() in pinned, f"{name} is not in the lock"
        assert all(environment._holds(pinned[name.lower()], bound) for bound in bounds.split(","))


def test_conda_takes_its_packages_from_the_lock():
    assert "- -r requirements.lock" in (ROOT / "environment.yml").read_text()

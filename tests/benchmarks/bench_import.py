"""Seconds that `import mmcl` takes in a new interpreter, beside one that imports nothing (`make bench`)."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("statement", ["pass", "import mmcl"])
def test_import(benchmark, statement):
    benchmark.pedantic(subprocess.run, args=([sys.executable, "-c", statement],), kwargs={"check": True}, rounds=5)

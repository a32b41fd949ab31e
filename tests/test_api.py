"""The public names: few, lazily imported, each with a docstring."""

import subprocess
import sys

import pytest

import mmcl


@pytest.mark.parametrize("name", mmcl.__all__)
def test_every_public_name_is_there_and_documented(name):
    assert len(getattr(mmcl, name).__doc__) > 100
    assert name in dir(mmcl) and name in mmcl.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'load_decoder'"):
        _ = mmcl.load_decoder


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, mmcl; print(*{'torch', 'numpy', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []

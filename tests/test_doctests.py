"""The examples of the package and of its public names run, and no public name is without one."""

import doctest
import inspect

import pytest

import mmcl


def examples(thing, name):
    """Doctests in the docstring of `thing` alone, which see what its module sees."""
    cases = doctest.DocTestFinder(recurse=False).find(thing, name, inspect.getmodule(thing))
    return [case for case in cases if case.examples]


@pytest.mark.parametrize("name", ["mmcl", *mmcl.__all__])
def test_examples_run(name):
    cases = examples(mmcl if name == "mmcl" else getattr(mmcl, name), name)
    runner = doctest.DocTestRunner(verbose=False)
    for case in cases:
        assert runner.run(case).failed == 0
    shown = "".join(example.source for case in examples(mmcl, "mmcl") for example in case.examples)
    assert cases or f"mmcl.{name}(" in shown, f"{name}: expected an example (>>>), its own or the package's"

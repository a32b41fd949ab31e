"""Every number of the simulated cohort, read from the one file `parameters.yaml` beside this module.

Each entry has a value, a unit and a source; what calibration chose also has the range that was searched. A module of
the simulation holds its section, `P = parameters("activation")`, and reads `P.endocardial_velocity`. For a study or the
calibration, `override` changes some of them for a while; the draws of a subject stay the same, so that two simulations
differ in nothing but the parameter.
"""

from __future__ import annotations

import hashlib
import json
import math
import numbers
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import yaml

FILE = Path(__file__).with_suffix(".yaml")
_KEYS = {"value", "unit", "source", "search"}


@dataclass(frozen=True)
class Parameter:
    """One entry: `value` (a number, or tuples of numbers), `unit`, `source`, and the range `search` of a calibrated
    one, a pair or None.
    """

    value: float | tuple
    unit: str
    source: str
    search: tuple[float, float] | None = None


class Section:
    """The parameters of one module of the simulation by name; AttributeError tells the section and the name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> float | tuple:
        try:
            return _current.get()[f"{self._name}.{name}"]
        except KeyError:
            raise AttributeError(f"no parameter {name!r} in the section {self._name!r} of {FILE.name}") from None


def parameters(section: str) -> Section:
    """The section called `section`; ValueError when the file has none of that name."""
    known = {name.split(".")[0] for name in table()}
    if section not in known:
        raise ValueError(f"{FILE.name} has no section {section!r}; expected one of {', '.join(sorted(known))}")
    return Section(section)


@contextmanager
def override(changes: Mapping[str, float | tuple]) -> Iterator[None]:
    """Simulate with other values, by full name such as `torso.gain_spread`, until the block ends.

    ValueError for an unknown name, or a value of another shape than the one it replaces.
    """
    for name, value in changes.items():
        if name not in table():
            raise ValueError(f"no parameter {name!r} in {FILE.name}; names are <section>.<name>")
        if _shape(_frozen(value)) != _shape(table()[name].value):
            raise ValueError(f"parameter {name}: {value!r}; expected the shape of {table()[name].value!r}")
    changed = {name: _frozen(value) for name, value in changes.items()}
    token = _current.set(MappingProxyType({**_current.get(), **changed}))
    try:
        yield
    finally:
        _current.reset(token)


def version() -> str:
    """Version of the cohort that the values in force define: "1", or "1 altered" where some are overridden."""
    altered = any(_current.get()[name] != entry.value for name, entry in table().items())
    return f"{_read()['version']} altered" if altered else str(_read()["version"])


def digest() -> str:
    """Short SHA-256 of the values in force, equal exactly when all of them are equal."""
    text = json.dumps(dict(_current.get()), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def table() -> Mapping[str, Parameter]:
    """Every parameter of the file by `<section>.<name>`, in its order. ValueError names an entry that is not whole."""
    found = {}
    for section, entries in _read().items():
        if section == "version":
            continue
        for name, entry in entries.items():
            found[f"{section}.{name}"] = _parameter(f"{section}.{name}", entry)
    return MappingProxyType(found)


def _parameter(name: str, entry: Mapping) -> Parameter:
    if not isinstance(entry, dict) or not {"value", "unit", "source"} <= set(entry) <= _KEYS:
        raise ValueError(f"{FILE.name}, {name}: {entry!r}; expected value, unit, source and perhaps search")
    search = entry.get("search")
    return Parameter(_frozen(entry["value"]), str(entry["unit"]), str(entry["source"]), search and _frozen(search))


@cache
def _read() -> dict:
    with FILE.open(encoding="utf-8") as file:
        return yaml.safe_load(file)


def _frozen(value: object) -> float | tuple:
    """Lists as tuples, all the way down; ValueError for anything that is not a finite number."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ValueError(f"{value!r} in the simulation's parameters; expected a finite number")
    return value


def _shape(value: float | tuple) -> tuple:
    return (len(value), *(_shape(item) for item in value)) if isinstance(value, tuple) else ()


_current: ContextVar[Mapping[str, float | tuple]] = ContextVar(
    "parameters", default=MappingProxyType({name: entry.value for name, entry in table().items()})
)

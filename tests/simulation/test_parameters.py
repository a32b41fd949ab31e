"""The file of parameters: whole entries, useful errors, and overrides that end."""

import pytest
import torch

from mmcl.simulation import parameters as module
from mmcl.simulation.parameters import digest, override, parameters, table, version
from mmcl.simulation.population import sample_people


def test_every_entry_tells_its_unit_and_source():
    for name, entry in table().items():
        assert entry.unit not in ("", "?") and len(entry.source) > 3, f"{name} has no unit or source"
        if entry.search:
            low, high = entry.search
            assert low <= entry.value <= high, f"{name} = {entry.value} lies outside the range that was searched"


def test_unknown_names_say_where_they_were_looked_for():
    with pytest.raises(AttributeError, match="no parameter 'colour' in the section 'population'"):
        _ = parameters("population").colour
    with pytest.raises(ValueError, match="no section 'weather'"):
        parameters("weather")
    with pytest.raises(ValueError, match="no parameter 'population.colour'"), override({"population.colour": 1.0}):
        pass


@pytest.mark.parametrize("value", ["0.5", True, [0.5, 0.5], None])
def test_a_value_of_another_kind_or_shape_is_refused(value):
    with pytest.raises(ValueError), override({"population.female_share": value}):
        pass


def test_an_override_holds_inside_its_block_alone_and_keeps_the_draws():
    subject = torch.arange(50)
    before, mark = sample_people(0, subject), digest()
    with override({"population.female_share": 1.0}):
        assert digest() != mark and version() == "1 altered"
        women = sample_people(0, subject)
    assert women.female.all() and not before.female.all()
    assert torch.equal(women.age, before.age)
    assert digest() == mark and version() == "1" and torch.equal(sample_people(0, subject).female, before.female)


@pytest.mark.parametrize("entry", [{"value": 1.0, "unit": "m"}, {"value": 1, "unit": "m", "source": "x", "sd": 2}, 1.0])
def test_an_entry_that_is_not_whole_is_refused(monkeypatch, entry):
    monkeypatch.setattr(module, "_read", lambda: {"version": 1, "body": {"height": entry}})
    table.cache_clear()
    try:
        with pytest.raises(ValueError, match="body.height"):
            table()
    finally:
        table.cache_clear()

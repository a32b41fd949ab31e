"""The calibration: it changes only what it may, judges by its targets alone, and repeats itself."""

import pandas as pd
import pytest
import yaml

from mmcl.provenance import read_json
from mmcl.simulation import calibration, parameters
from mmcl.simulation.calibration import cost, healthy_subjects, misfit, search, searched, write_values
from mmcl.simulation.population import sample_people


def test_the_hearts_that_judge_are_healthy_and_of_both_sexes():
    people = sample_people(71, healthy_subjects(71, 10))
    assert people.healthy.all()
    assert int(people.female.sum()) == 10 and len(people.subject) == 20


def _found(errors, kinds=None):
    kinds = kinds or ["mean"] * len(errors)
    return pd.DataFrame({"name": range(len(errors)), "measure": kinds, "error": errors})


def test_cost_grows_as_the_square_near_and_slower_far_away():
    small, far, farther = (cost(_found([error])) for error in (0.1, 100.0, 200.0))
    assert small == pytest.approx(0.01, rel=1e-2)
    assert far < farther < 1.3 * far
    assert cost(_found([0.0, float("nan")])) == float("inf")


def test_a_kind_of_target_counts_by_the_root_of_its_number():
    means, correlation = [0.1] * 4, [0.2]
    found = cost(_found(means + correlation, ["mean"] * 4 + ["correlation"]))
    assert found == pytest.approx((2 * 0.01 + 0.04) / 3, rel=1e-2)


def test_a_changed_parameter_changes_the_misfit():
    subjects = healthy_subjects(71, 6)
    name, (low, _) = next(item for item in searched().items() if item[0].startswith("source.conductivity"))
    before, after = misfit({}, 71, subjects), misfit({name: low}, 71, subjects)
    assert not before["got"].equals(after["got"])


@pytest.mark.slow
def test_a_search_repeats_itself_and_stays_in_its_ranges():
    one, other = (search(generations=1, size=3, seed=5, workers=1, hearts=10) for _ in range(2))
    assert one == other
    for name, (low, high) in searched().items():
        assert low <= one[name] <= high


def test_values_are_written_in_place(tmp_path, monkeypatch):
    text = parameters.FILE.read_text(encoding="utf-8")
    copy = tmp_path / "parameters.yaml"
    copy.write_text(text, encoding="utf-8")
    monkeypatch.setattr(parameters, "FILE", copy)
    wanted = {name: low for name, (low, _) in searched().items()} | {next(iter(searched())): 3e-06}
    write_values(wanted)
    found, before = yaml.safe_load(copy.read_text(encoding="utf-8")), yaml.safe_load(text)
    for name, value in wanted.items():
        section, entry = name.split(".")
        assert found[section][entry].pop("value") == value
        before[section][entry].pop("value")
    assert found == before
    with pytest.raises(ValueError, match="0 values of torso.colour"):
        write_values({"torso.colour": 1.0})


def test_the_record_leads_to_the_values_in_force():
    """The last stage that searched a parameter gave its value."""
    record = read_json(calibration.RECORD)
    found = {}
    for stage in record["stages"]:
        assert stage["cost on other hearts"]["after"] < stage["cost on other hearts"]["before"]
        found |= {name: values["after"] for name, values in stage["parameters"].items()}
    assert {name: found[name] for name in searched()} == {name: parameters.table()[name].value for name in searched()}


def test_a_part_of_the_parameters_can_be_searched():
    assert set(searched("atria.")) < set(searched()) and searched("atria.")
    with pytest.raises(ValueError, match="begins 'nothing.'"):
        search(generations=1, size=2, seed=1, workers=1, only="nothing.")

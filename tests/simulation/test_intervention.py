"""Counterfactuals: a change does what it says and nothing else."""

import dataclasses

import pytest
import torch

from mmcl.simulation.heart import build_hearts
from mmcl.simulation.intervention import HEART, LIMITS, PEOPLE, changed
from mmcl.simulation.population import sample_people

SUBJECT = torch.arange(200)


def hearts(change=None):
    return build_hearts(3, sample_people(3, SUBJECT, change=change), change)


def differences(one, other):
    """Names of the tensors that differ."""
    found = set()
    for field in dataclasses.fields(one):
        values = getattr(one, field.name), getattr(other, field.name)
        if dataclasses.is_dataclass(values[0]):
            found |= differences(*values)
        elif not torch.equal(*values):
            found.add(field.name)
    return found


@pytest.fixture(scope="module")
def plain():
    return hearts()


@pytest.mark.parametrize("name", PEOPLE)
def test_every_property_of_people_can_be_changed(plain, name):
    truth = getattr(plain.people, name).dtype == torch.bool
    value = 1.0 if truth else float(LIMITS[name][1])
    with_it = {"culprit": {"cad": True}, "unrecognised": {"cad": True}, "rbbb": {"lbbb": False}}
    changes = {name: value, **with_it.get(name, {})}
    people = sample_people(3, SUBJECT, change=changes)
    assert (getattr(people, name) == value).all()


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        ({"roll": 1.0}, {"roll"}),
        ({"elevation": lambda angle: angle + 0.2}, {"axis"}),
        ({"azimuth": 0.5}, {"axis"}),
        ({"centre_y": lambda place: place + 0.01}, {"centre"}),
        ({"conduction": 0.7}, {"conduction"}),
        ({"la_max": 100.0}, {"la_max", "la_min"}),
        ({"silent": True}, {"silent"}),
        ({"rbbb": True, "lbbb": lambda block: block}, {"rbbb"}),
    ],
)
def test_a_change_reaches_no_further_than_it_must(plain, change, allowed):
    assert differences(plain, hearts(change)) == allowed


def test_a_disease_turned_on_brings_no_other(plain):
    ill = hearts({"cad": True})
    assert ill.people.cad.all() and (ill.people.culprit >= 0).all()
    for name in ("af", "dm", "lbbb", "rbbb", "hypertension", "age", "weight", "systolic", "in_af"):
        assert torch.equal(getattr(ill.people, name), getattr(plain.people, name)), name
    spared = ill.transmurality.amax(1) == 0
    same = spared & (ill.viability == 1).all(1)
    assert same.sum() > 20, "coronary disease often leaves the wall as it was"
    for name in ("lv_edv", "lv_mass", "lv_esv", "axis", "conduction"):
        assert torch.equal(getattr(ill, name)[same], getattr(plain, name)[same]), name
    scarred = ill.transmurality.mean(1) > 0.1
    assert (ill.lv_esv[scarred] > plain.lv_esv[scarred]).all()


def test_a_disease_turned_off_leaves_a_heart_without_it(plain):
    well = hearts({"cad": False, "af": False})
    assert (well.transmurality == 0).all() and (well.people.culprit == -1).all() and not well.people.in_af.any()
    never = ~plain.people.cad & ~plain.people.af
    assert torch.equal(well.lv_esv[never], plain.lv_esv[never])


def test_mass_volume_and_fraction_are_reached(plain):
    changed_hearts = hearts({"lv_edv": 150.0, "lv_mass": 120.0, "cad": False, "lbbb": False, "in_af": False})
    torch.testing.assert_close(changed_hearts.lv_edv, torch.full((200,), 150.0).double())
    torch.testing.assert_close(changed_hearts.lv_mass, torch.full((200,), 120.0).double(), rtol=1e-6, atol=0)
    weak = hearts({"ejection_fraction": 0.45, "cad": False, "lbbb": False})
    assert (1 - weak.lv_esv / weak.lv_edv - 0.45).abs().max() < 0.01


def test_a_scar_drawn_by_hand_has_its_border_and_loses_its_contraction(plain):
    def scar(depth):
        depth = torch.zeros_like(depth)
        depth[:, 7] = 1.0
        return depth

    scarred = hearts({"transmurality": scar})
    assert (scarred.transmurality.sum(1) == 1).all() and (scarred.viability[:, 7] == 0).all()
    assert (scarred.border[:, [1, 6, 8, 13]] > 0.1).all() and (scarred.border[:, 10] == 0).all()
    assert scarred.ecc[:, 7].mean() > plain.ecc[:, 7].mean() + 0.1


def test_unknown_names_and_bad_values_are_refused():
    with pytest.raises(ValueError, match="cannot change shoe_size; expected some of female"):
        sample_people(0, SUBJECT, change={"shoe_size": 42.0})
    with pytest.raises(ValueError, match="cannot change shoe_size"):
        build_hearts(0, sample_people(0, SUBJECT), {"shoe_size": 42.0})
    for bad in (lambda age: age[:3], lambda age: age / 0):
        with pytest.raises(ValueError, match="'age'"):
            changed({"age": bad}, "age", torch.arange(5.0))
    assert set(PEOPLE).isdisjoint(HEART)


@pytest.mark.parametrize("name", HEART)
def test_every_property_of_hearts_is_reachable(plain, name):
    low, high = LIMITS[name]
    nearer = differences(plain, hearts({name: lambda value: 0.9 * value + 0.1 * (low + high) / 2 + 0.001}))
    assert nearer, name


def test_people_stay_consistent():
    people = sample_people(3, SUBJECT, change={"in_af": True, "lbbb": True, "rbbb": True})
    assert people.af.all() and people.lbbb.all() and not people.rbbb.any()
    assert not sample_people(3, SUBJECT, change={"af": False}).in_af.any()

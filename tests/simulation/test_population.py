"""People: reproducible draws, prevalences, and the liability model."""

import dataclasses

import pytest
import torch

from mmcl.simulation.population import log_normal, sample_people

NATURAL = {
    "cad": 0.069,
    "unrecognised": 0.0225,
    "af": 0.029,
    "dm": 0.059,
    "hypertension": 0.36,
    "lbbb": 0.0088,
    "rbbb": 0.0245,
}


@pytest.fixture(scope="module")
def people():
    return sample_people(0, torch.arange(20_000))


def test_subject_is_the_same_in_any_batch(people):
    order = torch.tensor([17, 3, 19_999, 3])
    alone = sample_people(0, order)
    for field in dataclasses.fields(people):
        assert torch.equal(getattr(alone, field.name), getattr(people, field.name)[order]), field.name
    assert not torch.equal(sample_people(1, order).age, alone.age)


@pytest.mark.parametrize("condition", NATURAL)
def test_prevalence(people, condition):
    share = getattr(people, condition).double().mean().item()
    assert share == pytest.approx(NATURAL[condition], rel=0.2)


def test_body_matches_the_imaging_cohort(people):
    men = ~people.female
    assert people.age.min() >= 45 and people.age.max() <= 80
    assert people.age.mean().item() == pytest.approx(63.3, abs=0.7)
    assert people.height[men].mean().item() == pytest.approx(1.765, abs=0.005)
    assert people.bmi[people.female].std().item() == pytest.approx(4.6, abs=0.3)
    assert people.systolic.mean().item() == pytest.approx(134, abs=3)
    assert (people.diastolic < people.systolic).all()


def test_risk_rises_with_age_sex_and_other_disease(people):
    def share(condition, group):
        return condition[group].double().mean()

    old = people.age > 68
    for condition in (people.cad, people.af, people.dm):
        assert share(condition, old) > share(condition, ~old)
        assert share(condition, ~people.female) > share(condition, people.female)
        assert share(condition, people.hypertension) > share(condition, ~people.hypertension)
    assert share(people.af, people.cad) > share(people.af, ~people.cad)
    assert share(people.lbbb, people.cad) > share(people.lbbb, ~people.cad)


def test_diseases_come_together_as_in_people(people):
    def odds_ratio(one, other):
        both, neither = (one & other).sum().double(), (~one & ~other).sum().double()
        return (both * neither / ((one & ~other).sum() * (~one & other).sum())).item()

    assert 2 < odds_ratio(people.cad, people.dm) < 4
    assert 2 < odds_ratio(people.af, people.cad) < 5
    assert 1.8 < odds_ratio(people.af, people.hypertension) < 4
    # Turkbey et al. 2015, JAMA 314:1945: 5.8 times the odds of scar in men, 78 % of scars unrecognised.
    assert 3.6 < odds_ratio(people.unrecognised, ~people.female) < 9.2


def test_odds_add_patients_and_exchange_none(people):
    more = sample_people(0, people.subject, odds=(4.0, 1.0, 1.0))
    assert more.cad.sum() > 2 * people.cad.sum()
    assert (more.cad | ~people.cad).all()
    assert torch.equal(more.dm, people.dm) and torch.equal(more.weight, people.weight)
    assert not sample_people(0, people.subject, odds=(0.0, 0.0, 0.0)).cad.any()


def test_negative_odds_are_refused():
    with pytest.raises(ValueError, match="odds"):
        sample_people(0, torch.arange(2), odds=(-1.0, 1.0, 1.0))


def test_dependent_attributes_agree(people):
    assert torch.equal(people.culprit >= 0, people.cad)
    assert (people.af | ~people.in_af).all()
    assert people.in_af[people.af].double().mean().item() == pytest.approx(0.40, abs=0.08)
    disease = torch.stack((people.cad, people.af, people.dm), 1)
    assert not (people.silent & ~disease).any()
    assert (people.silent[:, 0] & people.cad | ~people.unrecognised).all(), "what nobody noticed is on no record"
    diagnosable = disease & ~torch.stack((people.unrecognised, *2 * [torch.zeros_like(people.cad)]), 1)
    assert people.silent[diagnosable].double().mean().item() == pytest.approx(0.15, abs=0.03)
    assert not (people.lbbb & people.rbbb).any()


def test_log_normal_has_the_given_moments():
    score = torch.randn(200_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = log_normal(torch.tensor(100.0).double(), torch.tensor(20.0).double(), score)
    assert drawn.mean().item() == pytest.approx(100, abs=0.3)
    assert drawn.std().item() == pytest.approx(20, abs=0.3)

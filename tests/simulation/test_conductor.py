"""The conductor against a series solution, and the leads against their definitions."""

import dataclasses
import math

import pytest
import torch
from scipy.special import eval_legendre

from mmcl.config import LEADS
from mmcl.simulation.conductor import ELECTRODES, Torso, build_torso, transfer, twelve_leads
from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import sample_people


@pytest.fixture(scope="module")
def torso() -> Torso:
    people = sample_people(3, torch.arange(12))
    return build_torso(3, people, people.subject[:, None, None] * torch.zeros(1, 1, 3, dtype=torch.float64))


def test_transfer_matches_the_legendre_series_of_a_sphere_in_air(torso):
    """Surface potential of a unit source is 1 / (4 pi sigma R) sum (2n + 1) / n (r / R)^n P_n, up to a constant."""
    points = torch.randn(12, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points = points / points.norm(dim=-1, keepdim=True) * torch.linspace(0.01, 0.09, 5, dtype=torch.float64)[:, None]
    found = transfer(torso, points + torso.centre) / torso.gain[..., None]
    radius = torso.radius[:, None, None]
    share = points.norm(dim=-1)[:, None] / radius
    cosine = torso.electrodes @ points.transpose(1, 2) / (radius**2 * share)
    series = sum((2 * n + 1) / n * share**n * torch.from_numpy(eval_legendre(n, cosine.numpy())) for n in range(1, 150))
    expected = series / (4 * math.pi * parameters("conductor").conductivity * radius)
    # Only differences between electrodes have a meaning.
    assert torch.allclose(found - found[:, :1], expected - expected[:, :1], rtol=1e-9, atol=1e-12)


def test_potential_of_a_dipole_falls_with_the_size_of_the_chest(torso):
    ends = torso.centre + torch.tensor([[0.0, 0.0, -0.005], [0.0, 0.0, 0.005]], dtype=torch.float64).expand(12, 2, 3)
    larger = dataclasses.replace(torso, radius=1.2 * torso.radius, electrodes=1.2 * torso.electrodes)
    dipole = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    here, there = (twelve_leads(transfer(where, ends) @ dipole[:, None]) for where in (torso, larger))
    # A small central dipole's field falls with the square of the radius.
    assert torch.allclose(here / there, torch.full_like(here, 1.44), rtol=0.01)


def test_only_the_front_of_the_chest_differs_by_sex_in_gain(torso):
    people = sample_people(3, torch.arange(12))
    assert 0 < people.female.sum() < 12
    share = torso.gain / torso.gain[:, :1]
    front = [name in ("V2", "V3", "V4") for name in ELECTRODES]
    assert torch.allclose(share[people.female][:, front], torch.tensor(parameters("conductor").front_female).double())
    assert (share[~people.female] == 1).all() and (share[:, [not chest for chest in front]] == 1).all()


def test_source_outside_the_chest_is_refused(torso):
    with pytest.raises(ValueError, match=r"row.*3"):
        points = torch.zeros(12, 1, 3, dtype=torch.float64)
        points[3] = 0.3
        transfer(torso, points)


def test_chest_covers_the_heart():
    people = sample_people(3, torch.arange(4))
    far = torch.tensor([0.2, 0.0, 0.0], dtype=torch.float64).expand(4, 1, 3)
    torso = build_torso(3, people, far)
    assert torch.isfinite(transfer(torso, far)).all()


def test_leads_follow_einthoven_goldberger_and_wilson():
    potential = torch.randn(2, 9, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    leads = dict(zip(LEADS, twelve_leads(potential).unbind(1), strict=True))
    electrode = dict(zip(ELECTRODES, potential.unbind(1), strict=True))
    assert torch.allclose(leads["I"], electrode["LA"] - electrode["RA"])
    assert torch.allclose(leads["I"] + leads["III"], leads["II"])
    assert torch.allclose(leads["aVL"], electrode["LA"] - (electrode["RA"] + electrode["LL"]) / 2)
    assert torch.allclose(leads["aVR"] + leads["aVL"] + leads["aVF"], torch.zeros(2, 50, dtype=torch.float64))
    wilson = (electrode["RA"] + electrode["LA"] + electrode["LL"]) / 3
    assert torch.allclose(leads["V3"], electrode["V3"] - wilson)


def test_electrodes_lie_on_the_skin_and_miss_by_centimetres():
    people = sample_people(3, torch.arange(400))
    torso = build_torso(3, people, torch.zeros(400, 1, 3, dtype=torch.float64))
    assert torch.allclose(torso.electrodes.norm(dim=-1), torso.radius[:, None].expand(-1, 9))
    unit = torso.electrodes / torso.radius[:, None, None]
    height = 0.14 * torch.asin(unit[:, 3:, 1])
    spread = height.std(dim=0)
    assert ((spread > 0.010) & (spread < 0.025)).all()

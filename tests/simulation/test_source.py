"""The source model: sums over edges, time courses, and what muscle and scar do to the ECG."""

import dataclasses

import pytest
import torch

from mmcl.config import LEADS
from mmcl.simulation import source
from mmcl.simulation.conductor import build_torso, transfer, twelve_leads
from mmcl.simulation.electrocardiogram import BEFORE, STEP, ventricular_waves
from mmcl.simulation.heart import Hearts, build_hearts
from mmcl.simulation.parameters import override, parameters
from mmcl.simulation.population import sample_people

SEED = 11


@pytest.fixture(scope="module")
def hearts() -> Hearts:
    people = sample_people(SEED, torch.arange(12))
    well = torch.zeros(12, dtype=torch.bool)
    well = dict.fromkeys(("cad", "af", "in_af", "lbbb", "rbbb"), well)
    people = dataclasses.replace(people, **well, culprit=torch.full((12,), -1))
    return build_hearts(SEED, people)


def _leads(hearts: Hearts, torso=None):
    mesh = source.build_mesh(hearts)
    torso = torso or build_torso(SEED, hearts.people, mesh.points)
    qrs, t_wave, activation = ventricular_waves(SEED, hearts, mesh, torso)
    return twelve_leads(qrs), twelve_leads(t_wave), activation


def _size(leads: torch.Tensor) -> torch.Tensor:
    return leads.amax(dim=-1) - leads.amin(dim=-1)


def test_node_weights_are_the_sum_over_edges(hearts):
    mesh = source.build_mesh(hearts)
    potential = transfer(build_torso(SEED, hearts.people, mesh.points), mesh.points)
    voltage = torch.rand(12, mesh.points.shape[1], 1, dtype=torch.float64)
    seen = source.weights(mesh.edges, mesh.conductance, potential) @ voltage
    naive = torch.zeros_like(seen)
    for edge, (i, j) in enumerate(mesh.edges.tolist()):
        current = mesh.conductance[:, edge, None] * (voltage[:, i] - voltage[:, j])
        naive[:, :, 0] += current * (potential[:, :, j] - potential[:, :, i])
    assert torch.allclose(seen, naive, rtol=1e-8, atol=1e-12)


def test_heart_at_rest_or_all_active_makes_no_current(hearts):
    mesh = source.build_mesh(hearts)
    potential = transfer(build_torso(SEED, hearts.people, mesh.points), mesh.points)
    assert source.weights(mesh.edges, mesh.conductance, potential).sum(dim=2).abs().max() < 1e-9


def test_wave_is_the_sum_of_action_potentials():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 9, 50, dtype=torch.float64, generator=generator)
    # On grid points the shared weights are exact.
    time = source.STEP * torch.randint(5, 60, (3, 50), generator=generator).double()
    grid = 4.0 + source.STEP * torch.arange(80, dtype=torch.float64)
    naive = weight @ torch.sigmoid((grid - time[:, :, None]) / parameters("source").upstroke)
    found = source.wave(weight, time, source.upstroke(80), 4.0, 80)
    assert torch.allclose(found, naive, atol=1e-9)


def test_activation_begins_at_zero_and_spreads_to_the_epicardium(hearts):
    _, _, activation = _leads(hearts)
    left = activation[:, : source.build_mesh(hearts).right].reshape(12, *source.LEFT)
    # Delays of segments vary by 2 ms, and two fronts merge within 1.5 ms.
    assert (activation.amin(dim=1).abs() < 10).all()
    lateral = [k for k in range(24) if not 7 <= k <= 17]
    assert (left[:, :, lateral].diff(dim=-1) > 0).all()


def test_conduction_velocity_scales_the_duration(hearts):
    slow = dataclasses.replace(hearts, conduction=0.8 * hearts.conduction)
    assert _leads(slow)[2].amax(dim=1).mean() > 1.1 * _leads(hearts)[2].amax(dim=1).mean()


def test_voltage_grows_with_wall_thickness(hearts):
    thick = dataclasses.replace(hearts.shape, thickness=1.3 * hearts.shape.thickness, apex=1.3 * hearts.shape.apex)
    thick = dataclasses.replace(hearts, shape=thick, wall_thickness=1.3 * hearts.wall_thickness)
    torso = build_torso(SEED, hearts.people, source.build_mesh(thick).points)
    growth = _size(_leads(thick, torso)[0]).mean(dim=1) / _size(_leads(hearts, torso)[0]).mean(dim=1)
    assert (growth > 1.0).all() and growth.mean() > 1.02


def test_voltage_falls_with_viability(hearts):
    weak = dataclasses.replace(hearts, viability=0.6 * hearts.viability)
    shrink = _size(_leads(weak)[0]).mean(dim=1) / _size(_leads(hearts)[0]).mean(dim=1)
    assert (shrink < 0.85).all()


@pytest.mark.parametrize(
    ("segments", "facing", "far"),
    [((7, 8, 13, 14), ("V2", "V3", "V4"), ("III", "aVF")), ((4, 10, 15), ("III", "aVF"), ("V3", "V4"))],
)
def test_scar_changes_the_leads_that_face_it_most(hearts, segments, facing, far):
    transmurality = torch.zeros_like(hearts.transmurality)
    transmurality[:, [k - 1 for k in segments]] = 0.9
    scarred = dataclasses.replace(hearts, transmurality=transmurality, viability=1 - transmurality)
    before, after = _leads(hearts)[0], _leads(scarred)[0]
    change = (after - before).abs().amax(dim=-1) / _size(before)
    share = [change[:, [LEADS.index(lead) for lead in leads]].mean() for leads in (facing, far)]
    assert share[0] > 1.2 * share[1]


@pytest.mark.parametrize(
    ("segments", "facing"),
    [((7, 8, 13, 14), ("V3", "V4")), ((3, 4, 9, 10, 15), ("III", "aVF")), ((5, 6, 11, 12), ("I",))],
)
def test_transmural_infarct_makes_q_waves_and_turns_the_t_wave(hearts, segments, facing):
    transmurality = torch.zeros_like(hearts.transmurality)
    transmurality[:, [k - 1 for k in segments]] = 1.0
    scarred = dataclasses.replace(hearts, transmurality=transmurality, viability=1 - transmurality)
    (before, t_before, _), (after, t_after, _) = _leads(hearts), _leads(scarred)
    leads = [LEADS.index(lead) for lead in facing]
    # Depth of the first 40 ms of the QRS, and the T wave's net area.
    first = slice(round(BEFORE / STEP), round((BEFORE + 40) / STEP))
    assert (after[:, leads, first].mean(dim=-1) < before[:, leads, first].mean(dim=-1) - 0.03).float().mean() > 0.8
    assert (t_after[:, leads].sum(dim=-1) < t_before[:, leads].sum(dim=-1)).float().mean() > 0.7


def test_thick_wall_flattens_the_lateral_t_wave(hearts):
    thick = dataclasses.replace(hearts, wall_thickness=hearts.wall_thickness + 5)
    lateral = [LEADS.index(lead) for lead in ("I", "V6")]
    t_wave = [_leads(heart)[1][:, lateral].sum(dim=-1) for heart in (hearts, thick)]
    assert (t_wave[1] < t_wave[0]).float().mean() > 0.85


def test_scar_runs_outwards_from_the_endocardium(hearts):
    transmurality = torch.full_like(hearts.transmurality, 0.5)
    scarred = dataclasses.replace(hearts, transmurality=transmurality, viability=1 - transmurality)
    mesh, healthy = source.build_mesh(scarred), source.build_mesh(hearts)
    count = source.LEFT[0] * source.LEFT[1] * (source.LEFT[2] - 1)
    across = [edge for edge in range(len(mesh.edges)) if mesh.depth[mesh.edges[edge]].diff().abs() > 0.2]
    left = [edge for edge in across if mesh.edges[edge].max() < mesh.right]
    assert len(left) == count
    kept = (mesh.conductance / healthy.conductance)[:, left].reshape(12, -1, source.LEFT[2] - 1)
    assert kept[..., 0].max() < 1e-6
    assert kept[..., -1].min() > 0.99


def test_blood_strengthens_the_wall_outwards_and_weakens_it_along(hearts):
    mesh = source.build_mesh(hearts)
    with override({"source.blood_contrast": 0.0}):
        plain = source.build_mesh(hearts)
    factor = mesh.conductance / plain.conductance
    left = mesh.edges.max(dim=1).values < mesh.right
    across = left & (mesh.depth[mesh.edges].diff(dim=1)[:, 0] != 0)
    contrast = parameters("source").blood_contrast
    assert (factor[:, across] > 1).all() and (factor[:, across] < 1 + 2 * contrast).all()
    assert (factor[:, left & ~across] < 1).all() and (factor[:, left & ~across] > 1 - contrast).all()
    assert torch.allclose(factor[:, ~left], torch.ones_like(factor[:, ~left]))

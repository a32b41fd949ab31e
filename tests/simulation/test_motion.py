"""Motion: phases of the beat, dyssynchrony that follows activation, twist, and end-systole."""

import dataclasses

import pytest
import torch

from mmcl.simulation.anatomy import cavity_volumes, contours, height_of
from mmcl.simulation.heart import build_hearts
from mmcl.simulation.motion import beat_phase, end_systole, least_cavity, local_phase, segment_phase, twist
from mmcl.simulation.population import sample_people

SEPTAL, LATERAL = [7, 8], [10, 11]


@pytest.fixture(scope="module")
def hearts():
    return build_hearts(0, sample_people(0, torch.arange(300)))


@pytest.fixture(scope="module")
def blocked():
    return build_hearts(0, sample_people(0, torch.arange(300), change={"lbbb": True}))


def test_a_beat_begins_relaxed_contracts_once_and_fills(hearts):
    phase = beat_phase(hearts, 200)
    assert (phase[:, 0] == 0).all() and (phase >= 0).all() and (phase <= 1).all()
    assert phase.amax(1).min() > 0.999 and phase[:, -1].max() < 0.02
    peak = phase.argmax(1) / 200 * 60 / hearts.heart_rate
    assert 0.25 < peak.min() and peak.max() < 0.42
    assert (segment_phase(hearts, 200)[:, 0] == 0).all()


def test_fibrillating_atria_do_not_fill_the_ventricle_late(hearts):
    """Between 70 and 100 % of the beat, muscle in sinus rhythm still relaxes; in fibrillation it has done so."""
    change = {"af": True, "in_af": True, "heart_rate": 60.0}
    still = build_hearts(0, sample_people(0, torch.arange(20), change=change), change)
    sinus = build_hearts(0, sample_people(0, torch.arange(20)), {"heart_rate": 60.0})
    late = [beat_phase(group, 100)[:, 75] for group in (still, sinus)]
    assert late[0].max() < 1e-9 < 0.1 < late[1].mean()


def test_late_activation_is_late_contraction(hearts, blocked):
    """Oracle: a segment's phase is that of the whole at a time shifted by its delay, up to end-systole."""
    delay = torch.zeros_like(hearts.segment_delay)
    delay[:, 10] = 60
    rate = torch.full_like(hearts.heart_rate, 60.0)
    late = dataclasses.replace(hearts, heart_rate=rate, segment_delay=delay)
    phase, segments = beat_phase(late, 1000), segment_phase(late, 1000)
    torch.testing.assert_close(segments[:, :, 0], phase)
    torch.testing.assert_close(segments[:, 60:380, 10], phase[:, :320])
    half = (segment_phase(blocked, 500) > 0.5).double().argmax(1) / 500 * 60 / blocked.heart_rate[:, None]
    apart = 1000 * (half[:, LATERAL].mean(1) - half[:, SEPTAL].mean(1))
    assert 45 < apart.mean() < 90, "with the left bundle blocked the lateral wall contracts last"


def test_end_systole_is_the_least_cavity_of_all_frames(hearts, blocked):
    for group in (hearts, blocked):
        frame = end_systole(group, 50)
        phase, segments = beat_phase(group, 50), segment_phase(group, 50)
        volumes = torch.stack([cavity_volumes(group.shape, phase[:, k], segments[:, k])[0] for k in range(50)], 1)
        least = volumes.gather(1, frame[:, None])[:, 0]
        torch.testing.assert_close(least, volumes.amin(1), rtol=1e-4, atol=0)
        assert (least * 1e6 > 0.998 * group.lv_esv).all() and (least * 1e6 < 1.03 * group.lv_esv).all()


def test_phenotypes_are_those_of_the_least_cavity(blocked):
    phase, segments = least_cavity(blocked)
    torch.testing.assert_close(cavity_volumes(blocked.shape, phase, segments)[0] * 1e6, blocked.lv_esv)
    assert (phase > 0.8).all() and segments.amin() < 0.97, "some segments have relaxed before others are done"


def test_the_wall_keeps_its_volume_however_unevenly_it_contracts(blocked):
    relaxed = cavity_volumes(blocked.shape, 0.0)[1]
    for moment in (5, 15, 25):
        phase, segments = beat_phase(blocked, 50)[:, moment], segment_phase(blocked, 50)[:, moment]
        torch.testing.assert_close(cavity_volumes(blocked.shape, phase, segments)[1], relaxed, rtol=1e-9, atol=0)


def test_local_phase_is_the_segments_and_equal_phases_change_nothing(hearts):
    level = torch.linspace(0, 0.95, 7, dtype=torch.float64)
    angle = torch.linspace(0, 6, 30, dtype=torch.float64)
    phase = torch.full((300, 7), 0.6, dtype=torch.float64)
    height = height_of(hearts.shape, level, 0.6)
    even = local_phase(hearts.shape, height, phase, torch.full((300, 7, 16), 0.6, dtype=torch.float64), angle)
    torch.testing.assert_close(even, torch.full_like(even, 0.6))
    plain, local = (contours(hearts.shape, height, phase, angle, each) for each in (None, even))
    torch.testing.assert_close(plain.endo, local.endo)
    one = torch.zeros(300, 7, 16, dtype=torch.float64)
    one[..., 8] = 1
    local = local_phase(hearts.shape, height_of(hearts.shape, level, 0.6), phase, one, angle)
    assert local[:, 3, (angle - torch.pi).abs().argmin()].min() < 1 and local[:, 3, 0].max() == 0


def test_twist():
    level, phase = torch.tensor([0.0, 1.0, 1.2, -0.1]), torch.ones(4)
    turn = torch.rad2deg(twist(level, phase))
    assert -6 < turn[0] < -2 and 9 < turn[1] < 14, "base clockwise and apex counter-clockwise, seen from the apex"
    assert turn[2] == turn[1] and turn[3] == turn[0]
    assert (twist(level, 0 * phase) == 0).all()

"""Recording noise: size, reproducibility, and where a loose electrode shows."""

import pytest
import torch

from mmcl.simulation import recording
from mmcl.simulation.conductor import twelve_leads
from mmcl.simulation.parameters import override, parameters
from mmcl.simulation.recording import add_noise, modulate

P = parameters("recording")
SUBJECT = torch.arange(64)
BREATHING = torch.tensor([[0.25, 0.5]], dtype=torch.float64).expand(64, 2)
SILENCE = torch.zeros(64, 9, 5000)


def test_noise_is_reproducible_and_does_not_depend_on_the_batch():
    whole = add_noise(1, SUBJECT, SILENCE, BREATHING)
    rows = torch.tensor([40, 3])
    part = add_noise(1, SUBJECT[rows], SILENCE[rows], BREATHING[rows])
    assert torch.allclose(whole[rows], part, atol=1e-6)
    assert not torch.allclose(whole, add_noise(2, SUBJECT, SILENCE, BREATHING), atol=1e-3)


def test_noise_keeps_the_lead_identities():
    leads = twelve_leads(add_noise(1, SUBJECT, SILENCE, BREATHING))
    assert torch.allclose(leads[:, 0] + leads[:, 2], leads[:, 1], atol=1e-5)
    assert leads[:, 3:6].sum(dim=1).abs().max() < 1e-5


def test_size_of_baseline_wander_and_muscle_noise_is_that_of_a_resting_recording():
    leads = twelve_leads(add_noise(1, SUBJECT, SILENCE, BREATHING))
    spectrum = torch.fft.rfft(leads).abs().square() * 2 / 5000**2
    hertz = torch.fft.rfftfreq(5000, 1 / 500)
    slow = spectrum[..., (hertz > 0) & (hertz < 0.7)].sum(dim=-1).sqrt().median()
    fast = spectrum[..., (hertz > 20) & (hertz < 200) & ((hertz - 50).abs() > 0.2)].sum(dim=-1).sqrt().median()
    assert 0.01 < slow < 0.12
    assert 0.004 < fast < 0.02


def test_muscle_noise_has_its_stated_size():
    with override({"recording.muscle_spread": 0.0}):
        noise = recording._muscle(1, SUBJECT, SILENCE)
    assert noise[:, 3:].std() == pytest.approx(P.muscle, rel=0.05)
    assert noise.mean().abs() < 1e-4


def test_lead_off_silences_one_chest_electrode():
    silent = ("wander", "muscle", "mains", "breathing_wander", "motion_chance")
    with override({"recording.lead_off_chance": 1.0} | {f"recording.{name}": 0.0 for name in silent}):
        seen = add_noise(1, SUBJECT, torch.ones(64, 9, 5000), BREATHING)
    lost = seen == 0
    assert (lost[:, :, -1].sum(dim=1) == 1).all()
    assert not lost[:, :3].any()
    assert (lost.int().diff(dim=-1) >= 0).all(), "an electrode that came off stays off"


def test_lead_off_is_rare():
    off, _ = recording._lead_off(1, torch.arange(4000), torch.zeros(4000, 9, 2))
    assert 0.5 < off.any(dim=2).any(dim=1).float().mean() / P.lead_off_chance < 1.6


def test_breathing_moves_the_amplitude_at_its_own_rate():
    moved = modulate(1, SUBJECT, torch.ones(64, 9, 5000), BREATHING) - 1
    peak = torch.fft.rfft(moved).abs().sum(dim=(0, 1)).argmax()
    assert peak / 10 == pytest.approx(0.25, abs=0.06)
    assert moved.std() == pytest.approx(P.breathing_depth / 2**0.5, rel=0.2)

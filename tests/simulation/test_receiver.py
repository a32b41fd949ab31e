"""What the scanner makes of a signal: dark outlines of fat, resolution in millimetres, Rician noise."""

import pytest
import torch

from mmcl.simulation.parameters import override
from mmcl.simulation.population import sample_people
from mmcl.simulation.receiver import receive

PLAIN = {
    "receiver.shading": 0.0,
    "receiver.shading_sd": 0.0,
    "receiver.noise": 0.0,
    "receiver.gain_range": (1.0, 1.0),
    "receiver.banding_share": 0.0,
    "receiver.ghost_share": 0.0,
}


def received(signal, spacing=1.8, count=1, **changes):
    """The image (count, rows, columns) of `signal` (rows, columns) for subjects 0 to count."""
    people = sample_people(0, torch.arange(count))
    side = (torch.arange(len(signal)) - len(signal) / 2) * spacing
    place = side.expand(count, 1, -1)
    offset = torch.full((count, 1, 1, 2), 0.3)
    with override(PLAIN | {f"receiver.{name}": value for name, value in changes.items()}):
        return receive(0, people, signal.repeat(count, 1, 1, 1, 1), offset, place, place, spacing)[:, 0, 0].double()


def test_a_dark_line_parts_fat_from_water_and_not_fat_from_air():
    signal = torch.full((64, 64), 0.8)
    signal[:, 32] = 0.0  # half of either
    signal[:, 33:] = -0.8
    row = received(signal)[0, 32]
    assert row[30:35].min() < 0.05 * 204 and row[10] == row[50] == 204
    signal[:, :33] = 0.0
    row = received(signal)[0, 32, 20:45]
    assert (row.diff() >= 0).all(), "no line where fat meets air"


@pytest.mark.parametrize("spacing", [0.9, 1.4, 1.8])
def test_resolution_is_in_millimetres(spacing):
    signal = torch.zeros(96, 96)
    signal[48, 48] = 1.0
    spread = received(signal * 4.0, spacing)[0]
    place = (torch.arange(96) - 48) * spacing
    share = spread.sum(0) / spread.sum()
    assert (share * place**2).sum().sqrt() == pytest.approx(1.1, rel=0.12)


def test_noise_is_rician():
    dark, bright = (received(torch.full((96, 96), level), count=20, noise=0.03) for level in (0.0, 0.5))
    spread = bright.std((1, 2))
    assert ((spread > 0.5 * 0.03 * 255) & (spread < 3 * 0.03 * 255)).all()
    assert dark.mean((1, 2)).numpy() == pytest.approx((1.2533 * spread).numpy(), rel=0.12), "Rayleigh without signal"

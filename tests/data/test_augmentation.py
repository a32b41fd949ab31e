import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from mmcl.config import CmrAugmentation, CmrConfig, EcgAugmentation
from mmcl.data.augmentation import (
    _geometry,
    augment_cmr,
    augment_ecg,
    first_crop,
    fourier_surrogate,
    random_crop,
    resize,
    seen_frames,
    tiled_crops,
)

NO_ECG = EcgAugmentation(probability=1.0, phase_noise=0.0, jitter=0.0, rescale=0.0)
NO_CMR = CmrAugmentation(1.0, flip=0.0, rotation=0.0, brightness=0.0, contrast=0.0, saturation=0.0, crop_scale=(1, 1))
# Area 1 leaves a square crop as the only one inside the image, but no random aspect is exactly 1: the whole is taken.


def side(pixels: int, frames: str = "three") -> CmrConfig:
    return CmrConfig(image_size=pixels, frames=frames)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _ramp(batch: int = 512, record: int = 50) -> torch.Tensor:
    """Records whose samples tell their place: 1000 * sample of the batch + 100 * lead + time, exact in float32."""
    place = torch.arange(batch)[:, None, None] * 1000 + torch.arange(12)[:, None] * 100 + torch.arange(record)
    return place.float()


def test_crops_are_windows_of_their_record():
    records = _ramp()
    crops = random_crop(records, 20, _generator())
    start = (crops[:, 0, 0] - records[:, 0, 0]).long()
    assert start.min() == 0 and start.max() == 30
    for record, crop, s in zip(records, crops, start.tolist(), strict=True):
        assert torch.equal(crop, record[:, s : s + 20])
    assert torch.equal(first_crop(records, 20), records[:, :, :20])
    half = torch.randn(2, 12, 50).half()
    assert first_crop(half, 20).dtype == torch.float32
    assert torch.equal(first_crop(half, 50), half.float())
    with pytest.raises(ValueError, match="at least the window, 51"):
        random_crop(half, 51)


def test_tiles_cover_the_record():
    records = _ramp(batch=3)
    tiles = tiled_crops(records, 25)
    assert tiles.shape == (3, 2, 12, 25)
    assert torch.equal(torch.cat(list(tiles.unbind(1)), dim=2), records)
    uneven = tiled_crops(records, 20)
    assert uneven.shape == (3, 3, 12, 20)
    assert [round(v) for v in uneven[0, :, 0, 0].tolist()] == [0, 15, 30]


def test_surrogate_keeps_amplitudes_and_the_leads_phase_relations():
    ecg = torch.randn(4, 12, 300)
    magnitude = torch.tensor([0.0, 0.1, 0.5, 1.0])
    surrogate = fourier_surrogate(ecg, magnitude, _generator())
    torch.testing.assert_close(surrogate[0], ecg[0], rtol=1e-4, atol=1e-5)
    before, after = torch.fft.rfft(ecg), torch.fft.rfft(surrogate)
    torch.testing.assert_close(before.abs(), after.abs(), rtol=1e-3, atol=1e-3)
    turn = after[:, :, 1:-1] / before[:, :, 1:-1]
    torch.testing.assert_close(turn, turn[:, :1].expand_as(turn), rtol=1e-2, atol=1e-2)
    angle = turn[:, 0].angle()
    assert 0.5 < angle[1].max() < 0.1 * 2 * math.pi + 1e-3
    assert angle[1].min() > -1e-3
    torch.testing.assert_close(surrogate.mean(dim=-1), ecg.mean(dim=-1), rtol=1e-3, atol=1e-5)
    assert fourier_surrogate(ecg[:, :, :299], magnitude).shape == (4, 12, 299)


def test_jitter_multiplies_each_sample():
    ones = torch.ones(256, 12, 50)
    factor = augment_ecg(ones, 50, dataclasses.replace(NO_ECG, jitter=0.6), generator=_generator())
    assert factor.mean().item() == pytest.approx(1.0, abs=0.002)
    assert factor.std().item() == pytest.approx(0.6 * 0.25, rel=0.02)
    assert factor[0].unique().numel() > 500


def test_published_rescaling_inverts_two_per_cent_of_records_and_the_corrected_one_none():
    ones = torch.ones(20000, 12, 2)
    rescale = dataclasses.replace(NO_ECG, rescale=0.5)
    published = augment_ecg(ones, 2, rescale, positive_rescale=False, generator=_generator())
    corrected = augment_ecg(ones, 2, rescale, positive_rescale=True, generator=_generator())
    assert (published[:, 0, 0] < 0).float().mean().item() == pytest.approx(0.0228, abs=0.005)
    assert published.std().item() == pytest.approx(0.5, rel=0.02)
    assert torch.equal(corrected, published.abs())
    assert (published == published[:, :1, :1]).all()


def test_probability_is_per_record_and_of_all_steps():
    records = torch.randn(2000, 12, 8)
    half = EcgAugmentation(probability=0.5, phase_probability=1.0)
    same = torch.isclose(augment_ecg(records, 8, half, generator=_generator()), records, rtol=1e-4, atol=1e-5)
    share = same.flatten(1).all(dim=1).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.05)
    assert same.flatten(1).float().mean().item() == pytest.approx(share, abs=0.01)
    phase = dataclasses.replace(NO_ECG, phase_noise=0.5, phase_probability=0.25)
    changed = ~torch.isclose(augment_ecg(records, 8, phase, generator=_generator()), records, rtol=1e-3, atol=1e-4)
    assert changed.flatten(1).any(dim=1).float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_ecg_input_is_left_as_it_is_and_a_seed_repeats():
    records = torch.randn(4, 12, 40)
    copy = records.clone()
    first, again = (augment_ecg(records, 40, EcgAugmentation(), generator=_generator(3)) for _ in range(2))
    assert torch.equal(records, copy)
    assert torch.equal(first, again)


def test_cmr_without_augmentation_is_resized():
    cmr = torch.rand(5, 3, 78, 78)
    torch.testing.assert_close(augment_cmr(cmr, side(64), NO_CMR), resize(cmr, side(64)), rtol=0.0, atol=1e-4)
    never = dataclasses.replace(CmrAugmentation(), probability=0.0)
    torch.testing.assert_close(augment_cmr(cmr, side(64), never), resize(cmr, side(64)), rtol=0.0, atol=1e-4)
    assert torch.equal(resize(cmr, side(78)), cmr)


def test_stored_bytes_become_the_unit_interval():
    stored = torch.randint(0, 256, (2, 3, 20, 20), dtype=torch.uint8)
    assert seen_frames(stored, CmrConfig()).max() <= 1.0
    torch.testing.assert_close(resize(stored, side(20)), stored / 255)
    torch.testing.assert_close(augment_cmr(stored, side(16), NO_CMR), resize(stored, side(16)), rtol=0.0, atol=1e-4)


def test_flip_mirrors_left_and_right():
    cmr = torch.rand(4, 3, 32, 32)
    flipped = augment_cmr(cmr, side(32), dataclasses.replace(NO_CMR, flip=1.0))
    torch.testing.assert_close(flipped, cmr.flip(3), rtol=0.0, atol=1e-4)


def test_rotation_turns_about_the_centre_within_its_limit():
    # A dot to the right of the centre: where it lands gives angle and distance.
    cmr = torch.zeros(500, 3, 65, 65)
    cmr[:, :, 31:34, 51:54] = 1.0
    turned = augment_cmr(cmr, side(65), dataclasses.replace(NO_CMR, rotation=45.0), _generator())[:, 0]
    place = torch.arange(65.0) - 32
    total = turned.sum(dim=(1, 2))
    x = (turned.sum(dim=1) * place).sum(dim=1) / total
    y = (turned.sum(dim=2) * place).sum(dim=1) / total
    torch.testing.assert_close((x**2 + y**2).sqrt(), torch.full((500,), 20.0), rtol=0.02, atol=0.0)
    degrees = torch.rad2deg(torch.atan2(y, x))
    assert degrees.abs().max() < 46.0
    assert degrees.std().item() == pytest.approx(90 / math.sqrt(12), rel=0.1)


def test_random_resized_crop_magnifies_by_its_scale():
    # Images whose frames hold the x and the y coordinate show which window was taken.
    axis = torch.linspace(0.5 / 64, 1 - 0.5 / 64, 64)
    cmr = torch.stack([axis.expand(64, 64), axis[:, None].expand(64, 64), torch.zeros(64, 64)]).expand(2000, 3, 64, 64)
    cropped = augment_cmr(cmr, side(64), dataclasses.replace(NO_CMR, crop_scale=(0.6, 1.0)), _generator())
    width = (cropped[:, 0, 32, 62] - cropped[:, 0, 32, 1]) * 64 / 61
    height = (cropped[:, 1, 62, 32] - cropped[:, 1, 1, 32]) * 64 / 61
    area, aspect = width * height, width / height
    assert 0.59 < area.min() and area.max() < 1.01
    assert 0.74 < aspect.min() and aspect.max() < 1.35
    left = cropped[:, 0, 32, 1] - width * 1.5 / 64
    assert left.min() > -0.01 and (left + width).max() < 1.01
    assert left.std() > 0.02


def test_the_crop_lies_inside_the_image_as_turned():
    """Output -> input is flip . rotation . (half * output + centre), with |centre| + half <= 1 for both axes."""
    theta = _geometry(2000, dataclasses.replace(CmrAugmentation(), crop_scale=(0.6, 1.0)), torch.zeros(1), _generator())
    half = theta[:, :, :2].norm(dim=1)
    turn = theta[:, :, :2] / half[:, None]
    torch.testing.assert_close(turn @ turn.mT, torch.eye(2).expand(2000, 2, 2), rtol=0.0, atol=1e-5)
    centre = (turn.mT @ theta[:, :, 2:])[:, :, 0]
    assert (centre.abs() + half).max() < 1 + 1e-5
    assert torch.linalg.det(turn).mean().item() == pytest.approx(0.0, abs=0.1)


def test_contrast_and_saturation_leave_a_grey_image_to_brightness():
    grey = torch.full((50, 3, 16, 16), 0.5)
    bright = dataclasses.replace(NO_CMR, brightness=0.5)
    all_three = dataclasses.replace(bright, contrast=0.5, saturation=0.5)
    expected = augment_cmr(grey, side(16), bright, _generator())
    torch.testing.assert_close(augment_cmr(grey, side(16), all_three, _generator()), expected, rtol=0.0, atol=1e-4)


def test_colour_jitter_equals_its_steps():
    """Against brightness, contrast and saturation one after the other, recovered from the sampled factors' ranges."""
    grey = torch.tensor([0.299, 0.587, 0.114])
    cmr = 0.4 + 0.2 * torch.rand(200, 3, 16, 16)  # stays inside [0, 1] under any one factor
    bright = augment_cmr(cmr, side(16), dataclasses.replace(NO_CMR, brightness=0.5), _generator())
    factor = bright.flatten(1).mean(1) / cmr.flatten(1).mean(1)
    torch.testing.assert_close(bright, cmr * factor[:, None, None, None], rtol=1e-3, atol=1e-3)
    assert 0.5 <= factor.min() < 0.55 and 1.45 < factor.max() <= 1.501
    contrast = augment_cmr(cmr, side(16), dataclasses.replace(NO_CMR, contrast=0.5), _generator())
    mean = (cmr.mean(dim=(2, 3)) @ grey)[:, None, None, None]
    factor = (contrast - mean).flatten(1).norm(dim=1) / (cmr - mean).flatten(1).norm(dim=1)
    torch.testing.assert_close(contrast - mean, (cmr - mean) * factor[:, None, None, None], rtol=1e-2, atol=1e-3)
    assert 0.5 <= factor.min() < 0.55 and 1.45 < factor.max() <= 1.501
    saturated = augment_cmr(cmr, side(16), dataclasses.replace(NO_CMR, saturation=0.5), _generator())
    luma = torch.einsum("bchw,c->bhw", cmr, grey)[:, None]
    factor = (saturated - luma).flatten(1).norm(dim=1) / (cmr - luma).flatten(1).norm(dim=1)
    torch.testing.assert_close(saturated - luma, (cmr - luma) * factor[:, None, None, None], rtol=1e-2, atol=1e-3)


def test_cmr_stays_in_the_unit_interval_and_differs_between_samples():
    cmr = torch.rand(1, 3, 40, 40).expand(16, -1, -1, -1)
    augmented = augment_cmr(cmr, side(32), CmrAugmentation(), _generator())
    assert augmented.shape == (16, 3, 32, 32)
    assert augmented.min() >= 0.0 and augmented.max() <= 1.0
    assert F.mse_loss(augmented[0], augmented[1]) > 1e-3
    assert torch.equal(augmented, augment_cmr(cmr, side(32), CmrAugmentation(), _generator()))


def test_images_must_be_square():
    with pytest.raises(ValueError, match=r"\(2, 3, 20, 30\)"):
        augment_cmr(torch.zeros(2, 3, 20, 30), side(16), NO_CMR)


@pytest.mark.parametrize("frames, seen", [("three", (0, 1, 2)), ("ed+es", (0, 2, 2)), ("ed", (2, 2, 2))])
def test_frames_that_are_left_out_are_not_seen_even_through_colour(frames, seen):
    cmr = torch.rand(6, 3, 20, 20)
    expected = resize(cmr[:, seen], side(16))
    torch.testing.assert_close(resize(cmr, side(16, frames)), expected)
    other = cmr.clone()
    other[:, [k for k in range(3) if k not in seen]] = 0.5
    one, two = (augment_cmr(x, side(16, frames), CmrAugmentation(), _generator()) for x in (cmr, other))
    assert torch.equal(one, two)


def test_unknown_frames_are_named():
    with pytest.raises(ValueError, match="unknown choice of frames 'es'; expected one of three, ed\\+es, ed"):
        resize(torch.zeros(1, 3, 20, 20), side(16, "es"))

"""Random training transforms and fixed evaluation transforms of ECG and CMR batches, on any device (method section 7).

All work on whole batches without a loop over samples, draw from a `torch.Generator` on the batch's device (None for
torch's own), and leave their input as it is.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from mmcl.config import FRAMES, CmrAugmentation, CmrConfig, EcgAugmentation, look_up
from mmcl.precision import without_autocast

JITTER_DEVIATION = 0.25
"""Standard deviation of the noise that `EcgAugmentation.jitter` scales."""

CROP_ASPECT = (3 / 4, 4 / 3)
"""Aspect ratios of a random resized crop (Szegedy et al. 2015; torchvision's default)."""

CROP_ATTEMPTS = 10
"""Draws of scale and aspect for a crop inside the image; when all fail, the whole image is taken (torchvision)."""

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""Luma of red, green and blue (ITU-R BT.601). The three frames take the colours' places, as in the published code."""

Generator = torch.Generator | None


def _uniform(low: float, high: float, *shape: int, like: torch.Tensor, generator: Generator) -> torch.Tensor:
    return torch.empty(shape, device=like.device).uniform_(low, high, generator=generator)


def _chosen(probability: float, batch: int, like: torch.Tensor, generator: Generator) -> torch.Tensor:
    """(batch,) float32, 1 with `probability`, else 0."""
    return torch.empty(batch, device=like.device).bernoulli_(probability, generator=generator)


# ECG


def _spare(records: torch.Tensor, window: int) -> int:
    """Samples by which records (batch, leads, record) are longer than the window; ValueError when they are shorter."""
    if records.shape[2] < window:
        raise ValueError(f"ECG records of {records.shape[2]} samples: expected at least the window, {window}")
    return records.shape[2] - window


def first_crop(records: torch.Tensor, window: int) -> torch.Tensor:
    """First window of each record, as published for evaluation: -> (batch, leads, window) float32.

    A float32 input is not copied.
    """
    _spare(records, window)
    return records[:, :, :window].float()


def tiled_crops(records: torch.Tensor, window: int) -> torch.Tensor:
    """The fewest windows that cover a record, evenly spread: -> (batch, crops, leads, window) float32.

    Where the record is no multiple of the window, neighbours overlap. To be averaged over after the model
    (`corrected`).
    """
    spare = _spare(records, window)
    crops = math.ceil(records.shape[2] / window)
    starts = (round(i * spare / max(crops - 1, 1)) for i in range(crops))
    return torch.stack([records[:, :, start : start + window] for start in starts], dim=1).float()


def random_crop(records: torch.Tensor, window: int, generator: Generator = None) -> torch.Tensor:
    """One window at a random place of each record: (batch, leads, record) -> (batch, leads, window) float32.

    Only the windows are read and converted.
    """
    places = _spare(records, window) + 1
    start = torch.randint(places, (len(records),), device=records.device, generator=generator)
    row = torch.arange(len(records), device=records.device)
    return records.unfold(2, window, 1)[row, :, start].float()


def fourier_surrogate(ecg: torch.Tensor, magnitude: torch.Tensor, generator: Generator = None) -> torch.Tensor:
    """Add `magnitude` (batch,) times uniform noise in [0, 2 pi) to each frequency's phase (Schwabedal et al. 2018).

    One noise serves all leads of a record, so that the leads keep their phase relations: they are projections of one
    source. The mean and, at even lengths, the highest frequency keep their phases, so that the result is real.
    """
    time = ecg.shape[-1]
    spectrum = torch.fft.rfft(ecg)
    phase = _uniform(0.0, 2 * math.pi, len(ecg), spectrum.shape[-1], like=ecg, generator=generator)
    phase *= magnitude[:, None]
    phase[:, 0] = 0.0
    if time % 2 == 0:
        phase[:, -1] = 0.0
    spectrum *= torch.polar(torch.ones_like(phase), phase)[:, None]
    return torch.fft.irfft(spectrum, n=time)


def augment_ecg(
    records: torch.Tensor,
    window: int,
    augmentation: EcgAugmentation,
    positive_rescale: bool = True,
    generator: Generator = None,
) -> torch.Tensor:
    """Random crop, then with `augmentation.probability` surrogate, jitter and rescaling, in this order.

    `records` (batch, leads, record) of any float type -> (batch, leads, window) float32. Jitter multiplies each sample
    with 1 + jitter * N(0, 0.25); rescaling multiplies the record with one N(1, rescale), which is negative for 2 % of
    records at 0.5, or, with `positive_rescale` (preset `corrected`), with its absolute value.
    """
    ecg = random_crop(records, window, generator)
    batch = len(ecg)
    chosen = _chosen(augmentation.probability, batch, ecg, generator)
    if augmentation.phase_noise > 0.0:
        surrogate = chosen * _chosen(augmentation.phase_probability, batch, ecg, generator)
        ecg = fourier_surrogate(ecg, augmentation.phase_noise * surrogate, generator)
    factor = 1.0 + augmentation.rescale * torch.randn(batch, device=ecg.device, generator=generator)
    if positive_rescale:
        factor = factor.abs()
    factor = torch.where(chosen > 0, factor, 1.0)[:, None, None]
    if augmentation.jitter == 0.0:
        return ecg.mul_(factor)
    noise = torch.randn(ecg.shape, device=ecg.device, generator=generator)
    noise *= (augmentation.jitter * JITTER_DEVIATION * chosen)[:, None, None] * factor
    return ecg.mul_(noise.add_(factor))


# CMR


def seen_frames(cmr: torch.Tensor, view: CmrConfig) -> torch.Tensor:
    """Frames (batch, 3, ...) float32 in [0, 1] that fill the encoder's channels; uint8, as stored, is divided by 255.

    Every image passes here before anything else, so that no frame that is left out colours one that is seen.
    """
    channels = look_up(FRAMES, view.frames, "choice of frames")
    if view.frames != "three":
        cmr = torch.stack([cmr[:, channel] for channel in channels], dim=1)
    return cmr.float().div_(255.0) if cmr.dtype == torch.uint8 else cmr.float()


def resize(cmr: torch.Tensor, view: CmrConfig) -> torch.Tensor:
    """Evaluation: (batch, 3, crop, crop) uint8 or in [0, 1] -> (batch, 3, side, side) float32 in [0, 1], bilinear.

    `view` says which frames are seen, and their side, `image_size`.
    """
    side = view.image_size
    return F.interpolate(seen_frames(cmr, view), size=(side, side), mode="bilinear", align_corners=False)


def _resized_crop(
    batch: int, scale: tuple[float, float], like: torch.Tensor, generator: Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Half sizes and centres (batch, 2), x first, of random crops, in coordinates where the image is [-1, 1]."""
    shape = (batch, CROP_ATTEMPTS)
    area = _uniform(*scale, *shape, like=like, generator=generator)
    aspect = _uniform(math.log(CROP_ASPECT[0]), math.log(CROP_ASPECT[1]), *shape, like=like, generator=generator).exp()
    half = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=2)
    inside = (half <= 1.0).all(dim=2)
    first = inside.int().argmax(dim=1)
    row = torch.arange(batch, device=like.device)
    half = torch.where(inside[row, first][:, None], half[row, first], 1.0)
    return half, _uniform(-1.0, 1.0, batch, 2, like=like, generator=generator) * (1.0 - half)


def _geometry(batch: int, augmentation: CmrAugmentation, like: torch.Tensor, generator: Generator) -> torch.Tensor:
    """Matrices (batch, 2, 3) from output to input coordinates: flip first, then rotation, then resized crop.

    Output -> input undoes the steps last to first, so input = flip . rotation^-1 . (half * output + centre).
    """
    limit = math.radians(augmentation.rotation)
    angle = _uniform(-limit, limit, batch, like=like, generator=generator)
    mirror = 1.0 - 2.0 * _chosen(augmentation.flip, batch, like, generator)
    half, centre = _resized_crop(batch, augmentation.crop_scale, like, generator)
    cos, sin = angle.cos(), angle.sin()
    rotation = torch.stack([torch.stack([mirror * cos, -mirror * sin], 1), torch.stack([sin, cos], 1)], 1)
    return torch.cat([rotation * half[:, None], rotation @ centre[:, :, None]], dim=2)


def _colour(
    cmr: torch.Tensor, chosen: torch.Tensor, augmentation: CmrAugmentation, generator: Generator
) -> torch.Tensor:
    """Brightness, contrast and saturation in one product of channels, clamped to [0, 1] at the end.

    The three are linear and commute but for clamping in between, which torchvision does and this does not; hence their
    random order there has no counterpart. Contrast is about the mean grey of the image as cropped.
    """
    batch, strengths = len(cmr), (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    factors = (_uniform(max(0.0, 1 - s), 1 + s, batch, like=cmr, generator=generator) for s in strengths)
    brightness, contrast, saturation = (torch.where(chosen > 0, f, 1.0) for f in factors)
    # Filled on the device: a copy from the host would wait for it.
    grey = torch.cat([torch.full((1,), weight, device=cmr.device) for weight in GREY_WEIGHTS])
    mixing = saturation[:, None, None] * torch.eye(3, device=cmr.device) + (1 - saturation)[:, None, None] * grey
    mixing *= (brightness * contrast)[:, None, None]
    mean = cmr.mean(dim=(2, 3)) @ grey
    offset = (brightness * (1 - contrast) * mean)[:, None, None]
    return torch.baddbmm(offset, mixing, cmr.flatten(2)).clamp_(0.0, 1.0).view_as(cmr)


@without_autocast
def augment_cmr(
    cmr: torch.Tensor, view: CmrConfig, augmentation: CmrAugmentation, generator: Generator = None
) -> torch.Tensor:
    """With `augmentation.probability` flip, rotation, colour jitter and random resized crop; else only resized.

    `cmr` (batch, 3, crop, crop), uint8 or in [0, 1] -> (batch, 3, side, side) float32 in [0, 1]; `view` as in `resize`.
    The geometric steps are one bilinear sampling; what lies outside the image is 0. Colour follows it. ValueError for
    images that are not square.
    """
    if cmr.ndim != 4 or cmr.shape[1] != 3 or cmr.shape[2] != cmr.shape[3]:
        raise ValueError(f"CMR of shape {tuple(cmr.shape)}: expected (batch, 3, crop, crop)")
    cmr = seen_frames(cmr, view)
    batch, side = len(cmr), view.image_size
    chosen = _chosen(augmentation.probability, batch, cmr, generator)
    identity = torch.eye(2, 3, device=cmr.device)
    theta = torch.where(chosen[:, None, None] > 0, _geometry(batch, augmentation, cmr, generator), identity)
    grid = F.affine_grid(theta, (batch, 3, side, side), align_corners=False)
    cmr = F.grid_sample(cmr, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return _colour(cmr, chosen, augmentation, generator)

"""Recording: what skin, muscle, mains and electrodes add to the potentials on their way to paper.

Noise is drawn at the nine electrodes, before leads are formed, so that it obeys Einthoven's and Goldberger's identities
as in a real recording and noise of an arm appears in every chest lead through Wilson's terminal.
"""

from __future__ import annotations

import torch

from mmcl.config import RAW_SAMPLING_RATE
from mmcl.simulation.parameters import parameters
from mmcl.simulation.random import normal, uniform

P = parameters("recording")

WANDER_COMPONENTS = 6


def modulate(seed: int, subject: torch.Tensor, potential: torch.Tensor, breathing: torch.Tensor) -> torch.Tensor:
    """Potentials (n, 9, time) as breathing turns and moves the heart; `breathing` (n, 2) is rate in Hz and phase."""
    wave = _breath(potential, breathing)
    depth = P.breathing_depth * normal(seed, subject, "recording.depth", potential.shape[1])
    return potential * (1 + depth[:, :, None].to(potential) * wave[:, None, :])


def add_noise(seed: int, subject: torch.Tensor, potential: torch.Tensor, breathing: torch.Tensor) -> torch.Tensor:
    """Recorded potentials (n, 9, time) in millivolt at 500 Hz, from clean ones.

    Adds baseline wander, muscle, mains, now and then an electrode that moves, and rarely one without contact, which
    sees no heart at all for the rest of the recording.
    """
    off, mains_factor = _lead_off(seed, subject, potential)
    noise = _wander(seed, subject, potential, breathing) + _muscle(seed, subject, potential)
    noise += _motion(seed, subject, potential) + mains_factor * _mains(seed, subject, potential)
    return potential * ~off + noise


def _clock(potential: torch.Tensor) -> torch.Tensor:
    return torch.arange(potential.shape[-1], dtype=potential.dtype, device=potential.device) / RAW_SAMPLING_RATE


def _breath(potential: torch.Tensor, breathing: torch.Tensor) -> torch.Tensor:
    """Sine of breathing, (n, time)."""
    rate, phase = breathing.to(potential).unbind(1)
    return torch.sin(2 * torch.pi * rate[:, None] * _clock(potential) + phase[:, None])


def _wander(seed: int, subject: torch.Tensor, potential: torch.Tensor, breathing: torch.Tensor) -> torch.Tensor:
    """Baseline: breathing, and slow components of 0.05 to 0.6 Hz whose power falls with frequency."""
    n, electrodes, _ = potential.shape
    level = torch.exp(P.wander_spread * normal(seed, subject, "recording.wander", 1 + electrodes))
    level = (level[:, :1] * level[:, 1:].sqrt()).to(potential)
    draws = uniform(seed, subject, "recording.drift", WANDER_COMPONENTS * (1 + electrodes)).to(potential)
    rate = 0.05 * 12 ** draws[:, :WANDER_COMPONENTS]
    phase = 2 * torch.pi * draws[:, WANDER_COMPONENTS:].reshape(n, electrodes, WANDER_COMPONENTS)
    angle = 2 * torch.pi * rate[:, :, None] * _clock(potential)
    size = P.wander * (P.wander_rate / rate).sqrt() * (2 / WANDER_COMPONENTS) ** 0.5
    # sin(a + b) = sin a cos b + cos a sin b: waves are shared, phases belong to electrodes.
    slow = (size[:, None] * phase.cos()) @ angle.sin() + (size[:, None] * phase.sin()) @ angle.cos()
    share = normal(seed, subject, "recording.breathing", electrodes).to(potential)
    breath = P.breathing_wander * share[:, :, None] * _breath(potential, breathing)[:, None]
    return level[:, :, None] * (slow + breath)


def _muscle(seed: int, subject: torch.Tensor, potential: torch.Tensor) -> torch.Tensor:
    """Muscle noise: white noise through a short filter that passes about 30 to 170 Hz; stronger on the limbs."""
    n, electrodes, time = potential.shape
    extra = 5
    size = electrodes * (time + extra)
    # Each number of 52 random bits makes three samples of 17.
    draws = uniform(seed, subject, "recording.muscle", -(-size // 3))
    draws = torch.cat([draws, torch.frac(draws * 2**17), torch.frac(draws * 2**34)], dim=1)[:, :size]
    white = draws.to(potential).reshape(n, electrodes, time + extra) - 0.5
    pairs = white[..., 1:] + white[..., :-1]
    # Taps -1 -1 2 2 -1 -1; white noise of variance 1/12 comes out with variance 1.
    filtered = 2 * pairs[..., 2:-2] - pairs[..., :-4] - pairs[..., 4:]
    tone = torch.exp(P.muscle_spread * normal(seed, subject, "recording.tone", 1 + electrodes))
    level = (P.muscle * tone[:, :1] * tone[:, 1:].sqrt()).to(potential)
    limb = torch.ones(electrodes, dtype=potential.dtype, device=potential.device)
    limb[:3] = P.muscle_limb
    return (level * limb)[:, :, None] * filtered


def _mains(seed: int, subject: torch.Tensor, potential: torch.Tensor) -> torch.Tensor:
    electrodes = potential.shape[1]
    level = P.mains * torch.exp(P.mains_spread * normal(seed, subject, "recording.mains"))
    share = normal(seed, subject, "recording.pickup", 2 * electrodes)
    weight = (level * share).to(potential)
    angle = 2 * torch.pi * P.mains_frequency * _clock(potential)
    return weight[:, :electrodes, None] * angle.sin() + weight[:, electrodes:, None] * angle.cos()


def _motion(seed: int, subject: torch.Tensor, potential: torch.Tensor) -> torch.Tensor:
    """One electrode of some subjects shifts its half-cell potential: a step that decays in about a second."""
    n, electrodes, time = potential.shape
    draws = uniform(seed, subject, "recording.motion", 4).to(potential)
    start = draws[:, 1] * time / RAW_SAMPLING_RATE
    since = _clock(potential) - start[:, None]
    shortest, longest = P.motion_decay
    decay = shortest + (longest - shortest) * draws[:, 2:3]
    shape = torch.sigmoid(since / 0.04) * torch.exp(-since.clamp(min=0) / decay)
    size = P.motion_size * normal(seed, subject, "recording.motion-size")[:, 0].to(potential)
    which = torch.nn.functional.one_hot((draws[:, 3] * electrodes).long().clamp(max=electrodes - 1), electrodes)
    happens = (draws[:, 0] < P.motion_chance).to(potential)
    return (which * (happens * size)[:, None])[:, :, None] * shape[:, None]


def _lead_off(seed: int, subject: torch.Tensor, potential: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where an electrode has no contact (n, 9, time), and the factor on its mains; only chest electrodes come off.

    Devices refuse to record a resting ECG while a limb electrode is off.
    """
    n, electrodes, time = potential.shape
    draws = uniform(seed, subject, "recording.lead-off", 3).to(potential)
    chest = 3 + (draws[:, 1] * (electrodes - 3)).long().clamp(max=electrodes - 4)
    which = torch.nn.functional.one_hot(chest, electrodes).bool() & (draws[:, :1] < P.lead_off_chance)
    # Half of them are off from the start, the others come off on the way.
    start = (2 * draws[:, 2] - 1).clamp(min=0) * time / RAW_SAMPLING_RATE
    off = which[:, :, None] & (_clock(potential) >= start[:, None])[:, None]
    return off, torch.where(off, P.lead_off_pickup, 1.0).to(potential)

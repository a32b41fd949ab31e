"""Volume conductor: torso, nine electrodes, and what each electrode sees of a current inside.

The torso is a homogeneous conducting sphere in air. The potential that a current source at a point makes on its surface
has a closed form, Neumann's function of the sphere; its gradient at the source is the field of an eccentric dipole
(Wilson & Bayley 1950, Circulation 1:84; Yao 2000, IEEE Trans Biomed Eng 47:964). Coordinates are metres from the
sphere's centre: x to the subject's left, y up, z to the front.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from mmcl.simulation.population import People
from mmcl.simulation.random import normal

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
"""Order of the electrodes in every array of the forward model."""

CONDUCTIVITY = 0.20
"""Torso, S/m; mean of the tissues between heart and skin (Keller et al. 2010, IEEE Trans Biomed Eng 57:1568)."""

# Effective values. Together with those so marked in `source`, `activation` and `atria` they were found by an evolution
# search on 60 healthy hearts, for normal mean R, S, Q and T amplitudes in each lead, QRS width, QT and axis (rounded
# from Rijnbeek et al. 2014, J Electrocardiol 47:914, and Macfarlane & Lawrie 2010, Comprehensive Electrocardiology); no
# learned model took part.
# Radius of the sphere in m for a body surface of 1.85 m2, its growth with body mass index (fat moves the electrodes
# away), the chest wall that covers any heart, the sphere's centre in torso coordinates, and where the electrodes sit in
# degrees: azimuth from the front to the left, elevation upwards.
RADIUS = 0.151
RADIUS_PER_BMI = 0.008
CHEST_WALL = 0.020
CENTRE = (0.018, -0.04, -0.016)
AZIMUTH = (-111.0, 96.0, 68.0, -37.0, -13.0, -2.0, 18.0, 30.0, 51.0)
ELEVATION = (30.8, 10.4, -55.2, -1.4, -2.3, -7.7, -14.3, -16.2, -19.3)

# Standard deviations. Chest electrodes miss their landmarks by 1 to 3 cm, most of it up or down and shared by
# neighbours (Wenger & Kligfield 1996, J Electrocardiol 29:179); breasts add to it. The gain stands for lungs,
# blood and other conductivities that differ between people (Hoekema et al. 2001, IEEE Trans Biomed Eng 48:551).
PLACEMENT_COMMON = 0.012
PLACEMENT_SINGLE = 0.009
PLACEMENT_LIMB = 0.02
PLACEMENT_FEMALE = 1.3
GAIN_SPREAD = 0.20


@dataclass(frozen=True)
class Torso:
    """Conducting sphere and electrodes of each subject.

    `centre` (3,) and `radius` (n,) m; `electrodes` (n, 9, 3) m on the sphere, from its centre, in the order of
    `ELECTRODES`; `gain` (n,) factor on every potential.
    """

    centre: torch.Tensor
    radius: torch.Tensor
    electrodes: torch.Tensor
    gain: torch.Tensor


def build_torso(seed: int, people: People, muscle: torch.Tensor) -> Torso:
    """Torso and electrodes for body size, sex and each subject's placement error.

    `muscle` (n, points, 3) m is where the heart lies: a chest wall covers its outermost point.
    """
    centre = torch.tensor(CENTRE, dtype=muscle.dtype, device=muscle.device)
    reach = (muscle - centre).norm(dim=-1).amax(dim=1)
    subject = people.subject
    radius = RADIUS * torch.sqrt(people.bsa / 1.85) * (1 + RADIUS_PER_BMI * (people.bmi - 26))
    radius = torch.maximum(radius, reach + CHEST_WALL)
    error = _placement_error(seed, subject, people.female) / radius[:, None, None]
    angles = torch.tensor([AZIMUTH, ELEVATION], dtype=radius.dtype, device=radius.device).T
    azimuth, elevation = (torch.deg2rad(angles) + error).unbind(-1)
    unit = torch.stack([elevation.cos() * azimuth.sin(), elevation.sin(), elevation.cos() * azimuth.cos()], dim=-1)
    gain = torch.exp(GAIN_SPREAD * normal(seed, subject, "torso.gain")[:, 0])
    return Torso(centre, radius, radius[:, None, None] * unit, gain)


def transfer(torso: Torso, points: torch.Tensor) -> torch.Tensor:
    """Potential (n, 9, points) in V at the electrodes per A that enters the torso at each of `points` (n, points, 3).

    A constant per subject is left open, as always in a closed conductor: only sources that sum to zero have a meaning.
    ValueError when a point does not lie inside the sphere.
    """
    points = points - torso.centre
    outside = points.norm(dim=-1).amax(dim=1) >= torso.radius
    if outside.any():
        rows = outside.nonzero()[:, 0].tolist()
        raise ValueError(f"source outside the torso in rows {rows[:5]} of the batch; expected every point inside it")
    electrodes, radius = torso.electrodes, torso.radius[:, None, None]
    distance = torch.cdist(electrodes, points, compute_mode="donot_use_mm_for_euclid_dist")
    image = radius**2 - electrodes @ points.transpose(1, 2) + radius * distance
    potential = 2 / distance - torch.log(image / (2 * radius**2)) / radius
    return torso.gain[:, None, None] * potential / (4 * math.pi * CONDUCTIVITY)


def twelve_leads(potential: torch.Tensor) -> torch.Tensor:
    """Leads (n, 12, time) in the order of `mmcl.config.LEADS` from electrode potentials (n, 9, time).

    Limb leads after Einthoven, augmented leads after Goldberger, chest leads against Wilson's central terminal.
    """
    right, left, foot = potential[:, 0], potential[:, 1], potential[:, 2]
    one, two = left - right, foot - right
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    terminal = (right + left + foot) / 3
    return torch.cat([torch.stack(limb, dim=1), potential[:, 3:] - terminal[:, None]], dim=1)


def _placement_error(seed: int, subject: torch.Tensor, female: torch.Tensor) -> torch.Tensor:
    """Metres along the skin (n, 9, 2), sideways and up, by which the electrodes miss their places."""
    n = len(subject)
    single = normal(seed, subject, "torso.electrodes", 18).reshape(n, 9, 2)
    common = normal(seed, subject, "torso.placement", 2)[:, None, :]
    scale = torch.full((9, 1), PLACEMENT_SINGLE, dtype=single.dtype, device=single.device)
    scale[:3] = PLACEMENT_LIMB
    chest = torch.ones_like(scale)
    chest[:3] = 0
    # The error shared by the six chest electrodes is mostly vertical: the wrong intercostal space.
    direction = torch.tensor([0.4, 1.0], dtype=single.dtype, device=single.device)
    factor = torch.where(female, PLACEMENT_FEMALE, 1.0).to(single)[:, None, None]
    return factor * (scale * single + chest * PLACEMENT_COMMON * direction * common)

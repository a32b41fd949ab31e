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

from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People
from mmcl.simulation.random import normal

P = parameters("conductor")

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")
"""Order of the electrodes in every array of the forward model."""


@dataclass(frozen=True)
class Torso:
    """Conducting sphere and electrodes of each subject.

    `centre` (3,) and `radius` (n,) m; `electrodes` (n, 9, 3) m on the sphere, from its centre, in the order of
    `ELECTRODES`; `gain` (n,) factor on every potential.
    """

    SHARED = ("centre",)
    """What every subject has in common."""

    centre: torch.Tensor
    radius: torch.Tensor
    electrodes: torch.Tensor
    gain: torch.Tensor


def build_torso(seed: int, people: People, muscle: torch.Tensor) -> Torso:
    """Torso and electrodes for body size, sex and each subject's placement error.

    `muscle` (n, points, 3) m is where the heart lies: a chest wall covers its outermost point.
    """
    centre = torch.tensor([P.centre_x, P.centre_y, P.centre_z], dtype=muscle.dtype, device=muscle.device)
    reach = (muscle - centre).norm(dim=-1).amax(dim=1)
    subject = people.subject
    radius = P.radius * torch.sqrt(people.bsa / P.reference_bsa)
    radius = radius * (1 + P.radius_per_bmi * (people.bmi - P.reference_bmi))
    wall = (P.chest_wall + P.chest_wall_per_bmi * (people.bmi - P.reference_bmi)).clamp(min=P.chest_wall / 2)
    radius = torch.maximum(radius, reach + wall)
    error = _placement_error(seed, subject, people.female) / radius[:, None, None]
    azimuth, elevation = (torch.deg2rad(_places(radius)) + error).unbind(-1)
    unit = torch.stack([elevation.cos() * azimuth.sin(), elevation.sin(), elevation.cos() * azimuth.cos()], dim=-1)
    gain = torch.exp(P.gain_spread * normal(seed, subject, "torso.gain")[:, 0])
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
    return torso.gain[:, None, None] * potential / (4 * math.pi * P.conductivity)


def twelve_leads(potential: torch.Tensor) -> torch.Tensor:
    """Leads (n, 12, time) in the order of `mmcl.config.LEADS` from electrode potentials (n, 9, time).

    Limb leads after Einthoven, augmented leads after Goldberger, chest leads against Wilson's central terminal.
    """
    right, left, foot = potential[:, 0], potential[:, 1], potential[:, 2]
    one, two = left - right, foot - right
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    terminal = (right + left + foot) / 3
    return torch.cat([torch.stack(limb, dim=1), potential[:, 3:] - terminal[:, None]], dim=1)


def _places(like: torch.Tensor) -> torch.Tensor:
    """Azimuth and elevation (9, 2) in degrees of the electrodes, of the type and device of `like`."""
    angles = [[getattr(P, f"{angle}_{name.lower()}") for angle in ("azimuth", "elevation")] for name in ELECTRODES]
    return torch.tensor(angles, dtype=like.dtype, device=like.device)


def _placement_error(seed: int, subject: torch.Tensor, female: torch.Tensor) -> torch.Tensor:
    """Metres along the skin (n, 9, 2), sideways and up, by which the electrodes miss their places."""
    n = len(subject)
    single = normal(seed, subject, "torso.electrodes", 18).reshape(n, 9, 2)
    common = normal(seed, subject, "torso.placement", 2)[:, None, :]
    scale = torch.full((9, 1), P.placement_single, dtype=single.dtype, device=single.device)
    scale[:3] = P.placement_limb
    chest = torch.ones_like(scale)
    chest[:3] = 0
    # The error shared by the six chest electrodes is mostly vertical: the wrong intercostal space.
    direction = torch.tensor([P.placement_sideways, 1.0], dtype=single.dtype, device=single.device)
    factor = torch.where(female, P.placement_female, 1.0).to(single)[:, None, None]
    return factor * (scale * single + chest * P.placement_common * direction * common)

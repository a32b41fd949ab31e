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
GIVING_WAY = 8
"""Steps in which a heart gives way; each moves its outermost point to the wall."""


@dataclass(frozen=True)
class Torso:
    """Conducting sphere and electrodes of each subject.

    `centre` (3,) and `radius` (n,) m; `electrodes` (n, 9, 3) m on the sphere, from its centre, in the order of
    `ELECTRODES`; `gain` (n, 9) factor on each potential; `shift` (n, 3) m by which the heart gives way to the wall.
    """

    SHARED = ("centre",)
    """What every subject has in common."""

    centre: torch.Tensor
    radius: torch.Tensor
    electrodes: torch.Tensor
    gain: torch.Tensor
    shift: torch.Tensor


def build_torso(seed: int, people: People, muscle: torch.Tensor) -> Torso:
    """Torso and electrodes for body size, sex and each subject's placement error.

    `muscle` (n, points, 3) m is where the heart lies. The torso is the body's alone: a heart too large for its place
    moves inwards until a chest wall covers it.
    """
    centre = torch.tensor([P.centre_x, P.centre_y, P.centre_z], dtype=muscle.dtype, device=muscle.device)
    subject = people.subject
    stoutness = people.bmi - P.reference_bmi
    radius = P.radius * torch.sqrt(people.bsa / P.reference_bsa) * (1 + P.radius_per_bmi * stoutness)
    wall = (P.chest_wall + P.chest_wall_per_bmi * stoutness).clamp(min=P.chest_wall / 2)
    error = _placement_error(seed, subject, people.female) / radius[:, None, None]
    azimuth, elevation = (torch.deg2rad(_places(radius)) + error).unbind(-1)
    unit = torch.stack([elevation.cos() * azimuth.sin(), elevation.sin(), elevation.cos() * azimuth.cos()], dim=-1)
    gain = torch.exp(P.gain_spread * normal(seed, subject, "torso.gain")).repeat(1, len(ELECTRODES))
    front = slice(ELECTRODES.index("V2"), ELECTRODES.index("V4") + 1)
    gain[:, front] *= torch.where(people.female, P.front_female, 1.0).to(gain)[:, None]
    shift = _give_way(muscle - centre, radius - wall)
    return Torso(centre, radius, radius[:, None, None] * unit, gain, shift)


def transfer(torso: Torso, points: torch.Tensor) -> torch.Tensor:
    """Potential (n, 9, points) in V at the electrodes per A that enters the torso at each of `points` (n, points, 3).

    A constant per subject is left open, as always in a closed conductor: only sources that sum to zero have a meaning.
    ValueError when a point does not lie inside the sphere.
    """
    points = points - torso.centre + torso.shift[:, None]
    outside = points.norm(dim=-1).amax(dim=1) >= torso.radius
    if outside.any():
        rows = outside.nonzero()[:, 0].tolist()
        raise ValueError(f"source outside the torso in rows {rows[:5]} of the batch; expected every point inside it")
    electrodes, radius = torso.electrodes, torso.radius[:, None, None]
    distance = torch.cdist(electrodes, points, compute_mode="donot_use_mm_for_euclid_dist")
    image = radius**2 - electrodes @ points.transpose(1, 2) + radius * distance
    potential = 2 / distance - torch.log(image / (2 * radius**2)) / radius
    return torso.gain[..., None] * potential / (4 * math.pi * P.conductivity)


def twelve_leads(potential: torch.Tensor) -> torch.Tensor:
    """Leads (n, 12, time) in the order of `mmcl.config.LEADS` from electrode potentials (n, 9, time).

    Limb leads after Einthoven, augmented leads after Goldberger, chest leads against Wilson's central terminal.
    """
    right, left, foot = potential[:, 0], potential[:, 1], potential[:, 2]
    one, two = left - right, foot - right
    limb = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2]
    terminal = (right + left + foot) / 3
    return torch.cat([torch.stack(limb, dim=1), potential[:, 3:] - terminal[:, None]], dim=1)


def _give_way(points: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
    """Shift (n, 3) m that brings `points` (n, points, 3) to within `room` (n,) of the sphere's centre."""
    shift = torch.zeros_like(points[:, 0])
    rows = torch.arange(len(points), device=points.device)
    for _ in range(GIVING_WAY):
        distance = (points + shift[:, None]).norm(dim=-1)
        farthest = distance.argmax(dim=1)
        outwards = points[rows, farthest] + shift
        excess = (distance[rows, farthest] - room).clamp(min=0)
        shift = shift - (excess / distance[rows, farthest].clamp(min=1e-9))[:, None] * outwards
    return shift


def _places(like: torch.Tensor) -> torch.Tensor:
    """Azimuth and elevation (9, 2) in degrees of the electrodes, of the type and device of `like`.

    V1 and V2 lie at one level, V4 to V6 at another and V3 halfway from V2 to V4, as the standard placement says.
    """
    limbs = [[getattr(P, f"{angle}_{name}") for angle in ("azimuth", "elevation")] for name in ("ra", "la", "ll")]
    first, second = [P.azimuth_v1, P.elevation_v1], [P.azimuth_v2, P.elevation_v1]
    fourth = [P.azimuth_v4, P.elevation_v4]
    third = [(a + b) / 2 for a, b in zip(second, fourth, strict=True)]
    axillary = [[P.azimuth_v5, P.elevation_v4], [P.azimuth_v6, P.elevation_v4]]
    return torch.tensor([*limbs, first, second, third, fourth, *axillary], dtype=like.dtype, device=like.device)


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

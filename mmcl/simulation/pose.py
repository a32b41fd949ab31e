"""Pose: where the heart lies in the torso and how it is turned.

Torso coordinates: x left, y up, z anterior, metres. The long axis points from base to apex; `azimuth` turns it from the
left towards the front, `elevation` upwards (negative: the apex lies below the base), `roll` turns the heart about it.
"""

from __future__ import annotations

import torch

from mmcl.simulation.intervention import Change, changed
from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People, by_sex
from mmcl.simulation.random import normal

P = parameters("pose")
POPULATION = parameters("population")


def sample_pose(
    seed: int, people: People, change: Change | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Centre (n, 3) m, unit axis (n, 3) and roll (n,) rad; a stocky body has a higher, more horizontal heart."""
    draw = normal(seed, people.subject, "pose", 6).clamp(-2.5, 2.5)
    habitus = _habitus(people)
    size = (people.bsa / P.reference_bsa).sqrt()
    centre = [
        size * (P.centre_x + P.centre_x_sd * draw[:, 0]),
        size * (P.centre_y + P.centre_y_sd * draw[:, 1]) + P.raised_per_habitus * habitus,
        size * (P.centre_z + P.centre_z_sd * draw[:, 2]),
    ]
    centre = [changed(change, f"centre_{name}", value) for name, value in zip("xyz", centre, strict=True)]
    azimuth = changed(change, "azimuth", P.azimuth + P.azimuth_sd * draw[:, 3])
    elevation = P.elevation + P.elevation_sd * draw[:, 4] + P.horizontal_per_habitus * habitus
    elevation = changed(change, "elevation", elevation)
    flat = torch.cos(elevation)
    axis = torch.stack((flat * torch.cos(azimuth), torch.sin(elevation), flat * torch.sin(azimuth)), 1)
    return torch.stack(centre, 1), axis, changed(change, "roll", P.roll + P.roll_sd * draw[:, 5])


def frame(axis: torch.Tensor, roll: torch.Tensor) -> torch.Tensor:
    """Unit vectors (n, 3, 3) of each heart in the torso: lateral (angle 0), anterior (angle pi/2), base to apex."""
    up = torch.zeros_like(axis)
    up[:, 1] = 1
    anterior = up - axis[:, 1:2] * axis
    anterior = anterior / anterior.norm(dim=1, keepdim=True)
    lateral = torch.linalg.cross(anterior, axis)
    cos, sin = torch.cos(roll)[:, None], torch.sin(roll)[:, None]
    return torch.stack((cos * lateral + sin * anterior, cos * anterior - sin * lateral, axis), 1)


def _habitus(people: People) -> torch.Tensor:
    """Standard score (n,) of stockiness: heavy for the height, and short for the sex."""
    tallness = (people.height - by_sex(people.female, POPULATION.height_mean)) / P.habitus_height
    stoutness = (people.bmi - P.habitus_bmi) / P.habitus_bmi_sd
    return ((stoutness - 0.5 * tallness) / 1.1).clamp(-2.5, 2.5)

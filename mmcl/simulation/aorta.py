"""Thoracic aorta: the areas of its lumen through a beat, ascending and descending, given body, age and blood pressure.

It is not part of the images or the ECG; its six phenotypes follow published sizes and elasticity.
"""

from __future__ import annotations

import math

import torch

from mmcl.simulation.parameters import parameters
from mmcl.simulation.population import People, by_sex
from mmcl.simulation.random import normal

P = parameters("aorta")
PHYSIOLOGY = parameters("physiology")

PARTS = ("ascending", "descending")


def aortic_areas(seed: int, people: People) -> tuple[torch.Tensor, torch.Tensor]:
    """Greatest and least area of the lumen in mm2, each (n, 2): ascending, descending."""
    draw = normal(seed, people.subject, "aorta", 6).clamp(-3, 3)
    least, stretch = [], []
    decades = (people.age - 60) / 10
    size = people.bsa - by_sex(people.female, PHYSIOLOGY.bsa_mean)
    for k, part in enumerate(PARTS):
        diameter = by_sex(people.female, getattr(P, f"{part}_diameter")) + P.diameter_per_decade * decades
        diameter = diameter + P.diameter_per_bsa * size + P.diameter_hypertension * people.hypertension
        diameter = diameter + P.diameter_sd[k] * _shared(draw[:, 0], draw[:, 1 + k])
        least.append(math.pi / 4 * diameter**2)
        elastic = P.distensibility_per_decade * decades + P.distensibility_hypertension * people.hypertension
        elastic = elastic + P.distensibility_sd * _shared(draw[:, 3], draw[:, 4 + k])
        stretch.append(1e-3 * P.distensibility[k] * torch.exp(elastic) * (people.systolic - people.diastolic))
    area = torch.stack(least, 1)
    return area * (1 + torch.stack(stretch, 1)), area


def distensibility(largest: torch.Tensor, least: torch.Tensor, people: People) -> torch.Tensor:
    """Relative growth of the area per pulse pressure, (n, 2) in 10-3/mmHg."""
    return 1e3 * (largest / least - 1) / (people.systolic - people.diastolic)[:, None]


def _shared(common: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Standard score of one part, of which a share is common to both."""
    return P.common_share**0.5 * common + (1 - P.common_share) ** 0.5 * own

"""One heart several times over, each time with one thing changed: what mass, scar, place and body do to its ECG."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from mmcl.simulation.cohort import simulate_cohort
from mmcl.simulation.infarct import TERRITORIES
from mmcl.simulation.intervention import Change
from mmcl.simulation.truth import ARTERIES

DEPTH = 0.8
"""Transmurality of the scars shown."""


def counterfactual_beats(seed: int, subject: int) -> dict[str, dict[str, np.ndarray]]:
    """Effect -> variant -> one beat without noise (12, samples) mV, 500 Hz, of one subject; the first variant is the
    heart as it is.
    """
    as_it_is = simulate_cohort(1, seed, first=subject, images=False, noise=False)
    size = {"lv_mass": as_it_is.phenotypes["LVM"].iloc[0], "lv_edv": as_it_is.phenotypes["LVEDV"].iloc[0]}
    weight = as_it_is.subjects["weight"].iloc[0]
    height = as_it_is.subjects["height"].iloc[0]
    effects: dict[str, dict[str, Change]] = {
        "LV mass": {f"x {factor:g}": {"lv_mass": _times(factor)} for factor in (0.7, 1.4, 1.8)},
        "Scar": {
            f"{artery} territory": {"transmurality": _scar(segments)}
            for artery, segments in zip(ARTERIES, TERRITORIES, strict=True)
        },
        "Turn about the long axis": {
            f"{angle:+d} degrees": {"roll": _plus(math.radians(angle))} for angle in (-30, 30)
        },
        "Tilt of the long axis": {
            "20 degrees more upright": {"elevation": _plus(math.radians(-20))},
            "20 degrees more horizontal": {"elevation": _plus(math.radians(20))},
        },
        "Body around the same heart": {
            f"BMI {index} kg/m2": {"weight": index * height**2, **size} for index in (20, 33)
        },
    }
    own = {"Body around the same heart": f"BMI {weight / height**2:.0f} kg/m2"}
    return {
        effect: {
            own.get(effect, "as it is"): as_it_is.truth.beat[0],
            **{name: _beat(seed, subject, change) for name, change in variants.items()},
        }
        for effect, variants in effects.items()
    }


def _beat(seed: int, subject: int, change: Change) -> np.ndarray:
    return simulate_cohort(1, seed, first=subject, change=change, images=False, noise=False).truth.beat[0]


def _times(factor: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda value: value * factor


def _plus(term: float) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda value: value + term


def _scar(segments: tuple[int, ...]) -> Callable[[torch.Tensor], torch.Tensor]:
    """Scar of DEPTH in `segments` (1 to 16), none elsewhere."""

    def scarred(value: torch.Tensor) -> torch.Tensor:
        depth = torch.zeros_like(value)
        depth[:, [k - 1 for k in segments]] = DEPTH
        return depth

    return scarred

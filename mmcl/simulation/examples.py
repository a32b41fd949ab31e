"""Subjects to show, chosen by rule and not by eye."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mmcl.config import CohortConfig
from mmcl.simulation.cine import render_cine
from mmcl.simulation.electrocardiogram import simulate_ecg
from mmcl.simulation.heart import build_hearts
from mmcl.simulation.phenotypes import measure
from mmcl.simulation.population import sample_people

RULE = (
    "among the first 2,000 subjects of the seed: the healthy one nearest the medians of LV mass and volume; the one "
    "with most scar; the one in atrial fibrillation with the largest left atrium; the one without scar or block of "
    "largest LV mass per body surface area"
)
_SEARCHED = 2000


@dataclass(frozen=True)
class Exemplar:
    """One subject: `name` of what is shown, `detail`, `ecg` (12, 5000) mV, ED and ES `frames` and `labels` (2, ...)."""

    name: str
    detail: str
    ecg: np.ndarray
    frames: np.ndarray
    labels: np.ndarray


def find_exemplars(seed: int, cohort: CohortConfig) -> list[Exemplar]:
    """A healthy heart, an infarct, atrial fibrillation and hypertrophy, by RULE; natural prevalence."""
    hearts = build_hearts(seed, sample_people(seed, torch.arange(_SEARCHED)))
    people = hearts.people
    scar = hearts.transmurality.sum(dim=1)
    typical = sum(
        (values / torch.where(people.healthy, values, torch.nan).nanmedian()).log().abs()
        for values in (hearts.lv_mass, hearts.lv_edv)
    )
    blocked = (scar > 0) | people.lbbb | people.rbbb | people.in_af
    chosen = {
        "Healthy": torch.where(people.healthy, typical, torch.inf).argmin(),
        "Infarct": scar.argmax(),
        "Atrial fibrillation": torch.where(people.in_af & (scar == 0), hearts.la_max, 0.0).argmax(),
        "Hypertrophy": torch.where(blocked, 0.0, hearts.lv_mass / people.bsa).argmax(),
    }
    return [_exemplar(seed, cohort, name, int(index)) for name, index in chosen.items()]


def _exemplar(seed: int, cohort: CohortConfig, name: str, index: int) -> Exemplar:
    hearts = build_hearts(seed, sample_people(seed, torch.tensor([index])))
    cine = render_cine(seed, hearts, cohort, middle_only=True)
    measured = {key: float(value[0]) for key, value in measure(hearts).items()}
    sex = "woman" if hearts.people.female[0] else "man"
    detail = (
        f"{sex}, {hearts.people.age[0]:.0f} years; LV mass {measured['LVM']:.0f} g, LVEDV {measured['LVEDV']:.0f} ml, "
        f"LVEF {measured['LVEF']:.0f} %, LA {measured['LAmax']:.0f} ml"
    )
    ends = [0, 2]
    return Exemplar(
        name,
        detail,
        simulate_ecg(seed, hearts).signal[0].numpy(),
        cine.images[0, 0, ends].numpy(),
        cine.labels[0, 0, ends].numpy(),
    )

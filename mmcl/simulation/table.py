"""The simulated population as one table: people, hearts and what an ECG computer measures, a row a subject."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import torch

from mmcl.config import DISEASES, LEADS
from mmcl.simulation.electrocardiogram import Electrocardiogram, simulate_ecg
from mmcl.simulation.heart import Hearts, build_hearts
from mmcl.simulation.intervention import Change
from mmcl.simulation.phenotypes import measure
from mmcl.simulation.population import sample_people
from mmcl.simulation.waves import measure_waves, pathological_q

SCAR = 0.1
"""Transmurality from which a segment counts as scarred."""
HYPERTROPHY = (70.6, 55.7)
"""LV mass over body surface (g/m2; men, women) above mean + 1.96 SD of Petersen et al. 2017, JCMR 19:18."""


def population_table(
    seed: int, subjects: torch.Tensor, batch: int = 64, ecg: bool = True, change: Change | None = None
) -> pd.DataFrame:
    """One row for each of `subjects` of cohort `seed`, indexed by subject; without `ecg` only people and hearts.

    `change` replaces properties of all of them (`mmcl.simulation.intervention`). People: the fields of `People` but
    `silent`, `male`, `bmi`, `healthy`, `silent_cad` ... Hearts: the 82 phenotypes by name, `wt_mid` mm of segments 7 to
    12, `conduction`, `lvm_index` g/m2, `lvh`, `scar` share of segment depth, `scarred` and `scarred_large` (4 segments
    or more). ECG, noise-free: `hr` /min, `pr`, `qrs`, `qt`, `qtc` (Bazett) ms, `axis`, `p_axis`, `t_axis` (-90 to 270
    degrees), `q_`, `r_`, `s_`, `t_`, `st_`, `late_` and lead in mV, `p_II` mV, `p_duration` ms, `sokolow_lyon` and
    `cornell` mV; truths `qrs_120`, `q_present_` (above 0.02 mV) and `t_inverted_` (below -0.1 mV) and lead,
    `sokolow_lyon_positive`, `cornell_positive`, `pathological_q` with `_anterior`, `_lateral` and `_inferior`,
    `any_ectopic`, `any_ventricular_ectopic`. What needs a P wave is NaN in atrial fibrillation.
    """
    parts = []
    for start in range(0, len(subjects), batch):
        people = sample_people(seed, subjects[start : start + batch], change=change)
        hearts = build_hearts(seed, people, change)
        columns = {**_people_columns(hearts), **_heart_columns(hearts)}
        if ecg:
            columns |= _ecg_columns(simulate_ecg(seed, hearts, noise=False), hearts)
        parts.append(pd.DataFrame(columns, index=pd.Index(people.subject.cpu().numpy(), name="subject")))
    return pd.concat(parts)


def _people_columns(hearts: Hearts) -> dict[str, np.ndarray]:
    people = hearts.people
    fields = {field.name: getattr(people, field.name) for field in dataclasses.fields(people)}
    columns = {name: value.cpu().numpy() for name, value in fields.items() if value.dim() == 1 and name != "subject"}
    columns["male"] = ~columns["female"]
    columns |= {f"silent_{name.lower()}": people.silent[:, k].cpu().numpy() for k, name in enumerate(DISEASES)}
    return columns | {"bmi": people.bmi.cpu().numpy(), "healthy": people.healthy.cpu().numpy()}


def _heart_columns(hearts: Hearts) -> dict[str, np.ndarray]:
    people, depth = hearts.people, hearts.transmurality.cpu().numpy()
    index = (hearts.lv_mass / people.bsa).cpu().numpy()
    segments = (depth >= SCAR).sum(axis=1)
    phenotypes = measure(hearts)
    return {
        **phenotypes,
        "wt_mid": np.mean([phenotypes[f"WT_{k}"] for k in range(7, 13)], axis=0),
        "conduction": hearts.conduction.cpu().numpy(),
        "lvm_index": index,
        "lvh": index > np.where(people.female.cpu().numpy(), HYPERTROPHY[1], HYPERTROPHY[0]),
        "scar": depth.mean(axis=1),
        "scarred": segments >= 1,
        "scarred_large": segments >= 4,
    }


def _ecg_columns(ecg: Electrocardiogram, hearts: Hearts) -> dict[str, np.ndarray]:
    waves = measure_waves(ecg)
    columns = {"hr": hearts.heart_rate, "pr": ecg.pr, "qrs": ecg.qrs, "qt": ecg.qt, "axis": _turned(ecg.axis)}
    columns["qtc"] = ecg.qt / (60 / hearts.heart_rate).sqrt().to(ecg.qt)
    for name in ("q", "r", "s", "t", "st", "late"):
        amplitude = getattr(waves, name)
        columns |= {f"{name}_{lead}": amplitude[:, k] for k, lead in enumerate(LEADS)}
    columns |= {f"t_inverted_{lead}": columns[f"t_{lead}"] < -0.1 for lead in LEADS}
    columns |= {f"q_present_{lead}": columns[f"q_{lead}"] > 0.02 for lead in LEADS}
    columns |= {"p_II": waves.p[:, LEADS.index("II")], "p_duration": waves.p_duration}
    columns["qrs_120"] = ecg.qrs >= 120
    columns |= {f"{wave}_axis": _axis(getattr(waves, wave)) for wave in ("p", "t")}
    columns["sokolow_lyon"] = columns["s_V1"] + torch.maximum(columns["r_V5"], columns["r_V6"])
    columns["cornell"] = columns["r_aVL"] + columns["s_V3"]
    columns["sokolow_lyon_positive"] = columns["sokolow_lyon"] >= 3.5
    limit = torch.where(hearts.people.female, 2.0, 2.8)
    columns["cornell_positive"] = columns["cornell"] > limit.to(columns["cornell"])
    for group, found in pathological_q(waves).items():
        columns["pathological_q" if group == "any" else f"pathological_q_{group}"] = found
    columns["any_ectopic"] = (ecg.ectopic > 0).any(dim=1)
    columns["any_ventricular_ectopic"] = (ecg.ectopic == 2).any(dim=1)
    return {name: value.cpu().numpy() for name, value in columns.items()}


def _axis(amplitude: torch.Tensor) -> torch.Tensor:
    """Frontal axis (n,) in degrees, of amplitudes (n, 12) in I and aVF; a Goldberger lead is smaller by sqrt(3) / 2."""
    one, foot = amplitude[:, LEADS.index("I")], amplitude[:, LEADS.index("aVF")]
    return _turned(torch.rad2deg(torch.atan2(foot * 2 / 3**0.5, one)))


def _turned(angle: torch.Tensor) -> torch.Tensor:
    """Axes between -90 and 270 degrees, so that those to the right and downwards do not jump to -180."""
    return torch.where(angle < -90, angle + 360, angle)

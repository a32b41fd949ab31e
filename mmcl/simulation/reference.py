"""Published reference ranges that the simulated population is held against."""

from __future__ import annotations

import pandas as pd
import torch

from mmcl.config import CohortConfig
from mmcl.simulation.heart import build_hearts
from mmcl.simulation.phenotypes import measure
from mmcl.simulation.population import sample_people

SOURCE = "Petersen et al. 2017, JCMR 19:18"

RANGES = {
    "LVEDV": {"male": (166.0, 32.0), "female": (124.0, 21.0)},
    "LVESV": {"male": (69.0, 16.0), "female": (49.0, 11.0)},
    "LVEF": {"male": (58.0, 5.0), "female": (61.0, 5.0)},
    "LVM": {"male": (103.0, 21.0), "female": (70.0, 13.0)},
    "RVEDV": {"male": (182.0, 36.0), "female": (130.0, 24.0)},
    "RVEF": {"male": (54.0, 6.0), "female": (58.0, 6.0)},
}
"""Phenotype -> sex -> (mean, standard deviation) of healthy UK Biobank subjects, in the phenotype's unit."""


def healthy_phenotypes(seed: int, cohort: CohortConfig) -> pd.DataFrame:
    """Phenotypes and `sex` of the healthy subjects of a cohort: free of disease, block and obesity."""
    people = sample_people(seed, torch.arange(cohort.size), cohort.odds)
    table = pd.DataFrame(measure(build_hearts(seed, people)))
    table["sex"] = ["female" if female else "male" for female in people.female.tolist()]
    return table[people.healthy.numpy()]


def against_reference(healthy: pd.DataFrame) -> pd.DataFrame:
    """Target and simulated mean and standard deviation of each phenotype by sex; `healthy` as above."""
    rows = []
    for name, by_sex in RANGES.items():
        for sex, (mean, deviation) in by_sex.items():
            values = healthy.loc[healthy["sex"] == sex, name]
            rows.append(
                {
                    "phenotype": name,
                    "sex": sex,
                    "n": len(values),
                    "reference mean": mean,
                    "simulated mean": values.mean(),
                    "reference SD": deviation,
                    "simulated SD": values.std(),
                }
            )
    return pd.DataFrame(rows).set_index(["phenotype", "sex"])

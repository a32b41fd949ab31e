"""Published reference ranges that the simulated population is held against."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmcl.phenotypes import PHENOTYPES

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


def healthy_phenotypes(raw: Path) -> pd.DataFrame:
    """Phenotypes and `sex` of the healthy subjects of a raw simulated cohort, NaN where missing.

    Healthy as in the reference group: free of every disease and block, recorded or not, and of obesity.
    """
    people, truth = (pd.read_csv(raw / f"{name}.tsv", sep="\t", index_col="eid") for name in ("participants", "truth"))
    table = pd.read_csv(raw / "phenotypes.tsv", sep="\t", index_col="eid")
    table.columns = [phenotype.name for phenotype in PHENOTYPES]
    table["sex"] = people["31-0.0"].map({0: "female", 1: "male"})
    mass_index = people["21002-2.0"] / (people["50-2.0"] / 100) ** 2
    ill = truth[["cad", "af", "dm", "hypertension", "lbbb", "rbbb"]].any(axis=1)
    return table[~ill & (mass_index < 30)]


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
                    "n": values.count(),
                    "reference mean": mean,
                    "simulated mean": values.mean(),
                    "reference SD": deviation,
                    "simulated SD": values.std(),
                }
            )
    return pd.DataFrame(rows).set_index(["phenotype", "sex"])

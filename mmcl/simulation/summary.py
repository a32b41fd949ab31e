"""What a simulated cohort came to, from its raw tables: prevalence and intervals of the ECG."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmcl.config import DISEASES
from mmcl.data.labels import label_subjects
from mmcl.data.tables import ICD10, codes, read_table


def prevalence(raw: Path) -> pd.DataFrame:
    """Share of subjects with each disease in truth (`simulated`) and in the hospital records (`recorded`), 0 to 1."""
    truth = pd.read_csv(raw / "truth.tsv", sep="\t")
    recorded = label_subjects(codes(read_table(raw / "records.tsv", [ICD10])))
    rows = {name: (truth[name.lower()].mean(), recorded[name].mean()) for name in DISEASES}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["simulated", "recorded"])


def recorded_intervals(raw: Path) -> pd.DataFrame:
    """Mean, SD and 5th to 95th percentile of PR, QRS, QT (ms), frontal axis (degrees) and heart rate (/min).

    Measured without noise, on subjects without bundle branch block and not fibrillating.
    """
    truth = pd.read_csv(raw / "truth.tsv", sep="\t")
    plain = truth[(truth[["lbbb", "rbbb", "in_af"]] == 0).all(axis=1)]
    return (
        plain[["pr", "qrs", "qt", "axis", "heart_rate"]]
        .describe(percentiles=[0.05, 0.95])
        .T.drop(columns=["min", "max", "50%"], errors="ignore")
    )

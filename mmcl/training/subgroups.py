"""Scores of the comparison's entries in parts of the test set."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mmcl.data.store import Store
from mmcl.evaluation.subgroups import (
    coronary_groups,
    read_coronary_truth,
    score_coronary,
    score_groups,
    subject_groups,
)
from mmcl.evaluation.tables import result_rows
from mmcl.setting import Setting
from mmcl.training.comparison import Entry


def score_subgroups(entries: Sequence[Entry], task: str, setting: Setting) -> pd.DataFrame:
    """Result rows of `entries` of `task` on parts of the test set, `subgroup` set.

    AUROC of diseases or R2 of phenotypes, by sex, age and body mass index, with differences; on a simulated cohort, of
    CAD by scar and artery too. Other cohorts do not know those: their rows are left out, as are entries without
    predictions.
    """
    store = Store.open(setting.run.store)
    people = store.subjects.drop_duplicates("subject").set_index("subject")
    resamples, key = setting.profile.downstream.bootstrap, setting.run.seed
    tables = []
    for entry in entries:
        names = {"task": task, "arm": entry.arm, "mode": entry.mode, "labels": entry.labels}
        loaded = entry.load("test")
        if not loaded:
            continue
        subject = next(iter(loaded.values())).subject
        pairs = subject_groups(people.loc[subject])
        metrics = ("R2",) if task == "phenotypes" else ("AUROC",)
        tables.append(score_groups(loaded, pairs, metrics, resamples, key, **names))
        truth = read_coronary_truth(setting.run.raw / "truth.tsv", subject) if task == "risk" else None
        if truth is not None:
            tables.append(score_coronary(loaded, coronary_groups(truth), resamples, key, **names))
    return pd.concat([result_rows([]), *tables], ignore_index=True)

"""How well a contrastive model pairs the ECGs and CMRs of subjects that it never saw."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmcl.data.store import Store
from mmcl.evaluation.retrieval import chance_scores, retrieval_interval, retrieval_ranks, retrieval_scores
from mmcl.interpretation.regions import project_rows
from mmcl.setting import Setting
from mmcl.training.pretraining import load_module, pretrain


def retrieval_table(arms: list[str], setting: Setting, store: Store) -> pd.DataFrame:
    """ECG -> CMR retrieval among all test subjects: arm, score, value, low, high (95 % bootstrap), chance, n."""
    rows = store.indices("test", one_each=True)
    chance = chance_scores(len(rows))
    table = []
    for arm in arms:
        model = load_module(pretrain(arm, setting), arm, setting.profile, setting.preset).model
        projected = project_rows(model, store.ecg[rows], store.cmr[rows], setting)
        ranks = retrieval_ranks(projected.ecg.numpy(), projected.cmr.numpy())
        random = np.random.default_rng(setting.run.seed)
        intervals = retrieval_interval(ranks, setting.profile.downstream.bootstrap, random)
        for name, value in retrieval_scores(ranks).items():
            low, high = intervals[name]
            cell = {"arm": arm, "score": name, "value": value, "low": low, "high": high}
            table.append({**cell, "chance": chance[name], "n": len(rows)})
    return pd.DataFrame(table).set_index(["arm", "score"])

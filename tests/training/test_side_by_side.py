"""Seeds trained side by side against each trained alone: predictions, clipping, stopping, files."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from mmcl.config import preset
from mmcl.data.store import Store
from mmcl.profiles import profile
from mmcl.setting import open_setting
from mmcl.training import finetuning
from mmcl.training.finetuning import finetune, finetune_seeds
from mmcl.training.side_by_side import SideBySide, how_many, training_bytes
from mmcl.training.supervised import Supervised
from mmcl.training.tasks import open_task

PROFILE = profile("smoke")
SEEDS = (0, 101, 202)


def with_downstream(setting, side_by_side, balance="weights", **recipe):
    """`setting` with other numbers downstream; `recipe` changes both recipes."""
    downstream = PROFILE.downstream
    scratch, tuned = (dataclasses.replace(own, **recipe) for own in (downstream.scratch, downstream.finetune))
    numbers = dataclasses.replace(
        downstream, seeds=SEEDS, side_by_side=side_by_side, balance=balance, scratch=scratch, finetune=tuned
    )
    return dataclasses.replace(setting, profile=dataclasses.replace(PROFILE, downstream=numbers))


@pytest.fixture
def both(smoke_run, tmp_path, monkeypatch):
    """Scores of all seeds, records and curves, trained alone and side by side, in runs of their own."""

    store = smoke_run.store

    def train(arm, task, few, seeds=SEEDS, device="cpu", **numbers):
        made = []
        for side_by_side in (1, len(seeds)):
            monkeypatch.setenv("MMCL_BUILD", str(tmp_path / str(side_by_side)))
            setting = with_downstream(open_setting("smoke", device=device), side_by_side, **numbers)
            setting.run.folder.mkdir(parents=True)
            setting.run.store.symlink_to(store)
            outcomes = finetune_seeds(arm, task, few, seeds, setting)
            curves = {
                file.parent.name: pd.read_csv(file)
                for file in sorted((setting.run.folder / "finetuning").glob("*/metrics.csv"))
            }
            made.append((outcomes, curves))
        return made

    return train


def test_predictions_are_those_of_each_seed_alone(both):
    alone, together = both("scratch", "risk", 20, epochs=3, batch=4, drop_path=0.0)
    for seed in SEEDS:
        for split in ("validation", "test"):
            one, other = (made[0][seed].load(split).score for made in (alone, together))
            np.testing.assert_allclose(other, one, rtol=1e-4)
    assert np.ptp([alone[0][seed].load().score[0, 0] for seed in SEEDS]) > 1e-3
    assert list(alone[1]) == list(together[1]) == sorted(f"risk-scratch-finetune-20-{seed}" for seed in SEEDS)
    for name, curve in alone[1].items():
        pd.testing.assert_frame_equal(together[1][name][curve.columns], curve, rtol=1e-4)

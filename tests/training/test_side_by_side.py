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
from mmcl.training.batches import Batches, StoredPairs
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
    """Outcomes by seed and curves by folder, trained alone and `at_once` side by side, in runs of their own."""
    store, fit, sizes = smoke_run.store, finetuning.fit, []

    def noted(models, *rest):
        sizes.append(len(models))
        return fit(models, *rest)

    def train(arm, task, few, at_once=3, device="cpu", choices="corrected", **numbers):
        made = []
        for side_by_side in (1, at_once):
            monkeypatch.setenv("MMCL_BUILD", str(tmp_path / str(side_by_side)))
            setting = with_downstream(open_setting("smoke", device=device, choices=choices), side_by_side, **numbers)
            setting.run.folder.mkdir(parents=True)
            setting.run.store.symlink_to(store)
            outcomes = finetune_seeds(arm, task, few, SEEDS, setting)
            assert sizes[0] == max(sizes) == side_by_side and sum(sizes) % len(SEEDS) == 0
            sizes.clear()
            files = sorted((setting.run.folder / "finetuning").glob("*/metrics.csv"))
            made.append((outcomes, {file.parent.name: pd.read_csv(file) for file in files}))
        return made

    monkeypatch.setattr(finetuning, "fit", noted)
    return train


def agree(alone, together, rtol=1e-4):
    """Whether both ways gave the same predictions, choices and curves."""
    for seed in SEEDS:
        for split in ("validation", "test"):
            one, other = (made[0][seed].load(split).score for made in (alone, together))
            np.testing.assert_allclose(other, one, rtol=rtol)
    assert list(alone[1]) == list(together[1])
    for name, curve in alone[1].items():
        pd.testing.assert_frame_equal(together[1][name][curve.columns], curve, rtol=rtol)


def record(outcome):
    return json.loads(outcome.record.read_text())


def supervised(store, seed=0, few=None, **recipe):
    recipe = dataclasses.replace(PROFILE.downstream.finetune, **recipe)
    return Supervised("scratch", open_task("risk", store, few, seed), PROFILE, preset("corrected"), recipe, seed)


@pytest.mark.parametrize("task", ["risk", "phenotypes"])
def test_every_seed_is_trained_as_alone(both, task):
    # Both clipped and unclipped gradients, layers with rates of their own, more than one step an epoch.
    alone, together = both("scratch", task, 20, epochs=3, batch=4, drop_path=0.0, layer_decay=0.5, clip=0.5)
    agree(alone, together)
    assert list(together[1]) == [f"{task}-scratch-finetune-20-{seed}" for seed in SEEDS]
    scores = [together[0][seed].load().score for seed in SEEDS]
    assert all((one != other).all() for one, other in zip(scores, scores[1:], strict=False))
    assert all(record(together[0][seed])["seed"] == seed for seed in SEEDS)


@pytest.mark.parametrize("choices", ["corrected", "corrected-strict_stopping"])
def test_a_seed_that_stops_leaves_the_others_as_they_are(both, choices):
    numbers = {"epochs": 10, "patience": 1, "batch": 4, "drop_path": 0.0, "learning_rates": (1e-2,)}
    alone, together = both("scratch", "risk", 12, choices=choices, **numbers)
    agree(alone, together, rtol=2e-3)
    assert len({len(curve) for curve in together[1].values()}) > 1


def test_balanced_sets_are_trained_side_by_side_one_disease_after_another(both):
    agree(*both("scratch", "risk", 8, at_once=2, balance="sets", epochs=2, batch=4, drop_path=0.0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_every_seed_is_trained_as_alone_on_a_gpu(both):
    agree(*both("scratch", "risk", 20, device="cuda", epochs=3, batch=4, drop_path=0.0), rtol=1e-2)


def test_what_one_way_has_finished_the_other_finds(own_setting, monkeypatch):
    rates = (1e-2, 1e-9)
    setting = with_downstream(own_setting, 2, learning_rates=rates, drop_path=0.0)
    alone = finetune("scratch", "risk", 12, 101, setting)
    kept = alone.record.stat().st_mtime_ns
    outcomes = finetune_seeds("scratch", "risk", 12, SEEDS, setting)
    assert outcomes[101] == alone and alone.record.stat().st_mtime_ns == kept
    models = [record(outcome)["models"]["CAD, AF, DM"] for outcome in outcomes.values()]
    scores = models[0]["validation_scores_by_learning_rate"]
    assert {model["learning_rate"] for model in models} == {max(rates, key=lambda rate: scores[f"{rate:g}"])}
    assert models[0]["validation_score"] == pytest.approx(max(scores.values()), abs=1e-6)

    def fit(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(finetuning, "fit", fit)
    assert finetune("scratch", "risk", 12, 202, setting) == outcomes[202]
    with pytest.raises(AssertionError, match="trained again"):
        finetune("scratch", "risk", 12, 303, setting)


def test_gradients_are_clipped_by_the_norm_of_each_seed(smoke_run):
    models = [supervised(Store.open(smoke_run.store), seed) for seed in SEEDS]
    stacked = SideBySide(models, [])
    factors = (0.0, 0.1, 40.0)
    random = torch.Generator().manual_seed(0)
    for name, parameter in stacked.stack.named_parameters():
        own = [dict(model.named_parameters())[name] for model in models]
        for one, factor in zip(own, factors, strict=True):
            one.grad = factor * torch.randn(one.shape, generator=random) / 100
        parameter.grad = torch.stack([one.grad for one in own])
    norms = [float(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)) for model in models]
    assert norms[1] < 0.5 < norms[2]
    stacked.configure_gradient_clipping(None, 0.5, "norm")
    for name, parameter in stacked.stack.named_parameters():
        own = torch.stack([dict(model.named_parameters())[name].grad for model in models])
        torch.testing.assert_close(parameter.grad, own)


@pytest.mark.filterwarnings("ignore:.*batching rule")
def test_every_seed_drops_paths_of_its_own(smoke_run):
    store = Store.open(smoke_run.store)
    models = [supervised(store, drop_path=0.6) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    stacked = SideBySide(models, [])
    ecg = torch.randn(600, 12, 300, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with torch.no_grad():
        first, second = stacked.eval().each(ecg, shared=True)
        torch.testing.assert_close(first, models[0].eval()(ecg))
        torch.testing.assert_close(first, second)
        first, second = stacked.train().each(ecg, shared=True)
    # Only the last of two blocks drops, either branch with 0.6: two passes agree where both drop or keep alike.
    share = float((first == second).all(dim=1).float().mean())
    assert share == pytest.approx((0.6**2 + 0.4**2) ** 2, abs=0.06)


def test_as_many_seeds_as_fit_on_the_gpu(smoke_run, monkeypatch):
    store = Store.open(smoke_run.store)
    model = supervised(store)
    weights = 4 * sum(4 * parameter.numel() for parameter in model.parameters())
    of_one = training_bytes(supervised(store, batch=1)) - weights
    assert of_one > 0 and training_bytes(supervised(store, batch=8)) == weights + 8 * of_one
    # Of every block, a token's vectors saved for the backward pass are at least those that its matrices are applied to.
    tokens, width, depth = 1 + 12 * PROFILE.ecg.columns, PROFILE.encoder.width, PROFILE.encoder.depth
    assert 7 < of_one / (4 * tokens * width * depth) < 40
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    for free, expected in ((1, 1), (7, 3), (1000, 500)):
        memory = free * training_bytes(model)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, memory=memory: (memory, 2 * memory))
        assert how_many(model, 0, gpu) == expected
    assert how_many(model, 0, cpu) == 1 and how_many(model, 4, cpu) == how_many(model, 4, gpu) == 4
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert how_many(model, 4, gpu) == 1


def test_cmr_encoders_are_trained_one_after_another(smoke_run):
    task = open_task("risk", Store.open(smoke_run.store))
    recipe = PROFILE.downstream.scratch
    cmr = Supervised("cmr", task, PROFILE, preset("corrected"), recipe, 0)
    assert how_many(cmr, 5, torch.device("cpu")) == 1


def test_training_sets_of_other_sizes_are_refused(smoke_run):
    store = Store.open(smoke_run.store)
    models = [supervised(store, seed, few) for seed, few in ((0, 12), (1, 10))]
    batches = [Batches(StoredPairs(store, np.arange(few), ("ecg",)), None, 4, 0) for few in (12, 10)]
    with pytest.raises(ValueError, match=r"\[10, 12\] rows"):
        SideBySide(models, batches)

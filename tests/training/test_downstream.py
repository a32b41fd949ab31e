"""Fine-tuning, probes and references: what they learn from, what they write, what missing labels do."""

import dataclasses

import numpy as np
import pytest
import torch

from mmcl.config import preset
from mmcl.data.store import Store
from mmcl.profiles import profile
from mmcl.setting import open_setting
from mmcl.training.finetuning import Supervised, finetune
from mmcl.training.probing import fitted_probe, probe, reference
from mmcl.training.tasks import open_task

PROFILE, PRESET = profile("smoke"), preset("corrected")


@pytest.fixture
def setting(smoke_run):
    return open_setting("smoke", device="cpu")


@pytest.fixture
def store(smoke_run):
    return Store.open(smoke_run.store)


def test_the_few_labels_are_training_subjects_and_the_same_for_both_tasks(store):
    risk, phenotypes = (open_task(name, store, few=10, seed=3) for name in ("risk", "phenotypes"))
    assert len(risk.train) == 10
    assert set(risk.train) <= set(store.indices("train"))
    assert np.array_equal(risk.train, phenotypes.train)
    assert not np.array_equal(risk.train, open_task("risk", store, few=10, seed=4).train)
    assert np.array_equal(risk.test, store.indices("test"))


def test_missing_labels_neither_move_the_loss_nor_its_gradient(store):
    task = open_task("phenotypes", store)
    module = Supervised("scratch", task, PROFILE, PRESET, PROFILE.downstream.scratch, seed=0)
    label = torch.as_tensor(task.labels[:6], dtype=torch.float32)
    output = torch.randn(label.shape, requires_grad=True)
    loss = module.loss(output, label)
    known = ~np.isnan(task.labels[:6])
    target = (task.labels[:6] - module.centre.numpy()) / module.spread.numpy()
    expected = np.mean((output.detach().numpy() - target)[known] ** 2)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert (output.grad.numpy()[~known] == 0).all() and (output.grad.numpy()[known] != 0).any()


@pytest.mark.parametrize("arm", ["scratch", "cmr"])
def test_one_batch_is_overfitted(store, arm):
    task = open_task("risk", store)
    recipe = dataclasses.replace(PROFILE.downstream.scratch, label_smoothing=0.0, drop_path=0.0)
    torch.manual_seed(0)
    module = Supervised(arm, task, PROFILE, PRESET, recipe, seed=0)
    rows = task.train[:16]
    batch = torch.from_numpy(store.cmr[rows] / np.float32(255) if arm == "cmr" else store.ecg[rows, :, :300]).float()
    label = torch.as_tensor(task.labels[rows], dtype=torch.float32)
    optimiser = torch.optim.Adam(module.parameters(), lr=2e-3)
    first = module.loss(module(batch), label).item()
    for _ in range(60):
        loss = module.loss(module(batch), label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.2 * first


def test_finetuning_writes_predictions_of_validation_and_test_once(setting, store):
    arguments = ("scratch", "phenotypes", None, 0, setting)
    outcome = finetune(*arguments)
    test = outcome.load("test")
    assert list(test.subject) == list(store.subjects["subject"].iloc[store.indices("test")])
    assert test.score.shape == (8, 61) and np.isfinite(test.score).all()
    assert np.isnan(test.truth).any()
    path = outcome.folder / f"{outcome.stem}-test.npz"
    before = path.stat().st_mtime_ns
    finetune(*arguments)
    assert path.stat().st_mtime_ns == before
    assert len(outcome.load("validation").subject) == 8


def test_risk_scores_are_probabilities(setting):
    score = finetune("scratch", "risk", 12, 0, setting).load().score
    assert ((score > 0) & (score < 1)).all()


def test_a_probe_can_be_used_again(setting, store):
    from mmcl.training.features import stored_features

    outcome = probe("random", "phenotypes", None, setting)
    features = stored_features("random", setting)
    again = fitted_probe("random", "phenotypes", setting.run).predict(features[store.indices("test")])
    np.testing.assert_allclose(outcome.load().score, again, rtol=1e-6)


def test_demographics_are_a_reference(setting):
    assert reference("demographics", "linear", "risk", None, setting).load().score.shape == (8, 3)
    with pytest.raises(ValueError, match="no reference 'demographics' in mode 'boosted'"):
        reference("demographics", "boosted", "risk", None, setting)

"""Fine-tuning against plain formulas: learning rates by layer, smoothing, drop-path, missing labels, the grid."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from mmcl.__main__ import main
from mmcl.config import EncoderConfig, FinetuneRecipe, preset
from mmcl.data.store import Store
from mmcl.evaluation.metrics import r2
from mmcl.evaluation.predictions import Predictions
from mmcl.profiles import profile
from mmcl.setting import open_setting
from mmcl.training import finetuning
from mmcl.training.comparison import published_missing, reported_metrics
from mmcl.training.finetuning import Supervised, finetune
from mmcl.training.probing import probe
from mmcl.training.schedule import layer_scale, parameter_groups
from mmcl.training.tasks import open_task

PROFILE, PRESET = profile("smoke"), preset("corrected")


@pytest.fixture
def store(smoke_run):
    return Store.open(smoke_run.store)


def setting_with(**downstream):
    """The smoke setting with other numbers downstream."""
    setting = open_setting("smoke", device="cpu")
    numbers = dataclasses.replace(PROFILE.downstream, **downstream)
    return dataclasses.replace(setting, profile=dataclasses.replace(PROFILE, downstream=numbers))


def record(outcome):
    return json.loads(outcome.record.read_text())


def module(store, task="risk", choices="corrected", **recipe):
    recipe = dataclasses.replace(PROFILE.downstream.finetune, **recipe)
    return Supervised("scratch", open_task(task, store), PROFILE, preset(choices), recipe, seed=0)


def test_the_learning_rate_decays_by_layer(store):
    network = module(store)
    groups = parameter_groups(network.named_parameters(), 1.0, 0.1, lambda name: layer_scale(name, 2, 0.5))
    rate = {id(p): group["lr"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    expected = {"encoder.cls_token": 1 / 8, "encoder.pos_embed": 1 / 8, "encoder.patch_embed.": 1 / 8}
    expected |= {"encoder.blocks.0.": 1 / 4, "encoder.blocks.1.": 1 / 2}
    expected |= {"encoder.attention_pool.": 1.0, "encoder.fc_norm.": 1.0, "head.": 1.0}
    for name, parameter in network.named_parameters():
        (value,) = (value for start, value in expected.items() if name.startswith(start))
        assert rate[id(parameter)] == value, name
        plain = name.endswith(("bias", "cls_token", "pos_embed")) or "norm" in name
        assert decay[id(parameter)] == (0.0 if plain else 0.1), name


def test_drop_path_rises_to_its_rate(store):
    numbers = dataclasses.replace(PROFILE, encoder=EncoderConfig(width=32, depth=3, heads=4))
    recipe = FinetuneRecipe(drop_path=0.2)
    network = Supervised("scratch", open_task("risk", store), numbers, PRESET, recipe, seed=0)
    assert [block.drop_path.probability for block in network.encoder.blocks] == pytest.approx([0.0, 0.1, 0.2])
    assert network.encoder.pooling == "attention"


def test_smoothed_and_weighted_cross_entropy_equals_its_formula(store):
    network = module(store, label_smoothing=0.2)
    label = np.array([[1, 0, np.nan], [0, 1, 0], [1, 1, 1]], dtype=np.float32)
    output = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    share = open_task("risk", store).labels[store.indices("train")].mean(axis=0)
    total, known = 0.0, 0
    for i, j in np.argwhere(np.isfinite(label)):
        soft = {0: 0.1, 1: 0.9}[int(label[i, j])]
        p = 1 / (1 + np.exp(-output[i, j]))
        weight = (1 - share[j]) / share[j] if label[i, j] else 1.0
        total, known = total - weight * (soft * np.log(p) + (1 - soft) * np.log(1 - p)), known + 1
    loss = network.loss(torch.from_numpy(output), torch.from_numpy(label))
    assert loss.item() == pytest.approx(total / known, rel=1e-5)


def test_missing_phenotypes_count_in_the_published_loss(store):
    label = torch.as_tensor(open_task("phenotypes", store).labels[:6], dtype=torch.float32)
    output = torch.randn(label.shape, generator=torch.Generator().manual_seed(0), requires_grad=True)
    known = label.isfinite()
    mended = module(store, "phenotypes").loss(output, label)
    published = module(store, "phenotypes", "corrected-mask_missing").loss(output, label)
    assert 0 < known.sum() < known.numel()
    assert published.item() == pytest.approx(mended.item() * known.sum().item() / known.numel(), rel=1e-5)
    published.backward()
    assert (output.grad[~known] == 0).all()


def test_published_scores_count_missing_as_zero_and_average_both_classes():
    random = np.random.default_rng(0)
    truth = random.normal(150, 20, (80, 2))
    score = truth + random.normal(0, 30, truth.shape)
    truth[random.random(truth.shape) < 0.1] = np.nan
    held = Predictions(np.arange(80).astype(str), ("LVEDV", "LVESV"), truth, score)
    published = published_missing(held)
    np.testing.assert_allclose(r2(published.truth, published.score), r2(truth, score, missing="zero"))
    assert (r2(published.truth, published.score) > r2(truth, score) + 0.5).all()
    mended = reported_metrics("risk", PRESET)
    assert mended[:2] == ("AUROC", "AUPRC") and "AUPRC of both classes" not in mended
    assert reported_metrics("risk", preset("paper"))[:2] == ("AUROC", "AUPRC of both classes")


@pytest.mark.parametrize("choices", ["corrected", "corrected-mask_missing"])
def test_the_validation_score_is_the_mean_correlation_in_either_form(store, choices):
    network = module(store, "phenotypes", choices)
    logged = {}
    network.log_dict = lambda scores, **kwargs: logged.update(scores)
    label = torch.as_tensor(network_labels := open_task("phenotypes", store).labels[:20], dtype=torch.float32)
    output = torch.randn(label.shape, generator=torch.Generator().manual_seed(1))
    network.outputs = [(output[:9], label[:9]), (output[9:], label[9:])]
    network.on_validation_epoch_end()
    scaled = (output * network.spread + network.centre).numpy()
    each = []
    for k in range(label.shape[1]):
        known = np.isfinite(network_labels[:, k])
        if choices == "corrected":
            each.append(np.corrcoef(network_labels[known, k], scaled[known, k])[0, 1])
        else:
            each.append(np.corrcoef(np.where(known, network_labels[:, k], 0), np.where(known, scaled[:, k], 0))[0, 1])
    assert logged["validation_score"] == pytest.approx(np.mean(each), abs=1e-5)


def test_the_head_sees_the_norm_twice_in_the_published_form(store):
    once, twice = (module(store, choices=name).eval() for name in ("corrected", "corrected-single_fc_norm"))
    with torch.no_grad():
        once.encoder.fc_norm.weight.uniform_(0.5, 1.5)
    twice.load_state_dict(once.state_dict())
    ecg = torch.randn(2, 12, 300, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = once.encoder(ecg)
        torch.testing.assert_close(twice(ecg), once.head(once.encoder.fc_norm(features)))
        assert not torch.allclose(twice(ecg), once(ecg))


def test_whole_frames_are_asked_of_the_store_in_the_published_form(store):
    task = open_task("risk", store)
    recipe = PROFILE.downstream.scratch
    assert Supervised("cmr", task, PROFILE, PRESET, recipe, seed=0).field == "cmr"
    assert Supervised("cmr", task, PROFILE, preset("paper"), recipe, seed=0).field == "frame"
    # The run of the default preset, whose store has no whole frames.
    setting = dataclasses.replace(open_setting("smoke", device="cpu"), preset=preset("corrected-crop_in_evaluation"))
    with pytest.raises(ValueError, match="crop_in_evaluation"):
        finetune("cmr", "risk", None, 0, setting)


def test_of_several_learning_rates_the_best_on_validation_serves_all_seeds(smoke_run):
    rates = (1e-2, 1e-9)
    recipe = dataclasses.replace(PROFILE.downstream.scratch, learning_rates=rates)
    grid = setting_with(scratch=recipe, seeds=(0, 1))
    first = finetune("scratch", "risk", 12, 0, grid)
    (chosen,) = record(first)["models"].values()
    scores = {rate: chosen["validation_scores_by_learning_rate"][f"{rate:g}"] for rate in rates}
    assert chosen["learning_rate"] == max(rates, key=scores.get)
    assert chosen["validation_score"] == scores[chosen["learning_rate"]]
    kept = first.load().score
    search = smoke_run.folder / "finetuning" / "risk-scratch-12-rates.json"
    searched = search.stat().st_mtime_ns
    (second,) = record(finetune("scratch", "risk", 12, 1, grid))["models"].values()
    assert second["learning_rate"] == chosen["learning_rate"] and search.stat().st_mtime_ns == searched
    alone = dataclasses.replace(recipe, learning_rates=(chosen["learning_rate"],))
    np.testing.assert_array_equal(finetune("scratch", "risk", 12, 0, setting_with(scratch=alone)).load().score, kept)


def test_balanced_sets_make_one_model_a_disease_at_the_true_prevalence(store):
    outcome = finetune("scratch", "risk", None, 0, setting_with(balance="sets"))
    models = record(outcome)["models"]
    train = store.subjects[store.subjects["split"] == "train"]
    assert {name: model["labels"] for name, model in models.items()} == {
        name: 2 * train[name].sum() for name in ("CAD", "AF", "DM")
    }
    score = outcome.load().score
    assert score.shape == (8, 3) and np.isfinite(score).all()
    part = open_task("risk", store, balance="sets").parts()[2]
    network = Supervised("scratch", part, PROFILE, PRESET, PROFILE.downstream.scratch, seed=0)
    share = train["DM"].mean()
    assert network.case_weight.item() == pytest.approx(1)
    assert network.prior_shift.item() == pytest.approx(np.log(share / (1 - share)), rel=1e-5)
    weighted = Supervised("scratch", open_task("risk", store), PROFILE, PRESET, PROFILE.downstream.scratch, seed=0)
    assert (weighted.prior_shift == 0).all()


def test_a_disease_without_cases_is_predicted_by_its_prevalence(store, monkeypatch):
    healthy = dataclasses.replace(store, subjects=store.subjects.assign(DM=0))
    monkeypatch.setattr(finetuning.Store, "open", lambda folder: healthy)
    setting = setting_with(balance="sets")
    outcome = finetune("scratch", "risk", 8, 0, setting)
    assert (outcome.load().score[:, 2] == 0).all() and "learning_rate" not in record(outcome)["models"]["DM"]
    for mode in ("probe", "knn"):
        assert (probe("random", "risk", 8, setting, mode).load().score[:, 2] == 0).all()


def test_probabilities_are_recalibrated_on_validation_when_asked(smoke_run):
    plain = finetune("scratch", "risk", None, 0, setting_with()).load().score
    outcome = finetune("scratch", "risk", None, 0, setting_with(calibration="platt"))
    fits, score = record(outcome)["calibration"], outcome.load().score
    assert set(fits) == {"CAD", "AF", "DM"}
    for k, fit in enumerate(fits[disease] for disease in ("CAD", "AF", "DM")):
        odds = fit["intercept"] + fit["slope"] * np.log(plain[:, k] / (1 - plain[:, k]))
        np.testing.assert_allclose(score[:, k], 1 / (1 + np.exp(-odds)))
    phenotypes = finetune("scratch", "phenotypes", 12, 0, setting_with(calibration="platt"))
    assert "calibration" not in record(phenotypes)


def test_nearest_neighbours_stand_beside_the_linear_probe(smoke_run, capsys):
    outcome = probe("random", "phenotypes", None, open_setting("smoke", device="cpu"), "knn")
    assert outcome.load().score.shape == (8, 61) and len(record(outcome)["neighbours"]) == 61
    with pytest.raises(ValueError, match="unknown probe 'svm'"):
        probe("random", "risk", None, open_setting("smoke", device="cpu"), "svm")
    main(["probe", "random", "--profile", "smoke", "--device", "cpu", "--task", "risk"])
    stems = {f"random-{mode}-{labels}-0" for mode in ("probe", "knn") for labels in ("24", "all")}
    assert {line.split()[-1] for line in capsys.readouterr().out.splitlines()} == stems

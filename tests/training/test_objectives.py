"""Every objective: one interface, what a step changes, what its options mean, what later steps find."""

import dataclasses
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import mmcl
from mmcl.__main__ import main
from mmcl.config import EcgAugmentation, preset
from mmcl.data.augmentation import first_crop, resize
from mmcl.data.cardiac_phase import frame_closeness
from mmcl.data.store import Store
from mmcl.interpretation.localisation import project
from mmcl.losses.mdm import mdm_loss, normalise_patches, restore_patches
from mmcl.losses.phases import phase_loss
from mmcl.losses.sigmoid import sigmoid_loss
from mmcl.losses.simclr import nt_xent_loss
from mmcl.profiles import PROFILES, profile
from mmcl.training import pretraining
from mmcl.training.batches import StoredPairs, generator
from mmcl.training.experiments import ARMS, Arm
from mmcl.training.features import stored_features
from mmcl.training.finetuning import finetune
from mmcl.training.objectives import OBJECTIVES
from mmcl.training.objectives.byol import target_momentum
from mmcl.training.objectives.contrastive import LEAST_TEMPERATURE
from mmcl.training.pretraining import CMR_ARMS, WEIGHTS, history, load_module, pretrain
from mmcl.training.reconstruction import reconstruct
from mmcl.training.trainer import BEST, LAST

PROFILE, PRESET = profile("smoke"), preset("corrected")


def build(objective, **changes):
    """An untrained module, without a trainer, whose recipe has `changes`; what it records is in `scores`."""
    numbers = dataclasses.replace(PROFILE, **{objective: dataclasses.replace(getattr(PROFILE, objective), **changes)})
    torch.manual_seed(0)
    module = OBJECTIVES[objective](numbers, PRESET, seed=0)
    module.scores = {}
    module.record = lambda stage, size, **scores: module.scores.update(scores)
    return module


def batch_of(count=16):
    random = np.random.default_rng(0)
    side = PROFILE.cmr.crop
    return {
        "ecg": torch.from_numpy(random.standard_normal((count, 12, PROFILE.ecg.record)).astype(np.float16)),
        "cmr": torch.from_numpy(random.integers(0, 256, (count, 3, side, side), dtype=np.uint8)),
        "subject": torch.arange(count),
    }


def draws(seed=0):
    return generator(torch.device("cpu"), seed)


# What all have in common


def test_every_objective_has_a_recipe_in_every_profile_an_arm_and_a_word_in_the_help(capsys):
    assert all(hasattr(numbers, name) for numbers in PROFILES.values() for name in OBJECTIVES)
    assert {arm.objective for arm in ARMS.values()} == set(OBJECTIVES)
    with pytest.raises(SystemExit):
        main(["pretrain", "--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in OBJECTIVES)


def test_a_profile_without_a_recipe_is_named():
    class Unknown(OBJECTIVES["simclr"]):
        objective = "unknown"

    with pytest.raises(ValueError, match="profile 'smoke': expected a recipe of the objective 'unknown'"):
        Unknown(PROFILE, PRESET, 0)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_steps_on_one_batch_lower_its_loss(objective):
    module, batch = build(objective), batch_of()
    optimiser = torch.optim.Adam([p for p in module.model.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(15):
        loss = module.step("train", batch, draws())  # the same views, masks and crops each time
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_is_a_function_of_its_generator(objective):
    module, batch = build(objective).eval(), batch_of(8)
    losses = [module.step("train", batch, draws(seed)).item() for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("arm", OBJECTIVES)
def test_encoders_are_found_in_every_checkpoint(own_setting, arm):
    folder = pretrain(arm, own_setting)
    modality = "cmr" if arm in CMR_ARMS else "ecg"
    weights = pretraining.cmr_encoder_weights if modality == "cmr" else pretraining.ecg_encoder_weights
    expected = weights(folder)
    final = load_module(folder, arm, PROFILE, PRESET).chosen
    for file, keywords in ((WEIGHTS, {}), (final, {} if modality == "cmr" else {"heads": PROFILE.encoder.heads})):
        encoder = mmcl.load_encoder(folder / file, modality=modality, **keywords)
        state = (encoder if modality == "cmr" else encoder.model).state_dict()
        assert all(torch.equal(state[name], value) for name, value in expected.items() if name in state)
        assert set(state) <= {*expected, "fc_norm.weight", "fc_norm.bias"}


def test_other_arms_are_probed_and_finetuned_as_the_first_three(own_setting):
    rows = len(Store.open(own_setting.run.store))
    assert stored_features("simclr", own_setting).shape == (rows, PROFILE.encoder.width)
    assert stored_features("cmr_simclr", own_setting).shape == (rows, PROFILE.cmr_encoder.widths[-1])
    for arm in ("simclr", "cmr_simclr"):
        assert finetune(arm, "risk", 12, 0, own_setting).load().score.shape == (8, 3)


def test_the_encoder_of_an_arm_is_where_its_finetuning_starts(own_setting, monkeypatch):
    from mmcl.training import finetuning

    seen = {}
    monkeypatch.setattr(finetuning, "fit", lambda models, *rest: seen.update(models[0].encoder.state_dict()) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        finetune("cmr_simclr", "risk", 12, 0, own_setting)
    start = pretraining.cmr_encoder_weights(own_setting.run.checkpoints / "cmr_simclr")
    assert all(torch.equal(seen[name], value) for name, value in start.items())


def test_a_field_that_the_store_lacks_is_named(smoke_run):
    store = dataclasses.replace(Store.open(smoke_run.store), cmr=None)
    with pytest.raises(ValueError, match="expected ecg, cmr, found no cmr"):
        StoredPairs(store, np.arange(4), ("ecg", "cmr"))


# A new one


def test_a_new_objective_is_one_class_and_one_recipe(own_setting, monkeypatch):
    toy = _toy()
    monkeypatch.setitem(OBJECTIVES, "toy", toy.Toy)
    monkeypatch.setitem(ARMS, "toy", Arm("toy"))
    numbers = toy.toy_profile()
    setting = dataclasses.replace(own_setting, profile=numbers)
    folder = pretrain("toy", setting)
    losses = history(folder)["train_loss"]
    assert len(losses) == numbers.toy.epochs and losses.iloc[-1] < losses.iloc[0]
    assert stored_features("toy", setting).shape[1] == PROFILE.encoder.width
    assert pretrain("toy", setting) == folder


def _toy():
    spec = importlib.util.spec_from_file_location("toy_objective", Path(__file__).with_name("toy_objective.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_last_validation_batch_of_one_is_left_out_by_barlow_twins(own_setting):
    recipe = dataclasses.replace(PROFILE.barlow_twins, batch=7)  # 8 validation subjects are 7 and 1
    setting = dataclasses.replace(own_setting, profile=dataclasses.replace(PROFILE, barlow_twins=recipe))
    assert history(pretrain("barlow_twins", setting))["validation_loss"].notna().all()


# MDM


def _mdm_output(module, batch):
    """What the module's model makes of the batch in validation, with the generator after it."""
    random = draws()
    ecg = first_crop(batch["ecg"], PROFILE.ecg.window)
    return ecg, module.model(ecg, generator=random), random


@pytest.mark.parametrize("changes", [{}, {"masked_only": True}, {"per_patch": True}, {"ncc_weight": 0.7}])
def test_each_option_of_mdm_changes_the_loss_as_it_says(changes):
    batch = batch_of(4)
    module = build("mdm", **changes)
    found = module.step("validation", batch, draws())
    ecg, output, _ = _mdm_output(module, batch)
    target, prediction = ecg.reshape(output.prediction.shape), output.prediction
    if "per_patch" in changes:
        target = (target - target.mean(-1, keepdim=True)) / (target.var(-1, keepdim=True) + 1e-6).sqrt()
    counted = output.mask.bool() if "masked_only" in changes else torch.ones_like(output.mask).bool()
    error = ((prediction - target) ** 2)[counted].mean()
    correlations = []
    for sample in range(4):
        for lead in range(12):
            tokens = [k for k in range(6 * lead, 6 * lead + 6) if counted[sample, k]]
            pair = torch.stack([prediction[sample, tokens].flatten(), target[sample, tokens].flatten()])
            if tokens:
                correlations.append(torch.corrcoef(pair)[0, 1])
    weight = changes.get("ncc_weight", 0.1)
    expected = (1 - weight) * error + weight * (1 - torch.stack(correlations).mean())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    if changes:
        assert not torch.isclose(found, build("mdm").step("validation", batch, draws()))


def test_the_similarity_term_is_that_of_two_maskings_and_costs_nothing_when_off(monkeypatch):
    batch = batch_of(6)
    module = build("mdm", similarity_weight=0.4, similarity_temperature=0.2)
    found = module.step("validation", batch, draws())
    ecg, output, random = _mdm_output(module, batch)
    second = module.model(ecg, generator=random)
    assert not torch.equal(output.mask, second.mask)
    term = nt_xent_loss(output.latent[:, 1:].mean(1), second.latent[:, 1:].mean(1), 0.2)
    torch.testing.assert_close(found, mdm_loss(ecg, output.prediction) + 0.4 * term)
    torch.testing.assert_close(module.scores["similarity"], term)

    off, encoded = build("mdm"), []
    monkeypatch.setattr(off.model, "encode", lambda *a, encode=off.model.encode: encoded.append(1) or encode(*a))
    torch.testing.assert_close(off.step("validation", batch, draws()), mdm_loss(ecg, output.prediction))
    assert len(encoded) == 1 and "similarity" not in off.scores


def test_patches_get_their_level_and_scale_back():
    patches = 3 * torch.randn(2, 5, 50) + 7
    torch.testing.assert_close(restore_patches(normalise_patches(patches), patches), patches)


def test_reconstructions_are_shown_in_the_units_of_the_ecg(own_setting):
    recipe = dataclasses.replace(PROFILE.mdm, per_patch=True)
    setting = dataclasses.replace(own_setting, profile=dataclasses.replace(PROFILE, mdm=recipe))
    shown = reconstruct("mdm", setting, Store.open(setting.run.store))
    shape = (12, -1, PROFILE.ecg.patch)
    # The model knows little after three epochs, but each patch has the level of the ECG's.
    levels = [signal.reshape(shape).mean(axis=2).ravel() for signal in (shown.prediction, shown.ecg)]
    assert np.corrcoef(levels)[0, 1] > 0.5


# MMCL


def test_a_learnt_temperature_has_a_gradient_no_decay_and_a_limit():
    assert not any("temperature" in name for name in build("mmcl").model.state_dict())
    module = build("mmcl", learn_temperature=True, temperature=0.2)
    loss = module.step("train", batch_of(), draws())
    loss.backward()
    assert module.model.log_temperature.grad.abs() > 0
    assert module.scores["temperature"].item() == pytest.approx(0.2)
    fixed = build("mmcl", temperature=0.2).step("train", batch_of(), draws())
    torch.testing.assert_close(loss, fixed)

    module.schedule = lambda optimiser: optimiser
    decay = {p: group["weight_decay"] for group in module.configure_optimizers().param_groups for p in group["params"]}
    trainable = {p for p in module.model.parameters() if p.requires_grad}
    assert set(decay) == trainable and decay.pop(module.model.log_temperature) == 0.0
    assert set(decay.values()) == {PROFILE.mmcl.weight_decay}

    module.model.log_temperature.data.fill_(-20.0)
    module.on_train_batch_end(None, None, 0)
    assert module.temperature.item() == pytest.approx(LEAST_TEMPERATURE)


def test_a_learnt_temperature_is_trained_and_kept(own_setting):
    recipe = dataclasses.replace(PROFILE.mmcl, learn_temperature=True)
    setting = dataclasses.replace(own_setting, profile=dataclasses.replace(PROFILE, mmcl=recipe))
    folder = pretrain("mmcl", setting)
    module = load_module(folder, "mmcl", setting.profile, PRESET)
    assert module.temperature.item() != pytest.approx(0.1, rel=1e-5)
    assert "train_temperature" in history(folder)


def test_the_sigmoid_loss_learns_temperature_and_bias_without_decay():
    assert "logit_bias" not in build("mmcl").model.state_dict()
    module, batch = build("mmcl", loss="sigmoid"), batch_of()
    loss = module.step("validation", batch, draws())
    ecg, cmr = first_crop(batch["ecg"], PROFILE.ecg.window), resize(batch["cmr"], PROFILE.cmr)
    z_ecg, z_cmr = module.model(ecg, cmr)
    torch.testing.assert_close(loss, sigmoid_loss(z_cmr, z_ecg, 0.1, -10.0))
    loss.backward()
    assert module.model.log_temperature.grad.abs() > 0 and module.model.logit_bias.grad.abs() > 0
    assert module.scores["bias"].item() == -10.0 and module.scores["temperature"].item() == pytest.approx(0.1)
    module.schedule = lambda optimiser: optimiser
    others, learnt = module.configure_optimizers().param_groups
    assert learnt["weight_decay"] == 0.0 and others["weight_decay"] == PROFILE.mmcl.weight_decay
    assert {id(p) for p in learnt["params"]} == {id(module.model.log_temperature), id(module.model.logit_bias)}
    assert len(others["params"]) == sum(p.requires_grad for p in module.model.parameters()) - 2
    with pytest.raises(ValueError, match="unknown loss 'clop'; expected one of clip, sigmoid"):
        build("mmcl", loss="clop")


def _beating_batch(count=12, period=90):
    """A batch whose ECGs have a spike each `period` samples, later by a few in each record."""
    batch = batch_of(count)
    ecg = 0.01 * batch["ecg"].float()
    for k in range(count):
        ecg[k, :, 5 + 3 * k :: period] += 5.0
    return batch | {"ecg": ecg.half()}


def test_the_local_term_is_that_of_tokens_near_a_phase_and_of_frames_alone():
    batch = _beating_batch()
    module = build("mmcl", local_weight=0.5).eval()
    loss = module.step("validation", batch, draws())
    plain = build("mmcl").eval().step("validation", batch, draws())

    # Token by token, with weights from the phases of the samples in each patch.
    ecg, cmr = first_crop(batch["ecg"], PROFILE.ecg.window), resize(batch["cmr"], PROFILE.cmr)
    near = frame_closeness(batch["ecg"], PROFILE.ecg.sampling_rate)[:, :, : PROFILE.ecg.window]
    model, width = module.model, PROFILE.ecg.patch
    tokens = model.encoder_ecg.tokens(ecg)
    ecg_local, cmr_local = (torch.zeros(12, 3, PROFILE.mmcl.projection) for _ in range(2))
    for b in range(12):
        for frame in range(3):
            weight = [near[b, frame, width * (t % 6) : width * (t % 6 + 1)].mean() for t in range(72)]
            weight = torch.stack(weight) / sum(weight)
            mean = model.encoder_ecg.fc_norm((weight[:, None] * tokens[b]).sum(0))
            ecg_local[b, frame] = model.projection_head_ecg(mean)
            cmr_local[b, frame] = model.project_cmr(cmr[b, [frame] * 3][None])[0]
    local = phase_loss(ecg_local, cmr_local, torch.ones(12, dtype=torch.bool), PROFILE.mmcl.temperature)
    torch.testing.assert_close(module.scores["local"], local, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(loss, plain + 0.5 * local, rtol=1e-4, atol=1e-5)


def test_in_training_phases_stay_in_step_with_the_window():
    module, batch = build("mmcl", local_weight=0.5), _beating_batch()
    still = dataclasses.replace(PROFILE.mmcl.ecg_augmentation, probability=0.0)
    module.recipe = dataclasses.replace(module.recipe, ecg_augmentation=still)
    ecg, _, closeness = module.views("train", batch, draws())
    whole = frame_closeness(batch["ecg"], PROFILE.ecg.sampling_rate)
    width, starts = PROFILE.ecg.window, []
    for record, window, near, found in zip(batch["ecg"].float(), ecg, whole, closeness, strict=True):
        starts.append(
            next(
                k
                for k in range(record.shape[1] - width + 1)
                if torch.allclose(record[:, k : k + width], window, atol=1e-3)
            )
        )
        expected = F.avg_pool1d(near[:, starts[-1] : starts[-1] + width], PROFILE.ecg.patch)
        torch.testing.assert_close(found, expected)
    assert len(set(starts)) > 6


def test_the_local_term_costs_nothing_when_off_and_needs_three_frames(monkeypatch):
    from mmcl.training.objectives import contrastive

    monkeypatch.setattr(contrastive, "frame_closeness", lambda *a: 1 / 0)
    module = build("mmcl")
    module.step("train", batch_of(4), draws())
    assert "local" not in module.scores
    numbers = dataclasses.replace(
        PROFILE,
        cmr=dataclasses.replace(PROFILE.cmr, frames="ed"),
        mmcl=dataclasses.replace(PROFILE.mmcl, local_weight=1.0),
    )
    with pytest.raises(ValueError, match="frames 'ed': expected 'three'"):
        OBJECTIVES["mmcl"](numbers, PRESET, seed=0)


def test_an_ecg_without_beats_is_left_out_of_the_local_term_alone():
    batch = _beating_batch()
    batch["ecg"][3] = 0.0
    module = build("mmcl", local_weight=0.5)
    loss = module.step("train", batch, draws())
    loss.backward()
    assert loss.isfinite() and all(p.grad.isfinite().all() for p in module.model.parameters() if p.grad is not None)


def test_frames_reach_training_and_evaluation():
    numbers = dataclasses.replace(PROFILE, cmr=dataclasses.replace(PROFILE.cmr, frames="ed"))
    for objective in ("mmcl", "cmr_simclr"):
        torch.manual_seed(0)
        module = OBJECTIVES[objective](numbers, PRESET, seed=0).eval()
        module.record = lambda *arguments, **scores: None
        batch = batch_of(8)
        other = batch | {"cmr": batch["cmr"].clone()}
        other["cmr"][:, :2] = 0
        for stage in ("train", "validation"):
            assert module.step(stage, batch, draws()) == module.step(stage, other, draws())


# Joint


@pytest.mark.parametrize("changes", [{}, {"local_weight": 0.3}, {"loss": "sigmoid"}])
def test_joint_training_adds_mdm_to_mmcl_on_one_view(changes):
    batch = _beating_batch()
    joint, mmcl_alone = build("joint", mdm_weight=0.7, **changes).eval(), build("mmcl", **changes).eval()
    seen = {}
    joint.model.encoder_ecg.register_forward_pre_hook(lambda encoder, inputs: seen.setdefault("whole", inputs[0]))
    rebuild = joint.model.reconstruct
    joint.model.reconstruct = lambda ecg, random: seen.update(ecg=ecg, output=rebuild(ecg, random)) or seen["output"]
    loss = joint.step("train", batch, draws())
    torch.testing.assert_close(joint.scores["mdm"], mdm_loss(seen["ecg"], seen["output"].prediction))
    torch.testing.assert_close(loss, mmcl_alone.step("train", batch, draws()) + 0.7 * joint.scores["mdm"])
    assert seen.get("whole", seen["ecg"]) is seen["ecg"]
    assert seen["output"].mask.mean().item() == pytest.approx(0.8, abs=0.02)


def test_the_joint_encoder_learns_from_both_terms():
    for weight, name in ((0.0, "mdm_weight"), (1.0, "mdm_weight")):
        module = build("joint", **{name: weight})
        module.step("train", batch_of(), draws()).backward()
        assert module.model.encoder_ecg.patch_embed.proj.weight.grad.any()
        assert module.model.decoder.decoder_pred.weight.grad.any() == (weight > 0)


def test_the_joint_arm_is_probed_and_maps_as_mmcl(own_setting):
    folder = pretrain("joint", own_setting)
    assert {"train_mdm", "validation_mdm", "validation_top1"} <= set(history(folder))
    rows = len(Store.open(own_setting.run.store))
    assert stored_features("joint", own_setting).shape == (rows, PROFILE.encoder.width)
    model = load_module(folder, "joint", PROFILE, PRESET).model
    with torch.no_grad():
        projected = project(model, torch.randn(2, 12, PROFILE.ecg.window), torch.rand(2, 3, 48, 48))
    assert projected.ecg.shape == (2, PROFILE.joint.projection)


# BYOL


def test_the_target_of_byol_gets_no_gradient_and_follows_by_the_formula():
    module = build("byol")
    module.step("train", batch_of(), draws()).backward()
    model = module.model
    assert all(p.grad is None and not p.requires_grad for p in model.target.parameters())
    assert all(p.grad is not None for p in model.predictor.parameters())
    online = [*model.encoder_ecg.parameters(), *model.projection_head_ecg.parameters()]
    for p in online:
        p.data.add_(torch.randn_like(p))
    before = [p.clone() for p in model.target.parameters()]
    model.follow(0.9)
    for old, new, fast in zip(before, model.target.parameters(), online, strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * fast)


def test_the_momentum_of_byol_rises_from_its_base_to_one():
    values = [target_momentum(step, 100, 0.99) for step in range(101)]
    assert values[0] == pytest.approx(0.99) and values[100] == 1.0
    assert values[50] == pytest.approx(0.995)
    assert values == sorted(values)


def test_byol_follows_once_a_step_and_keeps_its_last_epoch(own_setting, monkeypatch):
    kind, seen = OBJECTIVES["byol"], []

    def spy(self, outputs, batch, batch_idx, original=kind.on_train_batch_end):
        follow = self.model.follow
        self.model.follow = lambda momentum: seen.append(momentum) or follow(momentum)
        original(self, outputs, batch, batch_idx)
        del self.model.follow

    monkeypatch.setattr(kind, "on_train_batch_end", spy)
    folder = pretrain("byol", own_setting)
    total = PROFILE.byol.epochs  # 24 training subjects are one batch of 16
    assert seen == [target_momentum(step, total, 0.99) for step in range(total)]
    kept = load_module(folder, "byol", PROFILE, PRESET).model.state_dict()
    last = torch.load(folder / LAST, map_location="cpu", weights_only=True)["state_dict"]
    assert all(torch.equal(value, last[f"model.{name}"]) for name, value in kept.items())
    assert not torch.equal(kept["target.encoder_ecg.cls_token"], kept["encoder_ecg.cls_token"])
    assert pretraining.summary(folder)["best_epoch"] == total - 1


def test_only_byol_keeps_the_last_epoch():
    assert {name for name, kind in OBJECTIVES.items() if kind.chosen != BEST} == {"byol"}


def test_the_spread_of_byol_tells_a_collapse():
    module = build("byol").eval()
    batch = batch_of()
    module.step("validation", batch, draws())
    assert 0 < module.scores["spread"] <= 1
    last = module.model.target.projection_head_ecg.layers[-1]
    last.weight.data.zero_()
    last.bias.data.fill_(1.0)
    module.step("validation", batch, draws())
    assert module.scores["spread"].item() == pytest.approx(0.0, abs=1e-4)


# CLOCS


@pytest.mark.parametrize("views, count", [("cmsc", 2), ("cmlc", 4), ("cmsmlc", 8)])
def test_the_kinds_of_clocs_differ_in_their_views(views, count, monkeypatch):
    from mmcl.training.objectives import clocs

    seen, loss = [], clocs.clocs_loss
    monkeypatch.setattr(clocs, "clocs_loss", lambda z, *rest: seen.append(z) or loss(z, *rest))
    build("clocs", views=views).step("train", batch_of(8), draws())
    assert seen[0].shape == (count, 8, PROFILE.clocs.projection)


def test_segments_are_adjacent_windows_of_one_record():
    module, batch = build("clocs", augmentation=EcgAugmentation(probability=0.0)), batch_of(8)
    seen = []
    module.model.register_forward_pre_hook(lambda model, inputs: seen.append(inputs[0]))
    module.step("train", batch, draws())
    both = torch.cat(seen[0].chunk(2), dim=2)
    width = both.shape[2]
    for record, found in zip(batch["ecg"].float(), both, strict=True):
        starts = range(record.shape[1] - width + 1)
        assert any(torch.allclose(record[:, start : start + width], found, atol=1e-4) for start in starts)


def test_a_lead_alone_knows_nothing_of_the_others():
    module = build("clocs", views="cmlc").eval()
    ecg = torch.randn(2, 12, PROFILE.ecg.window)
    other = torch.randn_like(ecg)
    other[:, 7] = ecg[:, 7]
    with torch.no_grad():
        alone = module.model.project_leads(ecg, [7, 1])
        changed = module.model.project_leads(other, [7, 1])
    assert torch.equal(alone[0], changed[0]) and not torch.allclose(alone[1], changed[1])


def test_other_recordings_of_a_subject_are_positives(smoke_run):
    batch = batch_of(8)
    apart = build("clocs").step("validation", batch, draws())
    batch["subject"] = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    assert not torch.isclose(apart, build("clocs").step("validation", batch, draws()))
    store = Store.open(smoke_run.store)
    store.subjects["subject"] = ["a", "b", "a"] + ["c"] * (len(store) - 3)
    assert StoredPairs(store, np.arange(4), ("subject",)).read(torch.arange(4))["subject"].tolist() == [0, 1, 0, 2]


def test_wrong_choices_of_clocs_are_named():
    with pytest.raises(ValueError, match="unknown kind of views 'cmxc'; expected one of cmsc, cmlc, cmsmlc"):
        build("clocs", views="cmxc")
    with pytest.raises(ValueError, match="unknown lead 'V7'"):
        build("clocs", views="cmlc", leads=("II", "V7"))
    with pytest.raises(ValueError, match="at least two leads"):
        build("clocs", views="cmlc", leads=("II",))


def test_the_logged_share_of_first_ranks_is_one_for_equal_views():
    plain = dataclasses.replace(PROFILE.simclr.augmentation, probability=0.0)
    module = build("simclr", augmentation=plain)
    window = PROFILE.ecg.window
    batch = {"ecg": batch_of()["ecg"][:, :, :window]}  # one window: both views are the record itself
    loss = module.step("train", batch, draws())
    assert module.scores["top1"].item() == 1.0
    assert 0 < loss.item() < math.log(31)

"""The declaration of arms and grid: what an entry means, and what is said of one that cannot be."""

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mmcl import provenance
from mmcl.config import preset
from mmcl.data.store import Store
from mmcl.profiles import PROFILES
from mmcl.setting import open_setting
from mmcl.training import experiments
from mmcl.training.experiments import ARMS, GRID, METHOD, Arm, arm_numbers, arm_setting, read_experiments, stages
from mmcl.training.objectives import OBJECTIVES
from mmcl.training.pretraining import WEIGHTS, pretrain, pretraining_mark, training_rows

PAPER, CORRECTED = PROFILES["paper"], preset("corrected")


def declared(tmp_path, *entries, grid="{smoke: []}"):
    """The experiments of a file with MDM, the method and `entries`."""
    lines = ["mdm: {objective: mdm}", "mdm+mmcl: {objective: mmcl, start: mdm}", *entries]
    file = tmp_path / "experiments.yaml"
    text = "method: mdm+mmcl\narms:\n  all:\n" + "".join(f"    {line}\n" for line in lines) + f"grid: {grid}\n"
    file.write_text(text)
    return read_experiments(file)


@pytest.fixture
def with_arms(tmp_path, monkeypatch):
    """Lets the library know the arms of `entries` too."""

    def add(*entries):
        for name, arm in declared(tmp_path, *entries).arms.items():
            monkeypatch.setitem(experiments.ARMS, name, arm)

    return add


def test_the_arms_that_were_there_are_as_they_were():
    for name in OBJECTIVES:
        assert ARMS[name] == Arm(name)
    assert ARMS["mdm+mmcl"] == Arm("mmcl", "mdm") and METHOD == "mdm+mmcl"
    for name, profile in PROFILES.items():
        assert arm_numbers("mdm+mmcl", profile, CORRECTED) == (profile, CORRECTED), name


@pytest.mark.parametrize("choices", ["corrected", "paper"])
def test_every_declared_arm_changes_numbers_that_the_published_sizes_have(choices):
    for name in ARMS:
        numbers, chosen = arm_numbers(name, PAPER, preset(choices))
        assert arm_numbers(name, numbers, chosen) == (numbers, chosen), "twice is once"
        assert numbers.ecg.window % numbers.ecg.patch == 0 and numbers.downstream == PAPER.downstream
        assert stages(name)[-1] == name


def test_small_profiles_train_what_their_minutes_allow_and_paper_everything():
    arms = {name: {arm for block in blocks for arm in block.arms} for name, blocks in GRID.items()}
    assert set(arms) == set(PROFILES)
    assert arms["smoke"] == arms["demo"] < arms["paper"]
    assert {name for name in ARMS if "@" not in name} <= arms["paper"]
    ablations = set(read_experiments(experiments.FILE).sections["ablations"])
    for block in GRID["paper"]:
        assert not ablations & set(block.arms) or block.modes == ("probe",), "ablations are probed alone"


@pytest.mark.parametrize("name", PROFILES)
def test_every_arm_tries_as_many_learning_rates_from_scratch_or_not(name):
    downstream = PROFILES[name].downstream
    assert len(downstream.scratch.learning_rates) == len(downstream.finetune.learning_rates)


def test_an_arm_is_its_objective_with_the_numbers_that_it_sets(with_arms):
    with_arms("warm: {objective: mmcl, start: mdm, set: {mmcl.temperature: 1, mmcl.ecg_augmentation.jitter: 0.1}}")
    numbers, choices = arm_numbers("warm", PAPER, CORRECTED)
    assert numbers.mmcl.temperature == 1.0 and isinstance(numbers.mmcl.temperature, float)
    assert numbers.mmcl.ecg_augmentation.jitter == 0.1 and choices == CORRECTED
    before = dataclasses.replace(PAPER.mmcl, temperature=1.0, ecg_augmentation=numbers.mmcl.ecg_augmentation)
    assert numbers == dataclasses.replace(PAPER, mmcl=before)
    assert stages("warm") == ("mdm", "warm"), "the temperature is nothing to MDM"


def test_a_choice_of_the_preset_is_changed_under_its_name(with_arms):
    with_arms("first: {objective: mmcl, start: mdm, set: {preset.tile_crops: false}}")
    _, choices = arm_numbers("first", PAPER, CORRECTED)
    assert choices == preset("corrected-tile_crops")
    assert arm_numbers("first", PAPER, preset("paper"))[1] == preset("paper"), "nothing to change"
    assert stages("first") == ("mdm@first", "first")


def test_a_start_is_trained_with_the_numbers_that_concern_it_once_for_all(tmp_path):
    arms = declared(
        tmp_path,
        "a: {objective: mmcl, start: mdm, set: {mdm.mask_ratio: 0.6, mmcl.temperature: 0.2}}",
        "b: {objective: mmcl, start: mdm, set: {mdm.mask_ratio: 0.6}}",
        "half: {objective: mdm, pairs: 0.5}",
        "c: {objective: mmcl, start: mdm, pairs: 0.5}",
        "d: {objective: mmcl, start: c, set: {mmcl.batch: 8}}",
    ).arms
    assert arms["mdm@a"] == Arm("mdm", None, {"mdm.mask_ratio": 0.6})
    assert arms["a"].start == arms["b"].start == "mdm@a"
    assert arms["c"].start == "half"
    assert arms["d"] == Arm("mmcl", "c@d", {"mmcl.batch": 8}, 0.5)
    assert arms["c@d"] == Arm("mmcl", "half", {"mmcl.batch": 8}, 0.5)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("x: {objective: simclip}", "unknown objective of arm 'x' 'simclip'; expected one of mdm"),
        ("x: {start: mdm}", "arm 'x': found start; expected objective"),
        ("scratch: {objective: mdm}", "arm 'scratch'; expected another name than random, scratch"),
        ("x: {objective: mmcl, begin: mdm}", "arm 'x': found objective, begin; expected objective, perhaps pairs"),
        ("x: {objective: mmcl, start: mmd}", "unknown start of arm 'x', an arm above it, 'mmd'"),
        ("x: {objective: cmr_simclr, start: mdm}", "arm 'x': starts from 'mdm'; expected that both have an ECG enc"),
        (
            "x: {objective: mdm, set: {mmcl.temperature: 0.2}}",
            "mmcl.temperature changes nothing of it; expected comp",
        ),
        ("x: {objective: mdm, set: {downstream.bootstrap: 3}}", "downstream.bootstrap changes nothing of it"),
        ("x: {objective: mdm, set: {ecg.sampling_rate: 250}}", "ecg.sampling_rate decides what a store holds"),
        ("x: {objective: mdm, set: {preset.centre_crop: false}}", "a run of its own for it .PRESET="),
        ("x: {objective: mdm, set: {preset.tile_crop: false}}", "unknown choice of arm 'x', 'tile_crop'; expected"),
        ("x: {objective: mdm, set: [0.6]}", "arm 'x': set is .0.6.; expected names and values"),
        ("x: {objective: mdm, seed: -1}", "arm 'x': seed is -1; expected a whole number from 0 on"),
        ("x: {objective: mdm, pairs: 1.5}", "arm 'x': pairs is 1.5; expected a number of subjects, or a share below"),
        ("x: {objective: mdm, pairs: true}", "pairs is True"),
        ("x/y: {objective: mdm}", "arm 'x/y'; expected a name of letters"),
        ("x: mdm", "arm 'x' is 'mdm'; expected names and values"),
        ("mdm: {objective: mdm}", "key 'mdm' is there twice"),
        ("\n  more:\n    mdm: {objective: mdm}", "arm 'mdm' is there twice"),
        ("all: {objective: mdm}", "'all' is the name of an arm and of a section"),
    ],
)
def test_an_entry_that_cannot_be_is_named_with_what_was_expected(tmp_path, entry, said):
    with pytest.raises(ValueError, match=said) as caught:
        declared(tmp_path, entry)
    assert str(caught.value).startswith(str(tmp_path / "experiments.yaml"))


def test_a_line_of_the_grid_has_arms_and_modes(tmp_path):
    grid = declared(tmp_path, grid="{smoke: [{arms: [random, all], modes: [probe]}]}").grid
    assert grid["smoke"][0].arms == ("random", "mdm", "mdm+mmcl")
    with pytest.raises(ValueError, match="a line of the grid: found arms; expected arms, modes"):
        declared(tmp_path, grid="{smoke: [{arms: [all]}]}")
    with pytest.raises(ValueError, match="a line of the grid: arms is 'all'; expected a list"):
        declared(tmp_path, grid="{smoke: [{arms: all, modes: [probe]}]}")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mdm.mask_ration", "0.6", "unknown number of arm 'x', mdm.mask_ration, 'mask_ration'; expected one of epochs"),
        ("mdm.mask_ratio", "most", "'most' is of type str; expected one like 0.8"),
        ("mdm.masked_only", "1", "1 is of type int; expected one like False"),
        ("mdm.epochs", "0.5", "0.5 is of type float; expected one like 400"),
        ("mdm.augmentation", "1", "'augmentation' is a group; name one of its numbers"),
        ("mdm.batch.size", "1", "'batch' is one value"),
        ("preset.tile_crops", "0", "0 is of type int; expected one like True"),
    ],
)
def test_a_number_that_the_profile_has_not_or_of_another_kind_is_named(with_arms, key, value, said):
    with_arms(f"x: {{objective: mdm, set: {{{key}: {value}}}}}")
    with pytest.raises(ValueError, match=said):
        arm_numbers("x", PAPER, CORRECTED)


def test_a_list_of_numbers_stands_for_several(with_arms):
    with_arms("x: {objective: clocs, set: {clocs.leads: [I, II]}}", "y: {objective: clocs, set: {clocs.leads: [1]}}")
    assert arm_numbers("x", PAPER, CORRECTED)[0].clocs.leads == ("I", "II")
    with pytest.raises(ValueError, match="1 is of type int; expected one like 'II'"):
        arm_numbers("y", PAPER, CORRECTED)


def test_a_change_makes_anew_what_it_concerns_and_nothing_else(smoke_run, with_arms):
    with_arms("x: {objective: mmcl, start: mdm, set: {mmcl.temperature: 0.2}}")
    setting = open_setting("smoke", device="cpu")
    checksums = Store.open(smoke_run.store).meta["checksums"]

    def marks(where):
        return {arm: pretraining_mark(arm, where, checksums) for arm in ("mdm", "mdm+mmcl", "x", "simclr")}

    before = marks(setting)
    assert len(set(before.values())) == 4
    assert before["mdm"] == pretraining_mark("mdm", arm_setting("x", setting), checksums)
    warmer = dataclasses.replace(setting.profile.mmcl, temperature=0.3)
    after = marks(dataclasses.replace(setting, profile=dataclasses.replace(setting.profile, mmcl=warmer)))
    assert {arm for arm in before if before[arm] != after[arm]} == {"mdm+mmcl"}, "x sets the temperature itself"
    with_arms("x: {objective: mmcl, start: mdm, set: {mmcl.temperature: 0.4}}")
    assert {arm for arm, mark in marks(setting).items() if mark != before[arm]} == {"x"}


def test_fewer_pairs_are_whole_training_subjects_among_more(smoke_run):
    store = Store.open(smoke_run.store)
    twice = store.subjects.assign(subject=[f"sub{k // 2:03d}" for k in range(len(store))])  # 12 subjects, two visits
    store = dataclasses.replace(store, subjects=twice)
    rows = {pairs: training_rows(store, pairs, seed=0) for pairs in (0.25, 6, 12, None)}
    names = {pairs: set(twice["subject"].iloc[each]) for pairs, each in rows.items()}
    assert [len(names[pairs]) for pairs in rows] == [3, 6, 12, 12]
    assert names[0.25] < names[6] < names[12]
    assert all(len(each) == 2 * len(names[pairs]) for pairs, each in rows.items())
    np.testing.assert_array_equal(rows[None], store.indices("train"))
    assert set(training_rows(store, 6, seed=1)) != set(rows[6])
    with pytest.raises(ValueError, match="12 training subjects; expected 13 for pre-training"):
        training_rows(store, 13, seed=0)


def test_make_sees_the_declaration_and_fingerprints_of_code_do_not(monkeypatch):
    """So that notebooks run again when an arm is added, and no other arm is trained anew."""
    hashed, bare = [], provenance._bare_code
    monkeypatch.setattr(provenance, "_bare_code", lambda path: hashed.append(path.name) or bare(path))
    provenance.code_fingerprint("mmcl.training.pretraining")
    assert "experiments.py" in hashed and "experiments.yaml" not in hashed
    used = provenance.modules_used(provenance.ROOT / "mmcl/training/pretraining.py")
    assert experiments.FILE in used


def test_another_seed_trains_the_start_too_and_nothing_else_changes(own_setting):
    assert ARMS["mdm+mmcl.seed_1"].start == "mdm.seed_1" and ARMS["mdm.seed_1"] == Arm("mdm", seed=1)
    checksums = {}
    assert pretraining_mark("mdm.seed_1", own_setting, checksums) != pretraining_mark("mdm", own_setting, checksums)
    one, other = (load_file(pretrain(arm, own_setting) / WEIGHTS) for arm in ("mdm", "mdm.seed_1"))
    assert not torch.equal(one["mask_token"], other["mask_token"])

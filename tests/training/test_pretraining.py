"""Pre-training: finished, resumed and repeated runs give the same weights."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mmcl.profiles import profile
from mmcl.training import pretraining
from mmcl.training.objectives import OBJECTIVES
from mmcl.training.pretraining import FINISHED, WEIGHTS, pretrain
from mmcl.training.trainer import LAST

PROFILE = profile("smoke")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def setting(own_setting):
    return own_setting


def weights(folder):
    return load_file(folder / WEIGHTS)


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_finished_training_is_returned_untouched(setting):
    folder = pretrain("mdm", setting)
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert pretrain("mdm", setting) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_other_numbers_train_anew(setting):
    folder = pretrain("mdm", setting)
    before = weights(folder)
    faster = dataclasses.replace(PROFILE, mdm=dataclasses.replace(PROFILE.mdm, learning_rate=5e-3))
    pretrain("mdm", dataclasses.replace(setting, profile=faster))
    assert not torch.equal(before["decoder_pred.weight"], weights(folder)["decoder_pred.weight"])


@pytest.mark.parametrize("arm", OBJECTIVES)
def test_a_killed_training_goes_on_to_the_same_weights(setting, arm, monkeypatch):
    folder = pretrain(arm, setting)
    whole = weights(folder)
    for path in folder.iterdir():
        path.unlink()

    class Killed(BaseException):
        pass

    original = pretraining.new_module

    def killed_in_last_epoch(*arguments, **keywords):
        module = original(*arguments, **keywords)
        step = module.training_step

        def training_step(batch, batch_idx):
            if module.current_epoch == 2:
                raise Killed
            return step(batch, batch_idx)

        module.training_step = training_step
        return module

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(pretraining, "new_module", killed_in_last_epoch)
        pretrain(arm, setting)
    assert (folder / LAST).exists() and not (folder / FINISHED).exists() and not (folder / WEIGHTS).exists()
    pretrain(arm, setting)
    assert_equal(whole, weights(folder))
    assert len(pretraining.history(folder)) == 3


def test_mmcl_starts_from_the_encoder_of_mdm(setting, monkeypatch):
    seen = {}
    original = pretraining.load_pretrained

    def spy(encoder, state, **keywords):
        original(encoder, state, **keywords)
        seen["start"] = {name: value.clone() for name, value in encoder.state_dict().items()}

    monkeypatch.setattr(pretraining, "load_pretrained", spy)
    pretrain("mdm+mmcl", setting)
    mdm = pretraining.ecg_encoder_weights(setting.run.checkpoints / "mdm")
    assert torch.equal(seen["start"]["blocks.0.attn.qkv.weight"], mdm["blocks.0.attn.qkv.weight"])
    assert (setting.run.checkpoints / "mdm" / FINISHED).exists()


def test_an_unknown_arm_is_named(setting):
    with pytest.raises(ValueError, match="unknown arm 'mcl'; expected one of mdm"):
        pretrain("mcl", setting)


def _from_the_shell(processes: int, *command: str, fails: bool = False) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}", "--standalone"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | (
        {"TOY_FAILS": "1"} if fails else {}
    )
    done = subprocess.run([*launch, *command], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
    assert (done.returncode != 0) == fails, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["mdm+mmcl", "simclr"])
def test_two_processes_train_together_from_the_shell(setting, arm):
    _from_the_shell(2, "-m", "mmcl", "pretrain", arm, "--profile=smoke", "--device=cpu")
    folder = setting.run.checkpoints / arm
    assert pretraining.summary(folder)["epochs"] == len(pretraining.history(folder)) == 3
    assert weights(folder)


@pytest.mark.slow
def test_two_processes_of_8_train_to_the_weights_of_one_of_16(setting):
    """The whole of a CLIP training, under Lightning's `ddp` and torchrun, of a model without BatchNorm."""
    folder, found = setting.run.checkpoints / "toy", []
    for processes in (1, 2):
        _from_the_shell(processes, "tests/training/toy_objective.py")
        found.append((weights(folder), pretraining.history(folder)))
        shutil.rmtree(folder)
    (one, losses), (two, same) = found
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert same["train_loss"].to_numpy() == pytest.approx(losses["train_loss"].to_numpy(), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("before, after", [(2, 1), (1, 2)])
def test_a_training_goes_on_with_another_number_of_processes(setting, before, after):
    folder = setting.run.checkpoints / "toy"
    _from_the_shell(1, "tests/training/toy_objective.py")
    whole = weights(folder)
    shutil.rmtree(folder)
    _from_the_shell(before, "tests/training/toy_objective.py", fails=True)
    assert (folder / LAST).exists() and not (folder / FINISHED).exists()
    _from_the_shell(after, "tests/training/toy_objective.py")
    for name, value in whole.items():
        torch.testing.assert_close(weights(folder)[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert len(pretraining.history(folder)) == 2

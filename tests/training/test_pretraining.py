"""Pre-training: finished, resumed and repeated runs give the same weights."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from mmcl.config import preset, profile
from mmcl.paths import Run
from mmcl.training import pretraining
from mmcl.training.pretraining import FINISHED, WEIGHTS, pretrain
from mmcl.training.trainer import LAST

CPU = torch.device("cpu")
PROFILE, PRESET = profile("smoke"), preset("corrected")


@pytest.fixture
def run(smoke_run, tmp_path, monkeypatch):
    """A run of its own that shares the store."""
    store = smoke_run.store
    monkeypatch.setenv("MMCL_BUILD", str(tmp_path))
    new = Run("smoke")
    new.folder.mkdir(parents=True)
    new.store.symlink_to(store)
    return new


def weights(folder):
    return load_file(folder / WEIGHTS)


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_finished_training_is_returned_untouched(run):
    folder = pretrain("mdm", run, PROFILE, PRESET, CPU)
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert pretrain("mdm", run, PROFILE, PRESET, CPU) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times


def test_other_numbers_train_anew(run):
    folder = pretrain("mdm", run, PROFILE, PRESET, CPU)
    before = weights(folder)
    faster = dataclasses.replace(PROFILE, mdm=dataclasses.replace(PROFILE.mdm, learning_rate=5e-3))
    pretrain("mdm", run, faster, PRESET, CPU)
    assert not torch.equal(before["decoder_pred.weight"], weights(folder)["decoder_pred.weight"])


@pytest.mark.parametrize("arm", ["mdm", "mmcl"])
def test_a_killed_training_goes_on_to_the_same_weights(run, arm, monkeypatch):
    folder = pretrain(arm, run, PROFILE, PRESET, CPU)
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
        pretrain(arm, run, PROFILE, PRESET, CPU)
    assert (folder / LAST).exists() and not (folder / FINISHED).exists() and not (folder / WEIGHTS).exists()
    pretrain(arm, run, PROFILE, PRESET, CPU)
    assert_equal(whole, weights(folder))
    assert len(pretraining.history(folder)) == 3


def test_mmcl_starts_from_the_encoder_of_mdm(run, monkeypatch):
    seen = {}
    original = pretraining.load_pretrained

    def spy(encoder, state, **keywords):
        original(encoder, state, **keywords)
        seen["start"] = {name: value.clone() for name, value in encoder.state_dict().items()}

    monkeypatch.setattr(pretraining, "load_pretrained", spy)
    pretrain("mdm+mmcl", run, PROFILE, PRESET, CPU)
    mdm = pretraining.ecg_encoder_weights(run.checkpoints / "mdm")
    assert torch.equal(seen["start"]["blocks.0.attn.qkv.weight"], mdm["blocks.0.attn.qkv.weight"])
    assert (run.checkpoints / "mdm" / FINISHED).exists()


def test_an_unknown_arm_is_named(run):
    with pytest.raises(ValueError, match="unknown arm 'mcl'; expected one of mdm"):
        pretrain("mcl", run, PROFILE, PRESET, CPU)

"""Weights of chosen epochs, and the cell-wise term that MMCL may have."""

import dataclasses

import torch
from safetensors.torch import load_file

from mmcl.training.kept_epochs import kept_epochs
from mmcl.training.pretraining import WEIGHTS, load_module, pretrain


def _with(setting, **changes):
    recipe = dataclasses.replace(setting.profile.mmcl, epochs=2, **changes)
    return dataclasses.replace(setting, profile=dataclasses.replace(setting.profile, mmcl=recipe))


def test_chosen_epochs_are_kept_and_forgotten_with_the_training(own_setting):
    folder = pretrain("mmcl", _with(own_setting, keep_epochs=(1, 2)))
    files = kept_epochs(folder)
    assert list(files) == [1, 2]
    first = load_module(folder, "mmcl", own_setting.profile, own_setting.preset, files[1]).model.state_dict()
    second, chosen = load_file(folder / files[2]), load_file(folder / WEIGHTS)
    name = "projection_head_ecg.layers.0.weight"
    assert not torch.equal(first[name], second[name])
    assert any(torch.equal(chosen[name], state[name]) for state in (first, second))
    assert kept_epochs(pretrain("mmcl", _with(own_setting, keep_epochs=(), learning_rate=1e-4))) == {}


def test_a_cell_weight_changes_what_is_learnt_and_zero_does_not(own_setting):
    def weights(**changes):
        return load_file(pretrain("mmcl", _with(own_setting, **changes)) / WEIGHTS)

    plain, again, local = weights(), weights(cell_weight=0.0), weights(cell_weight=1.0)
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert not torch.equal(plain["encoder_imaging.conv1.weight"], local["encoder_imaging.conv1.weight"])

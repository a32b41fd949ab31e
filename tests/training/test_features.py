"""Frozen features under single choices of a preset: windows, norm, and what the CMR encoder sees."""

import numpy as np
import pytest
import torch

from mmcl.config import preset
from mmcl.data.augmentation import first_crop, tiled_crops
from mmcl.data.store import Store
from mmcl.data.store_writer import StoreWriter
from mmcl.setting import open_setting
from mmcl.training.features import cmr_features, ecg_encoder, ecg_features, stored_features
from mmcl.training.pretraining import load_module, pretrain


def opened(name):
    return open_setting("smoke", device="cpu", choices=name)


@torch.no_grad()
def test_tiling_averages_all_windows_and_the_published_form_takes_the_first(smoke_run):
    setting, records = opened("corrected"), np.array(Store.open(smoke_run.store).ecg[:3])
    encoder, window = ecg_encoder("random", setting), setting.profile.ecg.window
    first, tiled = (
        ecg_features(encoder, records, window, preset(name), setting.device)
        for name in ("corrected-tile_crops", "corrected")
    )
    crops = tiled_crops(torch.from_numpy(records), window)
    assert crops.shape[1] > 1
    np.testing.assert_allclose(first, encoder(first_crop(torch.from_numpy(records), window)).numpy(), atol=1e-5)
    np.testing.assert_allclose(tiled, np.mean([encoder(c).numpy() for c in crops.unbind(1)], axis=0), atol=1e-5)
    assert np.abs(first - tiled).max() > 1e-3


@torch.no_grad()
def test_the_published_norm_reaches_the_features(smoke_run):
    once, twice = (ecg_encoder("random", opened(name)) for name in ("corrected", "corrected-single_fc_norm"))
    ecg = torch.randn(2, 12, once.grid[1] * once.patch)
    torch.nn.init.uniform_(once.fc_norm.weight, 0.5, 1.5)
    twice.load_state_dict(once.state_dict())
    torch.testing.assert_close(twice(ecg), once.fc_norm(once(ecg)))
    assert (twice(ecg) - once(ecg)).abs().max() > 0.01


def test_the_cmr_encoder_sees_crops_or_whole_frames(smoke_run):
    setting = opened("corrected-crop_in_evaluation")
    assert setting.run.folder != smoke_run.folder, "presets do not mix"
    crops = Store.open(smoke_run.store)
    frame = np.pad(crops.cmr, [(0, 0), (0, 0), (10, 0), (0, 10)])
    shapes = {"ecg": crops.ecg.shape[1:], "cmr": crops.cmr.shape[1:], "frame": frame.shape[1:]}
    with StoreWriter(setting.run.store, shapes, {"source": "test"}) as writer:
        writer.append(crops.subjects, ecg=crops.ecg, cmr=crops.cmr, frame=frame)
    features = stored_features("cmr", setting)
    folder = pretrain("mdm+mmcl", setting)
    encoder = load_module(folder, "mdm+mmcl", setting.profile, setting.preset).model.encoder_imaging
    view = setting.profile.cmr
    np.testing.assert_array_equal(features, cmr_features(encoder, frame, view, setting.device))
    assert np.abs(features - cmr_features(encoder, crops.cmr, view, setting.device)).max() > 1e-3


def test_a_store_without_whole_frames_says_which_choice_needs_them(smoke_run):
    with pytest.raises(ValueError, match="crop_in_evaluation"):
        Store.open(smoke_run.store).images(cropped=False)

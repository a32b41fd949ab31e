"""What training leaves behind is what `mmcl.load_encoder` loads, from the file alone."""

import numpy as np
import pytest
import torch

from mmcl.data.store import Store
from mmcl.models.pretrained import export_encoder, load_encoder
from mmcl.setting import open_setting
from mmcl.training.features import ecg_encoder, ecg_features
from mmcl.training.pretraining import WEIGHTS, pretrain
from mmcl.training.trainer import BEST, LAST


@pytest.fixture(scope="module")
def setting(smoke_run, tmp_path_factory):
    """A run of its own that shares the store of `smoke_run`."""
    store = smoke_run.store
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMCL_BUILD", str(tmp_path_factory.mktemp("weights")))
        new = open_setting("smoke", device="cpu")
        new.run.folder.mkdir(parents=True)
        new.run.store.symlink_to(store)
        yield new


@pytest.mark.parametrize("arm", ["mdm", "mdm+mmcl", "byol"])
def test_every_file_of_a_training_loads(setting, arm, tmp_path):
    folder, expected = pretrain(arm, setting), ecg_encoder(arm, setting)
    records = Store.open(setting.run.store).ecg[:4]
    window, device = setting.profile.ecg.window, torch.device("cpu")
    expected_features = ecg_features(expected, records, window, setting.preset, device)
    encoder = load_encoder(folder / WEIGHTS)
    assert (encoder.sampling_rate, encoder.window) == (setting.profile.ecg.sampling_rate, window)
    for loaded in (encoder, load_encoder(export_encoder(encoder, tmp_path / "x"))):
        features = ecg_features(loaded, records, window, setting.preset, device)
        np.testing.assert_array_equal(features, expected_features)
    for name in (BEST, LAST):
        loaded = load_encoder(folder / name)
        state = torch.load(folder / name, weights_only=True)["state_dict"]
        names = [key for key in state if key.endswith("encoder_ecg.cls_token") or key.endswith("encoder.cls_token")]
        torch.testing.assert_close(loaded.model.cls_token, state[min(names, key=len)], rtol=0, atol=0)
        assert loaded.model.blocks[0].attn.heads == setting.profile.encoder.heads
        assert loaded.sampling_rate == setting.profile.ecg.sampling_rate


def test_the_cmr_encoder_of_a_training_loads(setting):
    folder = pretrain("mdm+mmcl", setting)
    state = torch.load(folder / BEST, weights_only=True)["state_dict"]
    loaded = load_encoder(folder / BEST, modality="cmr")
    torch.testing.assert_close(loaded.conv1.weight, state["model.encoder_imaging.conv1.weight"], rtol=0, atol=0)
    assert loaded(torch.rand(2, 3, 48, 48)).shape == (2, loaded.width)

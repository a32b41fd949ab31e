"""Probes by layer: the layers are the encoder's, and what is linear in one is found there."""

import dataclasses

import numpy as np
import pytest
import torch

from mmcl.data.store import Store
from mmcl.interpretation.decodability import POOLED, decodability, layer_features
from mmcl.phenotypes import GROUPS
from mmcl.training.features import ecg_encoder, ecg_features


@torch.no_grad()
def test_the_last_layer_is_what_probes_use_and_the_one_before_its_mean_token(own_setting):
    setting, records = own_setting, np.array(Store.open(own_setting.run.store).ecg[:5])
    encoder, window = ecg_encoder("random", setting), setting.profile.ecg.window
    layers = layer_features(encoder, records, window, setting.device, batch=2)
    assert list(layers) == ["embedding", *(f"block {k + 1}" for k in range(len(encoder.blocks))), POOLED]
    first = dataclasses.replace(setting.preset, tile_crops=False)
    np.testing.assert_allclose(layers[POOLED], ecg_features(encoder, records, window, first, setting.device), atol=1e-5)
    ecg = torch.from_numpy(records[:, :, :window]).float()
    np.testing.assert_allclose(layers[list(layers)[-2]], encoder.tokens(ecg).mean(dim=1).numpy(), atol=1e-5)


def test_a_phenotype_made_of_one_layer_is_read_there(own_setting):
    setting, store = own_setting, Store.open(own_setting.run.store)
    layers = layer_features(ecg_encoder("random", setting), store.ecg, setting.profile.ecg.window, setting.device)
    strongest = layers["block 1"][:, layers["block 1"].std(axis=0).argmax()]
    subjects = store.subjects.assign(LVM=strongest, LVEDV=np.nan)
    table = decodability(["random"], setting, dataclasses.replace(store, subjects=subjects))
    assert table["value"].xs(("random", "block 1"), level=("arm", "layer"))["LVM"] > 0.5
    assert "LVEDV" not in table.index.unique("target"), "a phenotype that nobody has"
    pooled = table["value"].xs(("random", POOLED), level=("arm", "layer"))
    known = [name for name in GROUPS["LV"] if name != "LVEDV"]
    assert pooled["LV mean"] == pytest.approx(pooled[known].mean())
    assert (table["low"] <= table["high"]).all()

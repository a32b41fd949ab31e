"""Every profile's models take one training step at their own sizes, on their own shapes."""

import dataclasses

import numpy as np
import pytest
import torch

from mmcl.config import preset
from mmcl.profiles import PROFILES
from mmcl.training.batches import generator
from mmcl.training.objectives import OBJECTIVES


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", PROFILES)
def test_one_step_lowers_nothing_to_nan_and_moves_every_trainable_weight(name, objective):
    profile = PROFILES[name]
    module = OBJECTIVES[objective](profile, preset("corrected"), seed=0)
    module.record = lambda *arguments, **scores: None  # logging needs a trainer
    random = np.random.default_rng(0)
    side = profile.cmr.crop
    batch = {
        "ecg": torch.from_numpy(random.standard_normal((4, 12, profile.ecg.record)).astype(np.float16)),
        "cmr": torch.from_numpy(random.integers(0, 256, (4, 3, side, side), dtype=np.uint8)),
        "subject": torch.arange(4),
    }
    loss = module.step("train", batch, generator(torch.device("cpu"), 0))
    loss.backward()
    assert torch.isfinite(loss)
    # The class token's own output feeds no mean pooling, but the token is a key of every block before the last.
    still = [n for n, p in module.model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not still


def test_profiles_differ_in_numbers_alone():
    """Every profile is made of the same classes, field by field, and says what it is called."""

    def kinds(value):
        if dataclasses.is_dataclass(value):
            return {f.name: kinds(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return type(value).__name__

    shapes = [kinds(profile) for profile in PROFILES.values()]
    assert shapes[0] == shapes[1] == shapes[2]
    assert all(profile.name == name for name, profile in PROFILES.items())

"""The arms that are interpreted are those that the grid of a profile probes."""

import pytest

from mmcl.interpretation.models import ecg_arms, pair_arms
from mmcl.setting import open_setting


@pytest.mark.parametrize("profile", ["smoke", "demo"])
def test_small_profiles_interpret_the_arms_compared(profile):
    setting = open_setting(profile, device="cpu")
    assert ecg_arms(setting) == ["random", "mdm", "mmcl", "mdm+mmcl"]
    assert pair_arms(setting) == ["random", "mmcl", "mdm+mmcl"]


def test_the_paper_interprets_all_it_probes_but_ablations_and_image_encoders():
    setting = open_setting("paper", device="cpu")
    beyond = ["sigmoid", "local", "cells", "joint"]
    assert pair_arms(setting) == ["random", "mmcl", "mdm+mmcl", *beyond]
    assert {*beyond, "simclr", "clocs"} < set(ecg_arms(setting))
    assert not {"cmr", "cmr_simclr", "mdm.mask_0.4"} & set(ecg_arms(setting))

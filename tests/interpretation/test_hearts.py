"""What is read of simulated hearts, subject by subject."""

import numpy as np
import pandas as pd
import pytest

from mmcl.data.store import Store
from mmcl.interpretation.hearts import read_hearts


def test_rows_follow_the_subjects_asked_for(simulated_setting):
    subjects = pd.Series(["sub003", "sub000"])
    hearts = read_hearts(simulated_setting.run.raw, subjects)
    assert list(hearts["number"]) == [3, 0]
    np.testing.assert_allclose(hearts["scar"], hearts["scar_7"] / 16)
    assert hearts["axis"].tolist() == pytest.approx([-170 + 3 * 340 / 39 + 360, 190]), "from -90 to 270 degrees"


def test_other_cohorts_have_none_and_strangers_are_named(simulated_setting, tmp_path):
    assert read_hearts(tmp_path / "elsewhere", Store.open(simulated_setting.run.store).subjects["subject"]) is None
    with pytest.raises(ValueError, match="no subject 1000001; expected those of the store"):
        read_hearts(simulated_setting.run.raw, pd.Series(["sub001", "1000001"]))

"""A run whose store has simulated subjects beside it, as the raw files of the simulated cohort tell."""

import numpy as np
import pandas as pd
import pytest

from mmcl.data.store import Store


@pytest.fixture
def simulated_setting(own_setting):
    """The setting of a run with the truth of 40 subjects, whose scars lie in segment 7 and go with LVM."""
    subjects = Store.open(own_setting.run.store).subjects
    scars = {f"scar_{k}": np.zeros(len(subjects)) for k in range(1, 17)}
    scars["scar_7"] = subjects["LVM"].fillna(50).to_numpy() / 100
    table = pd.DataFrame({"eid": subjects["subject"], "axis": np.linspace(-170, 170, len(subjects)), **scars})
    own_setting.run.raw.mkdir(parents=True)
    table.to_csv(own_setting.run.raw / "truth.tsv", sep="\t", index=False)
    return own_setting

"""Entries in parts of the test set of a store: who is in which part is looked up; truth is used where there is one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from mmcl.data.store import Store
from mmcl.evaluation.metrics import r2
from mmcl.evaluation.predictions import Predictions
from mmcl.setting import open_setting
from mmcl.training.subgroups import score_subgroups


@dataclass(frozen=True)
class Scored:
    """An entry whose predictions are at hand."""

    given: dict[int, Predictions]
    arm: str = "mdm"
    mode: str = "probe"
    labels: str = "all"

    def load(self, split: str) -> dict[int, Predictions]:
        return self.given


@pytest.fixture
def people(smoke_run) -> pd.DataFrame:
    return Store.open(open_setting("smoke", device="cpu").run.store).subjects.iloc[::-1]


def predictions(people: pd.DataFrame, name: str) -> Predictions:
    truth = people[[name]].to_numpy(dtype=float)
    noise = np.random.default_rng(0).random(truth.shape)
    score = np.where(np.isfinite(truth), truth, 50) + noise if name == "LVM" else noise
    return Predictions(people["subject"].to_numpy(), (name,), truth, score)


def test_phenotypes_of_women_are_those_of_women(people):
    given = predictions(people, "LVM")
    table = score_subgroups([Scored({0: given}), Scored({})], "phenotypes", open_setting("smoke", device="cpu"))
    women = (people["sex"] == 0).to_numpy()
    row = table[(table["subgroup"] == "women") & (table["reference"] == "")].squeeze()
    assert row["value"] == pytest.approx(float(r2(given.truth[women], given.score[women])[0]))
    assert set(table["subgroup"]) == {
        "women",
        "men",
        "age 65 or more",
        "age below 65",
        "BMI 25 or more",
        "BMI below 25",
    }
    assert (table["metric"] == "R2").all() and len(table) == 9
    nothing = score_subgroups([Scored({})], "phenotypes", open_setting("smoke", device="cpu"))
    assert nothing.empty and list(nothing.columns) == list(table.columns)


def test_scars_are_scored_only_where_the_cohort_knows_them(people):
    setting, given = open_setting("smoke", device="cpu"), predictions(people, "CAD")
    assert not score_subgroups([Scored({0: given})], "risk", setting)["subgroup"].str.contains("scar").any()
    truth = pd.DataFrame(0.0, index=people["subject"], columns=[f"scar_{k}" for k in range(1, 17)])
    truth.loc[(people["CAD"] == 1).to_numpy(), ["scar_1", "scar_2"]] = 0.4
    path = setting.run.raw / "truth.tsv"
    path.parent.mkdir(parents=True)
    try:
        truth.assign(culprit=-1).rename_axis("eid").to_csv(path, sep="\t")
        table = score_subgroups([Scored({0: given})], "risk", setting).set_index("subgroup")
    finally:
        path.unlink()
        path.parent.rmdir()
    assert table.loc["small scar", "n"] == len(people) and np.isfinite(table.loc["small scar", "value"])
    assert table.loc[["large scar", "no scar", "LAD"], "value"].isna().all()

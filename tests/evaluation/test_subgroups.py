"""Parts of the test set: who is in them, their scores, and differences that are unpaired."""

import numpy as np
import pandas as pd
import pytest

from mmcl.evaluation.metrics import auroc, r2
from mmcl.evaluation.predictions import Predictions
from mmcl.evaluation.subgroups import coronary_groups, read_coronary_truth, score_coronary, score_groups, subject_groups

N = 400
NAMES = {"task": "risk", "arm": "mdm", "mode": "probe", "labels": "all"}


def predictions(seed=1) -> Predictions:
    """CAD, found the better the larger the number of the subject."""
    truth = np.tile([0.0, 0.0, 1.0, 0.0], N // 4)[:, None]
    signal = truth * np.linspace(0, 6, N)[:, None]
    score = 1 / (1 + np.exp(2 - signal - np.random.default_rng(seed).normal(size=truth.shape)))
    return Predictions(np.array([f"s{k:03d}" for k in range(N)]), ("CAD",), truth, score)


def test_parts_by_sex_age_and_body_mass():
    subjects = pd.DataFrame(
        {
            "age": [64.9, 65.0, np.nan],
            "sex": ["female", "male", "1"],
            "height": [1.6, 180.0, 1.7],
            "weight": [64.1, 80.0, 75.0],
            "bsa": [1.7, 2.0, 1.9],
        }
    )
    sex, age, body = subject_groups(subjects)
    assert {name: mask.tolist() for name, mask in sex.items()} == {
        "women": [True, False, False],
        "men": [False, True, True],
    }
    assert [mask.tolist() for mask in age.values()] == [[False, True, False], [True, False, False]]
    assert body["BMI 25 or more"].tolist() == [True, False, True]


def test_each_part_is_scored_alone_and_the_difference_is_unpaired():
    given = predictions()
    late = np.arange(N) >= N // 2
    table = score_groups({0: given}, [{"late": late, "early": ~late}], ("AUROC",), 300, 0, **NAMES)
    plain, paired = table[table["reference"] == ""].set_index("subgroup"), table[table["reference"] == "early"]
    expected = {
        name: float(auroc(given.truth[mask], given.score[mask])[0]) for name, mask in (("late", late), ("early", ~late))
    }
    assert plain["value"].to_dict() == pytest.approx(expected) and (plain["n"] == N // 2).all()
    (row,) = paired.to_dict("records")
    assert row["subgroup"] == "late" and row["n"] == N
    assert row["value"] == pytest.approx(expected["late"] - expected["early"]) and row["low"] > 0 and row["p"] < 0.01
    error = (row["high"] - row["low"]) / 3.92
    parts = ((plain["high"] - plain["low"]) / 3.92).to_numpy()
    assert error == pytest.approx(np.hypot(*parts), rel=0.15), "variances of independent parts add up"


def test_phenotypes_and_seeds():
    truth = np.random.default_rng(0).normal(size=(N, 1))
    both = {
        seed: Predictions(
            np.arange(N).astype(str), ("LVM",), truth, truth + np.random.default_rng(seed).normal(size=(N, 1))
        )
        for seed in (1, 2)
    }
    mask = np.arange(N) < 100
    table = score_groups(both, [{"few": mask, "rest": ~mask}], ("R2",), 50, 0, **NAMES)
    expected = np.mean([r2(p.truth[mask], p.score[mask]) for p in both.values()])
    assert table["value"][0] == pytest.approx(expected) and table["seed"][0] == "1 2"


def test_a_part_with_too_few_cases_is_not_scored():
    mask = np.arange(N) < 12
    table = score_groups({0: predictions()}, [{"few": mask, "rest": ~mask}], ("AUROC",), 20, 0, **NAMES)
    rows = table.set_index(["subgroup", "reference"])["value"]
    assert np.isnan(rows["few", ""]) and np.isnan(rows["few", "rest"]) and np.isfinite(rows["rest", ""])


def test_simulated_scars_by_size_and_artery(tmp_path):
    depth = np.zeros((4, 16))
    depth[1, :2], depth[2, :5], depth[3, 0] = 0.5, 0.3, 0.05
    truth = pd.DataFrame(depth, columns=[f"scar_{k}" for k in range(1, 17)], index=list("abcd")).assign(
        culprit=[-1, 0, 2, 1]
    )
    parts = {name: mask.tolist() for name, mask in coronary_groups(truth).items()}
    assert parts["no scar"] == [True, False, False, True]
    assert parts["small scar"] == [False, True, False, False] and parts["large scar"] == [False, False, True, False]
    assert parts["LAD"] == [False, True, False, False] and parts["LCX"] == [False, False, True, False]
    path = tmp_path / "truth.tsv"
    assert read_coronary_truth(path, np.array(["a"])) is None, "no real cohort has the file"
    truth.rename_axis("eid").to_csv(path, sep="\t")
    assert read_coronary_truth(path, np.array(["c", "a"])).index.tolist() == ["c", "a"]
    with pytest.raises(ValueError, match="truth.tsv: subject 'z' is missing"):
        read_coronary_truth(path, np.array(["a", "z"]))


def test_cases_of_a_part_stand_against_all_controls():
    given = predictions()
    late = np.arange(N) >= N // 2
    table = score_coronary({0: given}, {"late": late}, 50, 0, **NAMES)
    chosen = (given.truth[:, 0] == 0) | late
    (row,) = table.to_dict("records")
    assert row["value"] == pytest.approx(float(auroc(given.truth[chosen], given.score[chosen])[0]))
    assert row["n"] == chosen.sum() and row["subgroup"] == "late"

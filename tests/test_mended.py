"""What was mended, measured: every choice has its fault and its numbers, and each measure can tell the forms apart."""

import numpy as np
import pandas as pd
import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping

from mmcl.config import CHOICES
from mmcl.data.store import Store
from mmcl.mended import (
    FAULTS,
    Change,
    centred_cosine,
    inverted,
    kept,
    measure_changes,
    page,
    probe_score,
    stopping_epoch,
)
from mmcl.plotting.mended import draw_mended
from mmcl.setting import open_setting
from mmcl.training.finetuning import finetune


@pytest.fixture(scope="module")
def changes(smoke_run):
    setting = open_setting("smoke", device="cpu")
    finetune("scratch", "risk", None, 0, setting)
    return measure_changes(setting)


def test_every_choice_has_a_fault_and_is_measured(changes):
    assert tuple(FAULTS) == CHOICES
    assert list(dict.fromkeys(changes["choice"])) == list(CHOICES)
    table = page(changes)
    assert list(table.index) == list(CHOICES) and table.notna().all(axis=None)
    assert "59 -> 60" in table.loc["round_kept_tokens", "published -> mended"]


def test_the_numbers_move_where_the_forms_differ(changes):
    moved = changes.set_index("measure")
    assert (moved["published"] != moved["mended"]).loc[
        ["mean change of the head's input, relative", "mean R2 of phenotypes", "CAD AUPRC",
         "cosine of local vectors with the mended ones"]
    ].all()  # fmt: skip
    assert moved.loc["mean R2 of phenotypes", "published"] > moved.loc["mean R2 of phenotypes", "mended"]
    time = moved.loc["cosine with the native features, 4 of 6 patches of time"]
    assert time["published"] == time["mended"] < 1
    leads = moved.loc["cosine with the native features, 8 of 12 leads"]
    assert np.isnan(leads["published"]) and 0 < leads["mended"] < 1
    assert moved.loc["mean epochs of a fine-tuning", "n"] >= 1  # others may have been trained in the shared run


def test_what_the_run_holds_no_data_for_says_so(changes):
    without = changes[changes["choice"].isin(["whole_icd_list", "crop_in_evaluation", "centre_crop"])]
    assert without[["published", "mended"]].isna().all(axis=None)
    assert set(without["note"]) == {"no hospital records at hand", "no raw images", "no raw segmentations"}


def test_only_scores_and_shares_are_drawn(changes):
    figure = draw_mended(changes, "simulated, 8 subjects")
    labels = " ".join(text.get_text() for text in figure.axes[0].get_yticklabels())
    assert "AUPRC" in labels and "tokens kept" not in labels and "8 of 12 leads" not in labels
    with pytest.raises(ValueError, match="at least one row"):
        draw_mended(changes[changes["choice"] == "round_kept_tokens"], "simulated")


def test_tokens_and_inverted_records():
    setting = open_setting("smoke", device="cpu")
    own, paper = kept(setting)
    assert paper == Change("round_kept_tokens", "tokens kept, paper", 59.0, 60.0, 300)
    own, paper = inverted(setting, draws=4000)
    # A normal deviate of mean 1 and deviation 0.5 is negative in 2.28 %.
    assert paper.published == pytest.approx(0.0228, abs=0.007) and paper.mended == own.mended == 0


@pytest.mark.parametrize(
    "curve", [[0.5, 0.6, 0.55, 0.58, 0.59, 0.4], [0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5], [0.6, 0.3, 0.3, 0.3, 0.2]]
)
def test_the_strict_rule_is_that_of_lightning(curve):
    rule, expected = EarlyStopping("score", mode="max", patience=2, min_delta=0.0), None
    for epoch, score in enumerate(curve, start=1):
        if rule._evaluate_stopping_criteria(torch.tensor(score))[0]:
            expected = epoch
            break
    assert stopping_epoch(curve, 2, strict=True) == expected


def test_the_published_rule_stops_only_after_a_fall_by_a_quarter():
    assert stopping_epoch([0.6, 0.5, 0.5, 0.4, 0.4, 0.4], 2, strict=False) is None
    assert stopping_epoch([0.6, 0.3, 0.3, 0.3, 0.3], 2, strict=False) == 4


def test_a_probe_finds_what_is_there_and_nothing_else(smoke_run):
    store = Store.open(smoke_run.store)
    parts = {split: store.indices(split) for split in ("train", "validation", "test")}
    rows = np.concatenate(list(parts.values()))
    labels = store.subjects[["CAD", "AF", "DM"]].to_numpy(float)
    assert probe_score(labels[rows] * 2.0, labels, parts, "risk") == 1.0
    assert probe_score(np.zeros((len(rows), 2)), labels, parts, "risk") == 0.5


def test_cosine_leaves_out_what_all_share():
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 500, 8)) + 100
    assert abs(centred_cosine(first, second)) < 0.1
    assert centred_cosine(first, first + 5) == pytest.approx(1)


def test_an_absent_form_is_told():
    row = pd.DataFrame([vars(Change("centre_crop", "share", np.nan, 0.5, 3, "an error"))])
    assert page(row).loc["centre_crop", "published -> mended"] == "share: none -> 0.5 (n = 3; an error)"

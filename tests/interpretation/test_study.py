"""The study on a small store: what is measured with a segmentation and the truth, and what is left out without."""

import dataclasses

import numpy as np
import pytest

from mmcl.data.store import Store
from mmcl.interpretation import study
from mmcl.interpretation.image_maps import PLACE, image_maps, image_scores
from mmcl.interpretation.models import contrastive_model, untrained_model
from mmcl.interpretation.sample import draw_sample
from mmcl.interpretation.sanity import cascade, map_similarity, permuted_labels, sanity_table, shifted_input
from mmcl.interpretation.scores import score_table
from mmcl.interpretation.truth import Truth
from mmcl.interpretation.verdict import sanity_verdicts
from mmcl.interpretation.waves import Fiducials


@pytest.fixture(scope="module")
def setting(smoke_run):
    from mmcl.setting import open_setting

    return open_setting("smoke", device="cpu")


@pytest.fixture(scope="module")
def sample(setting, smoke_run):
    """Noise for ECG and CMR, of which nothing is known."""
    return draw_sample(setting, Store.open(smoke_run.store))


@pytest.fixture(scope="module")
def known(sample):
    """The same subjects with a segmentation, a scar in every second and the truth of their hearts."""
    n = len(sample)
    row, column = np.indices(sample.images.shape[1:]) - 39
    radius = np.hypot(row, column)
    labels = np.tile(np.where(radius < 10, 3, np.where(radius < 16, 2, 0)).astype(np.uint8), (n, 1, 1))
    labels[::2][:, (row < -10) & (radius < 16) & (np.abs(column) < 4)] = 4
    fiducials = Fiducials(
        np.tile([[0.5, 1.3, 2.1]], (n, 1)), *np.full((3, n), [[0.16], [0.1], [0.4]]), np.zeros((n, 3), int)
    )
    depth, supply = np.zeros((n, 16)), np.zeros((n, 16), int)
    depth[::2, 6], supply[:, [9, 10, 11]] = 0.7, 1
    facing = np.where(depth.any(axis=1)[:, None], np.linspace(-1, 1, 12), np.nan)
    truth = Truth(fiducials, np.tile(np.linspace(0, 90, 40), (n, 1)), supply, depth, facing)
    onsets, waves = np.full(n, -0.04), np.zeros(sample.waves.shape, np.uint8)
    waves[:, 40:55], waves[:, 55:68], waves[:, 68:78], waves[:, 78:110] = 1, 2, 3, 4
    return dataclasses.replace(sample, labels=labels, truth=truth, fiducials=fiducials, waves=waves, onsets=onsets)


def where(maps, sample, setting):
    scores = image_scores(maps, sample)
    return score_table(scores, PLACE, setting, "random", scores)


def test_maps_of_images_have_one_row_a_place_and_its_baselines(known, setting):
    maps = image_maps(contrastive_model("random", setting), known, setting)
    assert all(one.shape == other.shape and len(one) == 8 for one, other in maps.values())
    own, shuffled = maps["localisation"]
    less = maps["localisation, less others"].own
    assert (np.abs(own) <= 1).all() and not np.allclose(own, shuffled)
    # What one's own ECG adds to the mean of the others sums to nothing over all ECGs of one image.
    assert np.abs(less).max() < np.abs(own).max()
    table = where(maps, known, setting)
    heart = table[(table["region"] == "heart") & (table["measure"] == "positive share")]
    assert len(heart) == len(maps) and heart["baseline"].to_numpy() == pytest.approx(np.pi * 16**2 / 78**2, rel=0.02)
    assert (table.loc[table["region"] == "scar", "n"] <= 4).all()
    hits = table[table["measure"] == "territory of the scar"].set_index(["map", "region"])
    assert hits.loc[("occlusion", "all"), "baseline"] == pytest.approx(1 / 2)
    assert hits.loc[("occlusion", "LAD"), "n"] == 4 and hits.loc[("occlusion", "RCA"), "n"] == 0


def test_without_segmentation_and_truth_their_rows_are_left_out(sample, known, setting):
    maps = image_maps(contrastive_model("random", setting), sample, setting)
    table = where(maps, sample, setting)
    assert table.empty and {"arm", "map", "measure", "region", "value", "gain_low"} <= set(table.columns)
    only_labels = dataclasses.replace(known, truth=None)
    assert "territory of the scar" not in set(where(maps, only_labels, setting)["measure"])
    told = " ".join(study.left_out(sample, setting))
    assert "mdm are not defined" in told and "no segmentation" in told and "delineator" in told
    assert len(study.left_out(known, setting)) == 1


def test_the_study_of_images_has_the_arms_and_a_reference(known, setting, monkeypatch):
    monkeypatch.setattr(study, "pair_arms", lambda setting: ["random"])
    maps, table = study.study_images(known, setting)
    assert list(maps) == ["random", "cmr"] and set(table["epochs"]) == {0}
    assert set(table.loc[table["arm"] == "cmr", "map"]) == {"Grad-CAM of LVM", "Grad-CAM, layer 2 of LVM"}
    own = table[table["arm"] == "random"].dropna(subset="value")
    assert (own["over_random"] == 0).all() and (own["random"] == own["value"]).all()
    assert (table.loc[table["arm"] == "cmr", "over_random_n"] == 0).all()
    assert 0 < np.nanmax(study.heart_share(maps["cmr"]["Grad-CAM of LVM"].own, known)) <= 1
    beat = study.beat_map("random", known, 3, setting)
    assert beat.maps.shape == (12, 4, 4) and (np.abs(beat.maps) <= 1).all() and beat.seconds == pytest.approx(2.4)
    np.testing.assert_array_equal(beat.trace, known.ecg[3, 1])


def test_the_study_of_ecgs_measures_each_output(known, setting, monkeypatch):
    monkeypatch.setattr(study, "ecg_arms", lambda setting: ["random"])
    maps, table, converged = study.study_ecg(known, setting)
    assert set(maps["random"]) == {"similarity", "CAD", "LVM"} == set(converged["output"])
    assert (converged["median"] < 0.05).all()
    assert not table.duplicated(["output", "map", "measure", "region"]).any()
    at = table.set_index(["output", "map", "measure", "region"])
    assert at.loc[("LVM", "integrated gradients", "share", "QRS"), "baseline"] == pytest.approx(13 / 300)
    leads = table[(table["map"] == "occlusion") & (table["output"] == "CAD") & table["baseline"].eq(1 / 12)]
    assert leads["value"].sum() == pytest.approx(1) and leads["shuffled"].isna().all()
    assert at.loc[("any output", "rollout", "lead AUROC", "facing the scar"), "n"] == 4
    assert np.isfinite(at.loc[("similarity", "localisation", "time correlation", "activation"), "gain"])
    unknown = study.ecg_scores(maps["random"], dataclasses.replace(known, truth=None), setting, "random")
    assert {measure for _, _, measure, _ in unknown} == {"share"}


def test_the_cascade_ends_at_random_weights_and_leaves_the_model_as_it_was(setting):
    model, other = untrained_model(setting, 1), untrained_model(setting, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for side, prefix in (
        ("ecg", ("encoder_ecg", "projection_head_ecg")),
        ("cmr", ("encoder_im", "projection_head_im")),
    ):
        for step, (_, changed) in enumerate(cascade(model, other, side)):
            state = changed.state_dict()
            if step == 0:
                assert all(name.startswith(("projection", "encoder_ecg.fc")) for name in before
                           if not state[name].equal(before[name]))  # fmt: skip
        fresh = other.state_dict()
        assert all(state[name].equal(fresh[name] if name.startswith(prefix) else before[name]) for name in state)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_a_map_is_like_itself_and_unlike_its_negative():
    maps = np.random.default_rng(0).normal(size=(3, 12, 20))
    same, opposite = map_similarity(maps, 2 * maps), map_similarity(maps, -maps)
    assert same["Spearman"] == pytest.approx(np.ones(3)) and same["SSIM"] == pytest.approx(np.ones(3))
    assert opposite["Spearman"] == pytest.approx(-np.ones(3)) and (opposite["SSIM"] < 0).all()
    assert set(map_similarity(maps[:, :, :1], maps[:, :, :1])) == {"Spearman"}


def test_a_shift_that_the_model_undoes_moves_some_maps_and_not_others(sample, setting):
    model = untrained_model(setting, 1)
    found = shifted_input(model, sample, setting, model.project_cmr(sample.cmr))
    change = {name: measures["relative change"] for name, measures in found.items()}
    assert max(change["gradient"].max(), change["localisation"].max(), change["rollout"].max()) < 1e-3
    assert min(change["input x gradient"].min(), change["integrated gradients"].min()) > 0.01


def test_a_head_on_permuted_labels_has_another_map(sample, setting, smoke_run):
    found = permuted_labels("random", sample, setting, Store.open(smoke_run.store))
    assert (np.abs(found["integrated gradients, LVM"]["Spearman"]) < 1).all()


def test_checks_are_passed_by_maps_of_the_model(setting, sample, smoke_run):
    table = sanity_table("random", sample, setting, Store.open(smoke_run.store))
    checks = sanity_verdicts(table).set_index(["side", "map"])
    assert "shifted input" in checks.loc[("ecg", "gradient"), "passed"]
    assert "shifted input" in checks.loc[("ecg", "input x gradient"), "failed"]

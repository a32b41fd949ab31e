"""Who is looked at, and what is known of them: with and without a segmentation, with and without the truth."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from mmcl.data.store import Store
from mmcl.interpretation.sample import draw_sample
from mmcl.interpretation.truth import read_truth
from mmcl.simulation.conductor import ELECTRODES


@pytest.fixture
def scarred(own_setting):
    """The store with a segmentation: a heart in every image, and a scar in every fourth subject's."""
    store = Store.open(own_setting.run.store)
    labels = np.zeros(store.cmr.shape, np.uint8)
    labels[:, :, 20:50, 20:50], labels[:, :, 25:45, 25:45] = 2, 3
    labels[::4, :, 20:25, 30:40] = 4
    return dataclasses.replace(store, labels=labels)


def write_truth(folder, subjects):
    """Raw truth of `subjects`, reversed: all scars in segment 7 (anterior), of hearts at the origin that point left."""
    eid = np.array(list(subjects)[::-1], dtype="U")
    n = len(eid)
    electrodes = np.zeros((n, len(ELECTRODES), 3), np.float32)
    electrodes[:, :3] = [-1, 1, 0], [1, 1, 0], [0, -1, 0]
    electrodes[:, 3:] = [0, 1, 0]
    depth = np.zeros((n, 16), np.float32)
    depth[::2, 6] = 0.5
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "truth.npz",
        eid=eid,
        r_times=np.tile(np.arange(0.5, 10, 1.0), (n, 1)),
        ectopic=np.zeros((n, 10), np.int8),
        activation=np.tile(np.linspace(0, 80, 5, dtype=np.float32), (n, 1)),
        supply=np.zeros((n, 16), np.int8),
        transmurality=depth,
        centre=np.zeros((n, 3), np.float32),
        axis=np.tile(np.float32([1, 0, 0]), (n, 1)),
        roll=np.zeros(n, np.float32),
        electrodes=electrodes,
    )
    pd.DataFrame({"eid": eid, "pr": 160.0, "qrs": 90.0, "qt": 400.0}).to_csv(
        folder / "truth.tsv", sep="\t", index=False
    )


def test_scars_come_first_up_to_one_half(own_setting, scarred):
    profile = dataclasses.replace(own_setting.profile, localisation_subjects=4)
    sample = draw_sample(dataclasses.replace(own_setting, profile=profile), scarred)
    has = sample.mask("scar").any(axis=(1, 2))
    assert len(sample) == 4 and has.sum() == 2 and (np.diff(sample.rows) > 0).all()
    assert (scarred.subjects.loc[sample.rows, "split"] == "test").all()
    assert sample.mask("heart").sum() == 4 * 900 and sample.mask("myocardium").sum() == 4 * 500


def test_everybody_has_somebody_else_as_partner(own_setting, scarred):
    sample = draw_sample(own_setting, scarred)
    assert sorted(sample.partner) == list(range(len(sample))) and (sample.partner != np.arange(len(sample))).all()


def test_a_cohort_without_segmentation_or_truth_has_a_sample_all_the_same(own_setting):
    sample = draw_sample(own_setting, Store.open(own_setting.run.store))
    assert sample.labels is None and sample.truth is None and len(sample) == 8
    assert sample.waves.shape == (8, own_setting.profile.ecg.window)
    with pytest.raises(ValueError, match="no segmentation"):
        sample.mask("heart")


def test_one_modality_is_no_pair(own_setting):
    store = dataclasses.replace(Store.open(own_setting.run.store), cmr=None)
    with pytest.raises(ValueError, match="expected ECG and CMR"):
        draw_sample(own_setting, store)


def test_truth_is_read_in_the_order_of_the_store(own_setting):
    subjects = Store.open(own_setting.run.store).subjects["subject"]
    assert read_truth(own_setting.run.raw, subjects) is None
    write_truth(own_setting.run.raw, subjects)
    truth = read_truth(own_setting.run.raw, subjects[:6])
    assert np.flatnonzero(truth.transmurality[:, 6]).tolist() == [1, 3, 5]
    assert truth.fiducials.qrs == pytest.approx(np.full(6, 0.09))
    with pytest.raises(ValueError, match="no subject sim1000000"):
        read_truth(own_setting.run.raw, pd.Series(["sim1000000"]))


def test_leads_face_a_scar_that_lies_where_they_look_from(own_setting):
    """The heart's axis points left and its anterior wall up: V1 to V6, which lie above, face it, and aVF looks down."""
    subjects = Store.open(own_setting.run.store).subjects["subject"]
    write_truth(own_setting.run.raw, subjects)
    facing = read_truth(own_setting.run.raw, subjects).facing
    assert np.isnan(facing[0]).all()
    np.testing.assert_allclose(facing[1, 6:], 1, atol=1e-6)
    assert facing[1, 5] == pytest.approx(-1) and facing[1, 0] == pytest.approx(0, abs=1e-6)

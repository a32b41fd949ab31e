"""References: which a cohort can have, what they are made of, and that they are computed once."""

import numpy as np
import pytest

import mmcl
from mmcl.data.ecg_preprocessing import preprocess_ecg, reduce_sampling_rate
from mmcl.data.store import Store
from mmcl.data.store_writer import StoreWriter
from mmcl.setting import open_setting
from mmcl.training.probing import REFERENCES, reference
from mmcl.training.reference_features import lacking, reference_features


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    """A run whose store holds 24 subjects of the simulated cohort."""
    monkeypatch.setenv("MMCL_BUILD", str(tmp_path))
    setting = open_setting("smoke", device="cpu")
    cohort = mmcl.simulate_cohort(24, odds=setting.profile.cohort.odds, images=False)
    rate = setting.profile.ecg.sampling_rate
    ecg = reduce_sampling_rate(preprocess_ecg(cohort.ecg), rate)
    people = cohort.subjects[["age", "sex", "height", "weight", "bsa", "systolic"]].assign(
        subject=cohort.subjects.index,
        visit="2",
        flags="",
        split=["train"] * 12 + ["validation"] * 6 + ["test"] * 6,
        CAD=np.arange(24) % 2,
        AF=np.arange(24) // 2 % 2,
        DM=np.arange(24) // 3 % 2,
    )
    table = people.join(cohort.phenotypes).reset_index(drop=True)
    table["LVM"] = table["LVM"].where(np.arange(24) % 5 > 0)
    with StoreWriter(setting.run.store, {"ecg": ecg.shape[1:]}, {"source": "test"}) as writer:
        writer.append(table, ecg=ecg)
    return setting, cohort


def test_the_true_geometry_is_that_of_the_simulated_hearts(simulated):
    setting, cohort = simulated
    features = reference_features("true geometry", setting)
    assert features.shape == (24, 98) and np.isfinite(features).all()
    np.testing.assert_allclose(features[:, :82], cohort.phenotypes.to_numpy(), rtol=1e-6)
    np.testing.assert_allclose(features[:, 82:], cohort.truth.transmurality, rtol=1e-6)


def test_a_store_of_another_simulation_is_named(simulated):
    setting, _ = simulated
    store = Store.open(setting.run.store)
    table = store.folder / "subjects.csv"
    text = store.subjects.assign(age=store.subjects["age"] + 1).to_csv(index=False)
    table.write_text(text)
    with pytest.raises(ValueError, match="subject sim0000000 is .* years old, expected .* made by another simulation"):
        reference_features("true geometry", setting)


def test_components_of_the_median_beat_are_computed_once(simulated):
    setting, _ = simulated
    features = reference_features("median beat", setting)
    assert features.shape == (24, 11)  # 12 training subjects, and as many centred beats less one
    path = setting.run.folder / "features" / "median_beat.npy"
    before = path.stat().st_mtime_ns
    np.testing.assert_array_equal(reference_features("median beat", setting), features)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize("task", ["risk", "phenotypes"])
@pytest.mark.parametrize("name, mode", [("median beat", "components"), ("true geometry", "linear")])
def test_they_are_fitted_as_the_others(simulated, task, name, mode):
    score = reference(name, mode, task, None, simulated[0]).load().score
    assert len(score) == 6 and np.isfinite(score).all()


def test_a_cohort_lacks_what_it_does_not_hold(simulated):
    setting, _ = simulated
    assert {name: lacking(name, setting) for name in REFERENCES if lacking(name, setting)} == {
        "ecg features": "the store holds no measurements of ECGs"
    }


def test_true_hearts_are_known_of_simulated_subjects_alone(own_setting):
    assert not any(lacking(name, own_setting) for name in REFERENCES if name != "true geometry")
    with pytest.raises(ValueError, match="reference 'true geometry': the true hearts are known of simulated subjects"):
        reference("true geometry", "linear", "risk", None, own_setting)

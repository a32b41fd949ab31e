import dataclasses
import errno

import nibabel
import numpy as np
import pandas as pd
import pytest
import wfdb

from mmcl.config import LEADS, CohortConfig, preset
from mmcl.data import store_writer
from mmcl.data.ecg_features import FEATURES
from mmcl.data.labels import label_tasks
from mmcl.data.manifest import Files, LabelRule, Manifest, Readers, SplitRule, Tables, cohort_manifest
from mmcl.data.pipeline import Settings, image_side, prepare, preprocess_cohort
from mmcl.data.readers import read_nifti, read_wfdb
from mmcl.data.store import Store
from mmcl.data.subjects import COLUMNS
from mmcl.phenotypes import PHENOTYPES
from mmcl.profiles import profile

COUNT = 8
SUBJECTS = [f"sim{k:07d}" for k in range(COUNT)]
PROFILE = dataclasses.replace(profile("smoke"), cohort=CohortConfig(train=4, validation=2, test=2))


def write_ecg(path, signal):
    wfdb.wrsamp(
        path.name, fs=500, units=["mV"] * 12, sig_name=list(LEADS), p_signal=signal.T, fmt=["16"] * 12,
        adc_gain=[200.0] * 12, baseline=[0] * 12, write_dir=str(path.parent),
    )  # fmt: skip


def write_image(path, array):
    image = nibabel.Nifti1Image(array, np.eye(4))
    image.header.set_zooms((1.8, 1.8, 10.0, 1.0)[: array.ndim])
    nibabel.save(image, path)


def write_cohort(raw, count=COUNT):
    """A raw folder in the simulated cohort's layout."""
    for name in ("ecg", "cmr"):
        (raw / name).mkdir(parents=True)
    time = np.arange(5000) / 500
    beat = np.exp(-0.5 * (((time % 0.8) - 0.3) / 0.02) ** 2)
    columns, rows = np.indices((60, 64))
    for k, subject in enumerate(SUBJECTS[:count]):
        generator = np.random.default_rng(k)
        signal = beat * generator.uniform(0.5, 1.5, (12, 1)) + 0.01 * generator.standard_normal((12, 5000))
        write_ecg(raw / "ecg" / subject, signal)
        distance = np.hypot(rows - 30, columns - 28 - k)
        radius = np.array([14, 12, 9, 11, 13])
        labels = np.where(distance[..., None] < radius, 3, 0).astype(np.uint8)
        volume = (40 + 150 * (labels == 3) + generator.integers(0, 10, labels.shape)).astype(np.uint8)
        for suffix, array in (("", volume), ("_seg", labels)):
            write_image(raw / "cmr" / f"{subject}{suffix}.nii.gz", np.repeat(array[:, :, None], 8, axis=2))
    subjects = SUBJECTS[:count]
    people = {"31-0.0": 1, "21003-2.0": 61.5, "50-2.0": 170, "21002-2.0": 70, "4080-2.0": 130, "4079-2.0": 80}
    write_table(raw / "participants.tsv", pd.DataFrame({"eid": subjects, **people}))
    values = {f"{measure.field}-2.0": float(k) for k, measure in enumerate(PHENOTYPES)} | {"24103-2.0": ""}
    write_table(raw / "phenotypes.tsv", pd.DataFrame({"eid": subjects, **values}))
    codes = [["I251", "E119"], ["I48", ""], *[["", ""]] * (count - 2)]
    write_table(raw / "records.tsv", pd.DataFrame({"eid": subjects, "41270-0.0": 0, "41270-0.1": 0}).assign(
        **{f"41270-0.{j}": [row[j] for row in codes] for j in range(2)}
    ))  # fmt: skip
    return raw


def write_table(path, table):
    table.to_csv(path, sep="\t", index=False)


def run(raw, out, manifest=None, seed=0, workers=1, preset_name="corrected", used=PROFILE):
    manifest = manifest or cohort_manifest("simulated")
    return preprocess_cohort(manifest, raw, out, used, preset(preset_name), seed, workers, progress=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Raw folder of a faultless cohort (read only) and its store."""
    folder = tmp_path_factory.mktemp("cohort")
    raw = write_cohort(folder / "raw")
    return raw, run(raw, folder / "store")


def test_a_faultless_cohort(whole):
    _, store = whole
    assert len(store) == COUNT and store.ecg.shape == (COUNT, 12, 1250) and store.cmr.shape == (COUNT, 3, 78, 78)
    labels = dict.fromkeys([*COLUMNS, *(name for task in label_tasks(LabelRule("records")).values() for name in task)])
    assert list(store.subjects.columns) == [*labels, *(f"ecg_{name}" for name in FEATURES)]
    assert [len(store.indices(split)) for split in ("train", "validation", "test")] == [4, 2, 2]
    assert store.meta["counts"]["summary"] == "8 of 8 used" and store.meta["counts"]["flags"] == {}
    first = store.subjects.iloc[0]
    assert (first["CAD"], first["AF"], first["DM"]) == (1, 0, 1) and store.subjects["CAD"].sum() == 1
    assert first["LVESV"] == 1 and np.isnan(first["LVEF"]) and first["age"] == 61.5 and first["height"] == 170
    area = (np.asarray(store.labels) == 3).sum(axis=(2, 3))
    assert (area[:, 0] < area[:, 1]).all() and (area[:, 1] < area[:, 2]).all()
    for group in (slice(0, 3), slice(3, 6), slice(6, 12)):
        np.testing.assert_allclose(store.ecg[:, group].astype(float).std(axis=(1, 2)), 1, atol=0.02)
    provenance = store.meta["provenance"]
    assert provenance["preset"] == "corrected" and provenance["sampling_rate"] == 125
    store.verify()


def test_bytes_depend_neither_on_workers_nor_on_place(whole, tmp_path):
    raw, store = whole
    moved = tmp_path / "elsewhere"
    moved.symlink_to(raw)
    again = run(moved, tmp_path / "store", workers=2)
    for path in sorted(store.folder.iterdir()):
        assert path.read_bytes() == (again.folder / path.name).read_bytes(), path.name


def test_presets_and_seeds_differ_where_they_should(whole, tmp_path):
    raw, store = whole
    paper = run(raw, tmp_path / "paper", preset_name="paper")
    np.testing.assert_array_equal(paper.ecg, store.ecg)
    assert not np.array_equal(paper.cmr, store.cmr)
    assert store.frame is None and paper.frame.shape == (COUNT, 3, 210, 210)
    np.testing.assert_array_equal(paper.frame[:, :, 44:122, 68:146], paper.cmr)
    smoke = Settings.of(
        profile("smoke"), preset("paper"), matrix=image_side(cohort_manifest("simulated"), profile("smoke"))
    )
    assert smoke.arrays["frame"] == (3, 88, 88), "the simulated cohort's own matrix"
    other = run(raw, tmp_path / "other", seed=1)
    assert list(other.subjects["split"]) != list(store.subjects["split"])
    np.testing.assert_array_equal(other.ecg, store.ecg)


def test_single_choices_change_what_they_name_alone(whole, tmp_path):
    raw, store = whole
    frames = run(raw, tmp_path / "frames", preset_name="corrected-crop_in_evaluation")
    np.testing.assert_array_equal(frames.cmr, store.cmr)
    assert frames.frame is not None and list(frames.subjects["CAD"]) == list(store.subjects["CAD"])
    other = tmp_path / "raw"
    other.mkdir()
    for path in raw.iterdir():
        if path.name != "records.tsv":
            (other / path.name).symlink_to(path)
    codes = ["I249", "I251", "I250", *[""] * (COUNT - 3)]
    write_table(other / "records.tsv", pd.DataFrame({"eid": SUBJECTS, "41270-0.0": codes}))
    cases = {name: run(other, tmp_path / name, preset_name=name).subjects["CAD"].sum()
             for name in ("corrected", "corrected-whole_icd_list")}  # fmt: skip
    assert cases == {"corrected": 3, "corrected-whole_icd_list": 1}


def test_memory_takes_the_same_road_as_files(whole):
    raw, store = whole
    recording = read_wfdb(raw / "ecg" / f"{SUBJECTS[3]}.hea", SUBJECTS[3])
    study = read_nifti(raw / "cmr" / f"{SUBJECTS[3]}.nii.gz", SUBJECTS[3], raw / "cmr" / f"{SUBJECTS[3]}_seg.nii.gz")
    result = prepare(recording, study, Settings.of(PROFILE, preset("corrected")))
    np.testing.assert_array_equal(result.arrays["ecg"], store.ecg[3])
    np.testing.assert_array_equal(result.arrays["cmr"], store.cmr[3])
    np.testing.assert_array_equal(result.arrays["heart"], store.labels[3])


def test_bad_files_are_quarantined_and_the_rest_is_used(tmp_path):
    raw = write_cohort(tmp_path / "raw")
    ecg, cmr = raw / "ecg", raw / "cmr"
    (ecg / f"{SUBJECTS[0]}.hea").unlink()
    (ecg / f"{SUBJECTS[1]}.dat").write_bytes(b"\0" * 100)
    write_ecg(ecg / SUBJECTS[2], np.zeros((12, 5000)))
    write_image(cmr / f"{SUBJECTS[3]}.nii.gz", np.full((60, 64, 8, 5), 7, np.uint8))
    image = np.asarray(nibabel.load(cmr / f"{SUBJECTS[4]}.nii.gz").dataobj)
    write_image(cmr / f"{SUBJECTS[4]}.nii.gz", image[:, :, :1])
    (cmr / f"{SUBJECTS[5]}_seg.nii.gz").unlink()
    write_ecg(ecg / "stranger", np.ones((12, 5000)))
    store = run(raw, tmp_path / "store")
    assert list(store.subjects["subject"]) == SUBJECTS[5:]
    assert store.subjects["flags"][0] == "es:image;labels:none" and not store.labels[0].any() and store.labels[1].any()
    quarantine = pd.read_csv(store.folder / "quarantine.csv", dtype=str)
    assert dict(zip(quarantine["subject"], quarantine["reason"], strict=True)) == {
        "stranger": "not listed",
        SUBJECTS[0]: "missing .hea",
        SUBJECTS[1]: "unreadable ECG",
        SUBJECTS[2]: "flat",
        SUBJECTS[3]: "constant image",
        SUBJECTS[4]: "too few slices",
    }
    assert quarantine["file"][1] == f"ecg/{SUBJECTS[0]}.hea", "names are relative"
    assert store.meta["counts"]["summary"].startswith("3 of 9 used; left out: 1 constant image")
    assert store.meta["counts"]["flags"] == {"es": 1, "labels": 1}


def test_split_sizes_that_do_not_fit_and_empty_cohorts(whole, tmp_path):
    raw, _ = whole
    wrong = dataclasses.replace(PROFILE, cohort=CohortConfig(train=4, validation=2, test=1))
    with pytest.raises(ValueError, match="add up to 7, but the cohort has 8"):
        run(raw, tmp_path / "store", used=wrong)
    with pytest.raises(ValueError, match="no such folder"):
        run(tmp_path / "nowhere", tmp_path / "store")
    (tmp_path / "empty").mkdir()
    listed_by_files = dataclasses.replace(cohort_manifest("simulated"), tables=Tables(), labels=LabelRule())
    with pytest.raises(ValueError, match="cohort simulated is empty; expected files like ecg/{subject}.hea"):
        run(tmp_path / "empty", tmp_path / "store", manifest=listed_by_files)
    assert not (tmp_path / "store").exists()


def test_nothing_usable(tmp_path):
    raw = write_cohort(tmp_path / "raw", count=2)
    for subject in SUBJECTS[:2]:
        write_ecg(raw / "ecg" / subject, np.zeros((12, 5000)))
    two = dataclasses.replace(PROFILE, cohort=CohortConfig(train=2, validation=0, test=0))
    with pytest.raises(ValueError, match="0 of 2 used; left out: 2 flat; the first: ecg/sim0000000.hea"):
        run(raw, tmp_path / "store", used=two)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_full_disk(whole, tmp_path, monkeypatch):
    raw, _ = whole

    def full(self, subjects, rejections=(), **arrays):
        raise self._explained(OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(store_writer.StoreWriter, "append", full)
    with pytest.raises(OSError, match="No space left on device: the store .* was not written"):
        run(raw, tmp_path / "store")
    assert not list(tmp_path.iterdir())


def test_split_column_fractions_withdrawal_and_visits(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    signal = np.random.default_rng(0).normal(0, 0.5, (12, 5000))
    names = [f"{k}" for k in range(10, 20)]
    for name in names:
        write_ecg(raw / f"{name}_20205_2_0", signal)
    write_ecg(raw / "13_20205_3_0", signal)
    (raw / "withdrawn.txt").write_text("19\n99\n")
    columns = {"fold": ["train"] * 6 + ["val"] * 2 + ["test"] * 2, "p31": 0, "p21003_i2": 60, "p21003_i3": 63}
    write_table(raw / "people.tsv", pd.DataFrame({"eid": names, **columns}))
    base = Manifest(
        name="visits", description="d", version="1", licence="MIT", consent="none", shareable=True, visits=(2, 3),
        files=Files(ecg="{subject}_20205_{visit}_0.hea"),
        tables=Tables(participants="people.tsv", withdrawn="withdrawn.txt"),
        split=SplitRule("column", column="fold"),
    )  # fmt: skip
    store = run(raw, tmp_path / "a", manifest=base)
    assert len(store) == 10 and store.cmr is None and store.meta["counts"]["withdrawn"] == 1
    table = store.subjects[["subject", "visit", "split", "age"]]
    assert table[table["subject"] == "13"].to_numpy().tolist() == [["13", "2", "train", 60], ["13", "3", "train", 63]]
    assert "19" not in set(table["subject"]) and (table["split"] == "test").sum() == 1
    fractions = run(raw, tmp_path / "b", manifest=dataclasses.replace(base, split=SplitRule()))
    per_subject = fractions.subjects.groupby("subject")["split"].nunique()
    assert (per_subject == 1).all() and set(fractions.subjects["split"]) == {"train", "validation", "test"}


def test_volumes_and_tabled_end_systole(tmp_path):
    raw = write_cohort(tmp_path / "raw", count=3)
    for subject in SUBJECTS[:3]:
        image = np.asarray(nibabel.load(raw / "cmr" / f"{subject}.nii.gz").dataobj)
        for name, frame in (("ed", 0), ("es", 2)):
            write_image(raw / "cmr" / f"{subject}_{name}.nii.gz", image[..., frame])
    pair = Manifest(
        name="pair", description="d", version="1", licence="MIT", consent="none", shareable=False,
        readers=Readers(cmr="nifti_pair"), files=Files(cmr="cmr/{subject}_ed.nii.gz", cmr_es="cmr/{subject}_es.nii.gz"),
    )  # fmt: skip
    store = run(raw, tmp_path / "a", manifest=pair)
    assert len(store) == 3 and store.ecg is None and store.labels is None
    assert set(store.subjects["flags"]) == {"es:image;halfway:mean"}
    people = pd.read_csv(raw / "participants.tsv", sep="\t").assign(es=[1, 2, 4])
    write_table(raw / "participants.tsv", people)
    tabled = Manifest(
        name="tabled", description="d", version="1", licence="MIT", consent="none", shareable=False, es_column="es",
        files=Files(cmr="cmr/{subject}.nii.gz"), tables=Tables(participants="participants.tsv"),
    )  # fmt: skip
    store = run(raw, tmp_path / "b", manifest=tabled)
    assert list(store.subjects["flags"]) == ["halfway:mean", "", ""]
    assert Store.open(tmp_path / "b").cmr.shape == (3, 3, 78, 78)

"""Layouts of ACDC, M&Ms and M&Ms-2, from raw folders to stores, and the real volumes of ACDC."""

import shutil

import nibabel
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcl.config import preset
from mmcl.data.acdc import GROUPS, Patient, begin_at_ed, read_acdc, read_info, read_patient
from mmcl.data.cmr_preprocessing import Cine, preprocess_cine
from mmcl.data.manifest import cohort_manifest
from mmcl.data.pipeline import preprocess_cohort
from mmcl.data.pseudonyms import Pseudonyms
from mmcl.data.quarantine import Unusable
from mmcl.profiles import profile

FRAMES, ED, ES = 7, 2, 5  # counted from 0


def beating(cavity):
    """Cine (x, y, slice, time) and its labels, with `cavity` for the shrinking left ventricle; largest at ED."""
    columns, rows = np.indices((64, 60))
    radius = 14 - 1.5 * np.abs((np.arange(FRAMES) - ED + 3) % FRAMES - 3)
    radius[ES] = 6
    inside = np.hypot(columns - 30, rows - 28)[..., None] < radius
    volume = (40 + 150 * inside + np.random.default_rng(0).integers(0, 10, inside.shape)).astype(np.uint8)
    whole = np.repeat(volume[:, :, None], 9, axis=2), np.repeat(inside[:, :, None], 9, axis=2)
    return whole[0], (cavity * whole[1]).astype(np.uint8)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, np.eye(4))
    image.header.set_zooms((1.8, 1.8, 10.0, 1.0)[: array.ndim])
    nibabel.save(image, path)


def write_patient(raw, name, cine=True, labels=True):
    volume, mask = beating(cavity=3)
    folder = raw / name
    for frame in (ED, ES):
        save(folder / f"{name}_frame{frame + 1:02d}.nii.gz", volume[..., frame])
        if labels:
            save(folder / f"{name}_frame{frame + 1:02d}_gt.nii.gz", mask[..., frame])
    if cine:
        save(folder / f"{name}_4d.nii.gz", volume)
    info = f"ED: {ED + 1}\nES: {ES + 1}\nGroup: NOR\nHeight: 170.0\nNbFrame: {FRAMES}\nWeight: 70.0\n"
    (folder / "Info.cfg").write_text(info)
    return folder / "Info.cfg"


def reason(info):
    with pytest.raises(Unusable) as caught:
        read_acdc(info, "s")
    return caught.value.rejection.reason


def run(raw, out, cohort):
    return preprocess_cohort(
        cohort_manifest(cohort), raw, out, profile("smoke"), preset("corrected"), 0, progress=False
    )


def test_the_cine_begins_at_end_diastole(tmp_path):
    cine = read_acdc(write_patient(tmp_path, "patient001"), "patient001")
    volume, mask = beating(cavity=3)
    assert cine.es_frame == ES - ED and cine.flags == ("labels:ed+es",) and cine.images.shape == (9, FRAMES, 60, 64)
    np.testing.assert_array_equal(cine.images[4, 0], volume[:, :, 4, ED].T)
    np.testing.assert_array_equal(cine.images[4, -1], volume[:, :, 4, ED - 1].T)
    np.testing.assert_array_equal(cine.labels[4, 0], mask[:, :, 4, ED].T)
    np.testing.assert_array_equal(cine.labels[4, ES - ED], mask[:, :, 4, ES].T)
    assert not cine.labels[:, 1 : ES - ED].any()
    heart = preprocess_cine(cine, 48, True)
    assert heart.es_frame == ES - ED and not heart.labels[1].any()


def test_without_the_cine_halfway_is_the_mean(tmp_path):
    pair = preprocess_cine(read_acdc(write_patient(tmp_path, "patient001", cine=False), "s"), 48, True)
    assert pair.flags == ("halfway:mean",) and pair.es_frame == 1
    whole = preprocess_cine(read_acdc(write_patient(tmp_path, "patient002", labels=False), "s"), 48, True)
    assert whole.flags == () and whole.labels is None
    es, halfway, ed = pair.images.astype(float)
    assert np.abs(halfway - (es + ed) / 2).max() <= 3, "rounding, and clipping of the brightest pixels"


def test_bad_folders(tmp_path):
    info = write_patient(tmp_path, "patient001")
    text = info.read_text()
    assert read_info(info, "s") == (ED + 1, ES + 1)
    for spoilt, expected in (
        ("ES: 6\n", "no ED frame"),
        (text.replace("ES: 6", "ES: six"), "no ES frame"),
        (text.replace("ES: 6", "ES: 0"), "no ES frame"),
        (text.replace("ES: 6", "ES: 3"), "ED and ES are one frame"),
        (text.replace("ES: 6", "ES: 40"), "end-systole outside the cine"),
    ):
        info.write_text(spoilt)
        assert reason(info) == expected
    info.write_text(text)
    save(info.parent / "patient001_frame06_gt.nii.gz", np.zeros((64, 60, 8), np.uint8))
    assert reason(info) == "ED and ES differ in shape"
    info.unlink()
    assert reason(info) == "missing .cfg"


def test_the_patient(tmp_path):
    info = write_patient(tmp_path, "patient001", cine=False, labels=False)
    text = info.read_text()
    assert read_patient(info, "s") == Patient("NOR", 170.0, 70.0)
    for group in GROUPS:
        info.write_text(text.replace("NOR", group))
        assert read_patient(info, "s").group == group
    info.write_text("ED: 1\nES: 12\nWeight: NaN\n")
    absent = read_patient(info, "s")
    assert absent.group == "" and np.isnan([absent.height, absent.weight]).all()
    for spoilt, expected in (
        (text.replace("NOR", "ABC"), "unknown group"),
        (text.replace("170.0", "tall"), "no height"),
        (text.replace("170.0", "0.0"), "no height"),
        (text.replace("Weight: 70.0", "Weight: inf"), "no weight"),
    ):
        info.write_text(spoilt)
        with pytest.raises(Unusable) as caught:
            read_patient(info, "s")
        assert caught.value.rejection.reason == expected
    info.unlink()
    with pytest.raises(Unusable, match="missing .cfg"):
        read_patient(info, "s")


def test_beginning_at_any_frame():
    images = np.arange(5)[None, :, None, None] * np.ones((8, 1, 4, 4))
    cine = Cine(images, None, (1.8, 1.8), "s", "f")
    turned = begin_at_ed(cine, 3, 1)
    assert turned.images[0, :, 0, 0].tolist() == [3, 4, 0, 1, 2] and turned.es_frame == 3
    assert begin_at_ed(cine, 0, None) is cine
    with pytest.raises(Unusable):
        begin_at_ed(cine, 5, 1)


def test_acdc_folders_end_in_a_store(tmp_path):
    for k in range(4):
        write_patient(tmp_path / "raw", f"patient{k:03d}", cine=k != 3)
    store = run(tmp_path / "raw", tmp_path / "store", "acdc")
    flags = dict(zip(store.subjects["subject"], store.subjects["flags"], strict=True))
    assert flags == {**{f"patient{k:03d}": "labels:ed+es" for k in range(3)}, "patient003": "halfway:mean"}
    assert (np.asarray(store.labels[:, 2]) == 3).sum() > (np.asarray(store.labels[:, 0]) == 3).sum() > 0
    np.testing.assert_array_equal(store.labels[0, 0], store.labels[3, 0])


def test_mnms_folders_end_in_a_store(tmp_path):
    raw = tmp_path / "raw"
    codes = ["A0S9V9", "B1C2D3", "E4F5G6", "H7I8J9"]
    for code in codes:
        volume, mask = beating(cavity=1)
        save(raw / code / f"{code}_sa.nii.gz", volume)
        mask[..., [k for k in range(FRAMES) if k not in (ED, ES)]] = 0
        save(raw / code / f"{code}_sa_gt.nii.gz", mask)
    table = {"External code": codes, "VendorName": "Siemens", "Vendor": "A", "Centre": 1, "ED": ED, "ES": ES}
    manifest = cohort_manifest("mnms")
    pd.DataFrame(table).to_csv(raw / manifest.tables.participants)
    store = run(raw, tmp_path / "store", "mnms")
    names = Pseudonyms(manifest)
    assert set(store.subjects["subject"]) == {names.name(code) for code in codes}, "M&Ms is restricted"
    assert set(store.subjects["flags"]) == {""}
    acdc = read_acdc(write_patient(tmp_path, "patient001"), "s")
    expected = preprocess_cine(acdc, store.cmr.shape[-1], True)
    np.testing.assert_array_equal(store.cmr[0], expected.images)
    np.testing.assert_array_equal(np.asarray(store.labels[0]) == 1, expected.labels == 3)


def test_mnms2_folders_end_in_a_store(tmp_path):
    raw = tmp_path / "raw"
    for k in range(4):
        volume, mask = beating(cavity=1)
        for name, frame in (("ED", ED), ("ES", ES)):
            save(raw / f"{k:03d}" / f"{k:03d}_SA_{name}.nii.gz", volume[..., frame])
            save(raw / f"{k:03d}" / f"{k:03d}_SA_{name}_gt.nii.gz", mask[..., frame])
    store = run(raw, tmp_path / "store", "mnms2")
    assert set(store.subjects["flags"]) == {"halfway:mean"} and (np.asarray(store.labels[:, 0]) == 1).any()


def test_real_volumes_in_a_patient_folder(shared, tmp_path):
    source = shared / "real" / "cmr"
    folder = tmp_path / "patient001"
    folder.mkdir()
    for name, frame in (("ed", 1), ("es", 12)):
        shutil.copy(source / f"acdc_sax_{name}.nii.gz", folder / f"patient001_frame{frame:02d}.nii.gz")
    (folder / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: DCM\nNbFrame: 30\n")
    cine = read_acdc(folder / "Info.cfg", "patient001")
    assert cine.images.shape == (10, 2, 192, 192) and cine.spacing == (1.0, 1.0)
    heart = preprocess_cine(cine, 78, True)
    assert heart.flags == ("spacing:1.00mm", "halfway:mean") and heart.images.std() > 20


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=80)
    | st.lists(
        st.sampled_from(["ED", "ES", ":", " ", "\n", "1", "12", "0", "-1", "999", "1e3", "\u0663", "nan", "ED: 1\n"]),
        max_size=20,
    ).map(lambda words: "".join(words).encode())
)
def test_any_info_ends_in_two_frames_or_a_reason(tmp_path, content):
    path = tmp_path / "Info.cfg"
    path.write_bytes(content)
    try:
        ed, es = read_info(path, "s")
    except Unusable as unusable:
        assert unusable.rejection.reason and unusable.rejection.file == str(path)
    else:
        assert 0 < ed < 1_000_000 and 0 < es < 1_000_000 and ed != es

"""Short-axis zips: what real ones hold, what hostile ones hold, and the road to the same store as NIfTI's."""

import dataclasses
import io
import shutil
import struct
import warnings
import zipfile

import nibabel
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import JPEGBaseline8Bit

from mmcl.config import CohortConfig, preset
from mmcl.data import archive, dicom
from mmcl.data.cmr_preprocessing import Cine, preprocess_cine
from mmcl.data.dicom import list_slices, read_dicom_zip
from mmcl.data.dicom_header import scan_header
from mmcl.data.manifest import Files, LabelRule, Readers, cohort_manifest
from mmcl.data.pipeline import preprocess_cohort
from mmcl.data.quarantine import Unusable
from mmcl.data.readers import read_nifti
from mmcl.profiles import profile
from mmcl.simulation.dicom import Oddities, write_dicom_folder, write_dicom_zip
from mmcl.simulation.export import export_raw

SPACING = (1.7, 1.8, 10.0)
CINE = np.random.default_rng(0).integers(0, 255, (9, 6, 40, 36), dtype=np.uint8)
MIDDLE = CINE[4]


def write(folder, **oddities):
    path = folder / "1000001_20209_2_0.zip"
    write_dicom_zip(path, "1000001", CINE, SPACING, Oddities(**oddities))
    return path


def edit(path, change, which=lambda dataset: True):
    """Rewrite the DICOM members of the zip for which `which` holds by `change`, which returns bytes or changes it."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            if name.endswith(".dcm") and which(dataset := pydicom.dcmread(io.BytesIO(data), force=True)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    changed = change(dataset)
                if changed is None:
                    buffer = io.BytesIO()
                    dataset.save_as(buffer)
                    changed = buffer.getvalue()
                data = changed
            new.writestr(name, data)
    return path


def in_middle(dataset):
    return dataset.SeriesDescription.endswith("_b5")


def reason(path):
    with pytest.raises(Unusable) as caught:
        read_dicom_zip(path, "1000001")
    rejection = caught.value.rejection
    assert rejection.file == str(path) and rejection.expectation
    return rejection.reason


def test_middle_slice(tmp_path):
    cine = read_dicom_zip(write(tmp_path), "1000001")
    assert cine.slices == 9 and cine.flags == () and cine.spacing == (1.8, 1.7) and cine.labels is None
    assert cine.images.shape == (1, 6, 40, 36) and cine.images.dtype == np.uint16
    np.testing.assert_array_equal(cine.images[0], MIDDLE)
    slices, _ = list_slices(tmp_path / "1000001_20209_2_0.zip", "s")
    assert [one.frames[0].number for one in slices] == list(range(1, 10))


@pytest.mark.parametrize(
    "oddities, flags",
    [
        ({"repeated": (4, 2)}, ("repeat:2",)),
        ({"broken_repeats": (4,)}, ("repeat:1",)),
        ({"inline": True}, ()),
        ({"mixed": True}, ()),
        ({"mixed": True, "shuffled": True, "repeated": (4,)}, ("repeat:1",)),
        ({"cropped": (1,)}, ("matrix:1",)),
        ({"renamed": (1, 2, 3, 4, 6, 5, 7, 8, 9)}, ("order:position",)),
        ({"bare": True, "shuffled": True, "misspelt": True}, ()),
        ({"turned": True}, ("orientation:turned",)),
    ],
)
def test_what_real_zips_hold(tmp_path, oddities, flags):
    cine = read_dicom_zip(write(tmp_path, **oddities), "1000001")
    assert cine.flags == flags and cine.slices == 9
    np.testing.assert_array_equal(cine.images[0], MIDDLE)


def test_missing_frames_and_another_matrix_in_the_middle(tmp_path):
    cine = read_dicom_zip(write(tmp_path, missing=((4, 2), (4, 5), (0, 0))), "s")
    assert cine.flags == ("frames:4/6",)
    np.testing.assert_array_equal(cine.images[0], MIDDLE[[0, 1, 3, 4]])
    cine = read_dicom_zip(write(tmp_path, cropped=(4,)), "s")
    assert cine.flags == ("matrix:1",)
    np.testing.assert_array_equal(cine.images[0], MIDDLE[:, 8:-8, 8:-8])


def test_order_without_trigger_times_positions_or_names(tmp_path):
    def no_trigger(dataset):
        del dataset.TriggerTime

    cine = read_dicom_zip(edit(write(tmp_path, shuffled=True), no_trigger), "s")
    assert cine.flags == ("order:instance",)
    np.testing.assert_array_equal(cine.images[0], MIDDLE)

    def no_position(dataset):
        del dataset.ImagePositionPatient

    cine = read_dicom_zip(edit(write(tmp_path, shuffled=True), no_position), "s")
    np.testing.assert_array_equal(cine.images[0], MIDDLE)

    def no_location(dataset):
        del dataset.ImagePositionPatient, dataset.SliceLocation

    cine = read_dicom_zip(edit(write(tmp_path), no_location), "s")
    assert cine.flags == ("order:name",)
    np.testing.assert_array_equal(cine.images[0], MIDDLE)
    assert reason(edit(write(tmp_path, mixed=True), no_location)) == "slices without position"


def test_trigger_time_counts_before_instance_number(tmp_path):
    def reverse(dataset):
        dataset.InstanceNumber = 7 - dataset.InstanceNumber

    np.testing.assert_array_equal(read_dicom_zip(edit(write(tmp_path), reverse), "s").images[0], MIDDLE)


def test_tilted_acquisitions_are_left_out(tmp_path):
    def tilt(dataset):
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    cine = read_dicom_zip(edit(write(tmp_path), tilt, lambda d: d.SeriesDescription.endswith("_b9")), "s")
    assert cine.flags == ("tilted:1",) and cine.slices == 8


def test_rescaling(tmp_path):
    def rescale(dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-10"

    np.testing.assert_array_equal(read_dicom_zip(edit(write(tmp_path), rescale), "s").images[0], 2.0 * MIDDLE - 10)


def test_run_length_and_unknown_compression(tmp_path):
    path = edit(write(tmp_path), lambda d: d.compress(pydicom.uid.RLELossless, generate_instance_uid=False), in_middle)
    np.testing.assert_array_equal(read_dicom_zip(path, "s").images[0], MIDDLE)

    def jpeg(dataset):
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
        dataset["PixelData"].is_undefined_length = True

    assert reason(edit(write(tmp_path), jpeg, in_middle)) == "compressed pixels"


def test_damaged_pixels_lose_their_frame(tmp_path):
    def cut(dataset):
        dataset.PixelData = dataset.PixelData[:100]

    path = edit(write(tmp_path), cut, lambda d: in_middle(d) and d.InstanceNumber == 3)
    cine = read_dicom_zip(path, "s")
    assert cine.flags == ("frames:5/6",)
    np.testing.assert_array_equal(cine.images[0], MIDDLE[[0, 1, 3, 4, 5]])
    assert reason(edit(write(tmp_path), cut, in_middle)) == "unreadable pixels"


@pytest.mark.parametrize("rows, frames", [(60_000, 1), (0, 1), (40, 9_999)])
def test_absurd_sizes(tmp_path, rows, frames):
    def swell(dataset):
        dataset.Rows, dataset.NumberOfFrames = rows, frames

    assert reason(edit(write(tmp_path), swell, in_middle)) == "absurd image size"


def test_slices_too_few_are_the_pipelines_to_judge(tmp_path):
    write_dicom_zip(tmp_path / "a.zip", "s", CINE[:7], SPACING)
    cine = read_dicom_zip(tmp_path / "a.zip", "s")
    with pytest.raises(Unusable) as caught:
        preprocess_cine(cine, 32, True)
    assert caught.value.rejection.reason == "too few slices" and caught.value.rejection.value == "7"


def test_nothing_of_use(tmp_path):
    path = tmp_path / "a.zip"
    assert reason(path) == "missing .zip"
    path.write_bytes(b"no zip at all")
    assert reason(path) == "unreadable zip"
    path.write_bytes(write(tmp_path).read_bytes()[:-40])
    assert reason(path) == "unreadable zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("manifest.csv", "filename,date\n1.dcm,Jan 1, 2020\n")
    assert reason(path) == "no short-axis series"


def test_hostile_zips(tmp_path, monkeypatch):
    good = write(tmp_path)
    path = tmp_path / "a.zip"

    def spoilt(name, data=b"", method=zipfile.ZIP_DEFLATED):
        shutil.copy(good, path)
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(name, data, method)
        return reason(path)

    for name in ("../a.dcm", "/etc/a.dcm", "C:/a.dcm", "..\\a.dcm", "\\a.dcm"):
        assert spoilt(name) == "zip member outside"
    assert spoilt("a.dcm", bytes(2**22)) == "zip member explodes"
    assert spoilt("a.dcm", bytes(2**23 + 1)) == "zip member too large"
    assert spoilt("a.dcm", b"x", zipfile.ZIP_LZMA) == "unknown zip compression"
    shutil.copy(good, path)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("inner.zip", good.read_bytes())
    np.testing.assert_array_equal(read_dicom_zip(path, "s").images[0], MIDDLE)

    data = bytearray(good.read_bytes())
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert reason(path) == "encrypted zip"
    data = bytearray(good.read_bytes())
    data[-12:-6] = struct.pack("<HI", 9, 2**31)[-6:]
    data[-10:-6] = struct.pack("<I", 2**31)
    path.write_bytes(data)
    assert reason(path) == "too many files in the zip"
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    assert reason(good) == "zip unpacks too large"
    monkeypatch.setattr(archive, "MOST_MEMBERS", 20)
    assert reason(good) == "too many files in the zip"


def test_a_deflated_dicom_is_not_inflated(tmp_path):
    def bomb(dataset):
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian

    cine = read_dicom_zip(edit(write(tmp_path), bomb, lambda d: d.SeriesDescription.endswith("_b9")), "s")
    assert cine.slices == 8


def test_a_member_with_spoilt_meta_information_loses_its_frame(tmp_path):
    def spoil(dataset):
        buffer = io.BytesIO()
        dataset.save_as(buffer)
        data = bytearray(buffer.getvalue())
        data[138] = 255  # length of the first element's value, which pydicom takes to be 4
        return bytes(data)

    path = edit(write(tmp_path), spoil, lambda d: in_middle(d) and d.InstanceNumber == 6)
    assert read_dicom_zip(path, "s").flags == ("frames:5/6",)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_end_in_a_cine_or_a_reason(tmp_path, data):
    """Cut zips, flipped bytes of a zip, and zips of whole members with flipped bytes in their headers."""
    path = tmp_path / "fuzzed.zip"
    members = [_small_member(k) for k in range(9)]
    flips = data.draw(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1_500), st.integers(0, 255)), max_size=40))
    for member, place, value in flips:
        members[member][place % len(members[member])] = value
    with zipfile.ZipFile(path, "w") as file:
        for k, member in enumerate(members):
            file.writestr(f"{k}.dcm", bytes(member))
    whole = bytearray(path.read_bytes())
    for place, value in data.draw(st.lists(st.tuples(st.integers(1, 2_000), st.integers(0, 255)), max_size=8)):
        whole[-place % len(whole)] = value
    path.write_bytes(whole[: data.draw(st.integers(len(whole) // 2, len(whole)) | st.just(len(whole)))])
    try:
        cine = read_dicom_zip(path, "s")
    except Unusable as unusable:
        assert unusable.rejection.reason
    else:
        assert isinstance(cine, Cine) and cine.images.ndim == 4 and cine.images.size <= 2**25


_MEMBERS = {}


def _small_member(k):
    if not _MEMBERS:
        buffer = io.BytesIO()
        write_dicom_zip(buffer, "s", CINE[:, :1, :8, :8], SPACING)
        with zipfile.ZipFile(buffer) as file:
            _MEMBERS.update(enumerate(file.read(name) for name in file.namelist()[:9]))
    return bytearray(_MEMBERS[k])


def test_both_roads_end_in_the_same_store(tmp_path):
    sizes = CohortConfig(train=2, validation=1, test=1, slices=8, frames=6, matrix=96, spacing=1.8)
    raw = export_raw(3, sizes, tmp_path / "raw", progress=False)
    odd = Oddities(repeated=(4,), inline=True, shuffled=True, misspelt=True)
    zips = write_dicom_folder(raw, raw / "zips", odd)
    assert len(zips) == 4
    nifti = cohort_manifest("simulated")
    files = Files(ecg=nifti.files.ecg, cmr="zips/{subject}_20209_2_0.zip", segmentation=nifti.files.segmentation)
    dicom = dataclasses.replace(nifti, files=files, readers=Readers(cmr="dicom_zip"))
    used = dataclasses.replace(profile("smoke"), cohort=sizes)
    stores = [
        preprocess_cohort(manifest, raw, tmp_path / name, used, preset("corrected"), 0, progress=False)
        for name, manifest in (("nifti", nifti), ("dicom", dicom))
    ]
    np.testing.assert_array_equal(stores[0].cmr, stores[1].cmr)
    np.testing.assert_array_equal(stores[0].labels, stores[1].labels)
    np.testing.assert_array_equal(stores[0].ecg, stores[1].ecg)
    one, two = (store.subjects.drop(columns="flags") for store in stores)
    assert one.equals(two)
    assert all("repeat:1" in flags.split(";") for flags in stores[1].subjects["flags"])
    subject = one["subject"][0]
    image = nibabel.load(raw / "cmr" / f"{subject}.nii.gz")
    assert image.shape[2] == read_dicom_zip(zips[0], subject).slices
    middle = read_nifti(raw / "cmr" / f"{subject}.nii.gz", subject).images[4]
    np.testing.assert_array_equal(read_dicom_zip(zips[0], subject).images[0], middle)


def test_files_as_uk_biobank_gives_them_end_in_the_same_store(tmp_path):
    sizes = CohortConfig(train=2, validation=1, test=1, slices=8, frames=4, matrix=96, spacing=1.8)
    raw = export_raw(3, sizes, tmp_path / "raw", progress=False)
    ukb = export_raw(3, sizes, tmp_path / "ukb", ecg="cardiosoft", progress=False)
    write_dicom_folder(raw, ukb / "cmr", Oddities(broken_repeats=(4,), shuffled=True))
    nifti = cohort_manifest("simulated")
    nifti = dataclasses.replace(nifti, files=dataclasses.replace(nifti.files, segmentation=None))
    for path in raw.glob("cmr/*_seg.nii.gz"):
        path.unlink()
    used = dataclasses.replace(profile("smoke"), cohort=sizes)
    one = preprocess_cohort(nifti, raw, tmp_path / "one", used, preset("corrected"), 0, progress=False)
    named = dataclasses.replace(cohort_manifest("ukb"), restricted=False, labels=LabelRule("records"))
    two = preprocess_cohort(named, ukb, tmp_path / "two", used, preset("corrected"), 0, progress=False)
    assert list(one.subjects["subject"]) == list(two.subjects["subject"]) and len(two) == 4
    np.testing.assert_array_equal(one.ecg, two.ecg)
    np.testing.assert_array_equal(one.cmr, two.cmr)
    for name in ("CAD", "LVEDV", "age", "visit"):
        assert one.subjects[name].equals(two.subjects[name]), name


@pytest.mark.parametrize(
    "oddities", [{}, {"repeated": (4,), "inline": True}, {"mixed": True, "turned": True}, {"bare": True}]
)
def test_headers_are_read_as_pydicom_reads_them(tmp_path, oddities, monkeypatch):
    path = write(tmp_path, **oddities)
    scanned, asked = list_slices(path, "s"), []
    monkeypatch.setattr(dicom, "scan_header", lambda data: asked.append(data))
    assert list_slices(path, "s") == scanned and asked
    if not oddities:
        assert scan_header(asked[0])["Rows"] == 40


def test_headers_of_other_encodings_are_left_to_pydicom(tmp_path):
    with zipfile.ZipFile(write(tmp_path)) as file:
        data = file.read(file.namelist()[0])
    assert scan_header(data)["SeriesDescription"] == "CINE_segmented_SAX_b1"
    assert scan_header(data)["ImagePositionPatient"][2] == str(
        pydicom.dcmread(io.BytesIO(data)).ImagePositionPatient[2]
    )
    for syntax in (b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2\0\0"):
        assert scan_header(data.replace(b"1.2.840.10008.1.2.1", syntax)) is None
    assert scan_header(data[:200]) is scan_header(data[128:]) is scan_header(b"") is None
    assert scan_header(data.replace(b"LO\x16\0CINE", b"LO\xff\xffCINE")) is None, "longer than the file"
    assert scan_header(data.replace(b"CINE_", b"CIN\xc9_")) is None, "text in another character set"

    def implicit(dataset):
        buffer = io.BytesIO()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        pydicom.dcmwrite(buffer, dataset, implicit_vr=True, little_endian=True)
        return buffer.getvalue()

    np.testing.assert_array_equal(read_dicom_zip(edit(write(tmp_path), implicit), "s").images[0], MIDDLE)


def test_long_private_elements_before_what_is_wanted(tmp_path):
    def add(dataset):
        dataset.private_block(0x0019, "SOMEBODY", create=True).add_new(1, "OB", bytes(30_000))

    np.testing.assert_array_equal(read_dicom_zip(edit(write(tmp_path), add), "s").images[0], MIDDLE)


def test_a_member_without_a_name_is_no_image(tmp_path):
    path = tmp_path / "study.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x", b"1")
    # A name that begins with an empty byte is read as no name at all.
    path.write_bytes(path.read_bytes().replace(b"x", b"\0"))
    with pytest.raises(Unusable, match="no short-axis series"):
        read_dicom_zip(path, "s")

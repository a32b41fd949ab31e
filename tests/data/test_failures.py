"""Every trouble that recordings are known to have, each in one line: how it is made, and what comes of it.

A file is written with the trouble, read by its reader and prepared as for a store. What comes out are the flags of a
usable recording, or the reason why it is left out; nothing else may happen.
"""

import gzip
import io
import pickle
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import scipy.io

import mmcl
from mmcl.config import LEADS, preset
from mmcl.data.acdc import begin_at_ed, read_acdc
from mmcl.data.arrays import read_array
from mmcl.data.cardiosoft import read_cardiosoft
from mmcl.data.dicom import read_dicom_zip
from mmcl.data.pipeline import Prepared, Settings, prepare
from mmcl.data.quarantine import Unusable
from mmcl.data.readers import read_nifti, read_nifti_pair, read_wfdb
from mmcl.data.signals import Recording
from mmcl.profiles import profile
from mmcl.simulation.cardiosoft import ODDITIES, write_cardiosoft
from mmcl.simulation.dicom import Oddities, write_dicom_zip

SETTINGS = Settings.of(profile("smoke"), preset("corrected"))
ECG = mmcl.simulate_cohort(1, seed=0, images=False).ecg[0].astype(np.float64)
COMPUTED = ("computed:III", "computed:aVR", "computed:aVL", "computed:aVF")


def beating(shape=(9, 6, 64, 60), centre=(30, 28), radius=14):
    """Cine of a bright disc that contracts until frame 3."""
    rows, columns = np.indices(shape[2:])
    size = radius * (1 - 0.15 * (3 - np.abs(np.arange(shape[1]) - 3)))
    disc = np.hypot(rows - centre[0], columns - centre[1]) < size[:, None, None]
    noise = np.random.default_rng(0).integers(0, 10, shape)
    return (40 + 150 * disc + noise).astype(np.uint8)


CINE = beating()
FRAMES = CINE.shape[1]
IMAGE = ("es:image",)
"""Flag of every cine without labels."""


def result(recording=None, cine=None):
    """Flags of what was prepared, or the reason why it was not."""
    found = prepare(recording, cine, SETTINGS)
    if not isinstance(found, Prepared):
        assert found.subject == "s" and found.value and found.expectation
        return found.reason
    assert all(np.isfinite(array.astype(np.float32)).all() and array.any() for array in found.arrays.values())
    return found.flags


def read(reader, *arguments):
    """What the reader makes of a file, or its reason."""
    try:
        found = reader(*arguments)
    except Unusable as unusable:
        return unusable.rejection.reason
    return result(found) if isinstance(found, Recording) else result(cine=found)


# ECGs as arrays with names, units and a rate: what any reader may hand on.


def recording(signal=None, names=LEADS, unit="mV", rate=500.0):
    signal = ECG if signal is None else signal
    units = (unit,) * len(names) if isinstance(unit, str) else tuple(unit)
    return Recording(signal, tuple(names), units, rate, "s", "f")


def changed(lead, change):
    signal = ECG.copy()
    signal[LEADS.index(lead)] = change(signal[LEADS.index(lead)])
    return recording(signal)


def without(*names):
    kept = [name for name in LEADS if name not in names]
    return recording(ECG[[LEADS.index(name) for name in kept]], kept)


def with_nan(lead):
    lead = lead.copy()
    lead[100:200] = np.nan
    return lead


def arms_exchanged():
    one, two, three, right, left, foot = ECG[:6]
    return recording(np.stack([-one, three, two, left, right, foot, *ECG[6:]]))


def leg_exchanged():
    one, two, three, right, left, foot = ECG[:6]
    return recording(np.stack([-three, -two, -one, foot, left, right, *ECG[6:]]))


def at_rate(rate):
    time = np.arange(int(10 * rate)) / rate
    return recording(np.stack([np.interp(time, np.arange(5000) / 500, lead) for lead in ECG]), rate=rate)


SIGNALS = {
    "nothing": (lambda: recording(), ()),
    "names in lower case": (lambda: recording(names=[name.lower() for name in LEADS]), ()),
    "names in upper case": (lambda: recording(names=[f" {name.upper()} " for name in LEADS]), ()),
    "another order": (lambda: recording(ECG[::-1], LEADS[::-1]), ()),
    "Lead I": (lambda: recording(names=[f"Lead {name}" for name in LEADS]), ()),
    "lead_v1": (lambda: recording(names=[f"lead_{name.lower()}" for name in LEADS]), ()),
    "MDC_ECG_LEAD_AVR": (lambda: recording(names=[f"MDC_ECG_LEAD_{name.upper()}" for name in LEADS]), ()),
    "D1, D2, D3": (lambda: recording(names=["D1", "D2", "D3", *LEADS[3:]]), ()),
    "-aVR of Cabrera": (
        lambda: recording(ECG * np.where(np.arange(12) == 3, -1, 1)[:, None], [*LEADS[:3], "-aVR", *LEADS[4:]]),
        (),
    ),
    "a lead of another kind": (lambda: recording(np.vstack([ECG, ECG[:1]]), [*LEADS, "V3R"]), ()),
    "microvolt": (lambda: recording(1000 * ECG, unit="uV"), ()),
    "µV and mV": (lambda: recording(np.vstack([1000 * ECG[:6], ECG[6:]]), unit=["µV"] * 6 + ["MV"] * 6), ()),
    "microvolts": (lambda: recording(1000 * ECG, unit="microvolts"), ()),
    "100 Hz": (lambda: at_rate(100), ()),
    "257 Hz": (lambda: at_rate(257), ()),
    "1000 Hz": (lambda: at_rate(1000), ()),
    "longer": (lambda: recording(np.tile(ECG, 3)), ("long:30.00s",)),
    "shorter": (lambda: recording(ECG[:, :4000]), ("short:8.00s",)),
    "only I, II and chest leads": (lambda: without("III", "aVR", "aVL", "aVF"), COMPUTED),
    "no chest lead V3": (lambda: without("V3"), ("missing:V3",)),
    "a flat lead": (lambda: changed("V2", lambda lead: 0 * lead), ("flat:V2",)),
    "a clipped lead": (lambda: changed("V4", lambda lead: np.clip(lead, -0.3, 0.3)), ("clipped:V4",)),
    "a noisy lead": (
        lambda: changed("V1", lambda lead: lead + np.random.default_rng(0).normal(0, 0.2, 5000)),
        ("noisy:V1",),
    ),
    "some samples missing": (lambda: changed("aVL", with_nan), ("nan:aVL",)),
    "arms exchanged": (arms_exchanged, ("swapped:RA-LA",)),
    "right arm and left leg exchanged": (leg_exchanged, ("swapped:RA-LL",)),
    "another unit than it says": (lambda: recording(ECG * 1000), None),
    "counts": (lambda: recording(unit="mV/LSB"), "unknown unit"),
    "a rate of 0": (lambda: recording(rate=0), "unknown sampling rate"),
    "a rate that is no number": (lambda: recording(rate=float("nan")), "unknown sampling rate"),
    "3 s": (lambda: recording(ECG[:, :1500]), "too short"),
    "no signal": (lambda: recording(0 * ECG), "flat"),
    "four leads": (lambda: recording(ECG[6:10], LEADS[6:10]), "flat"),
    "mostly missing": (lambda: recording(np.where(np.arange(5000) < 4000, np.nan, ECG)), "too many NaN"),
    "a lead twice": (lambda: recording(names=[*LEADS[:11], "v1"]), "lead twice"),
    "infinite values": (lambda: changed("V1", lambda lead: np.where(np.arange(5000) < 9, np.inf, lead)), ("nan:V1",)),
}


@pytest.mark.parametrize("trouble", SIGNALS)
def test_signals(trouble):
    make, expected = SIGNALS[trouble]
    found = result(make())
    if expected is None:
        assert any(flag.startswith("amplitude:") for flag in found)
    else:
        assert found == expected


# ECG files.


def write_wfdb(folder, unit="mV", gain="1000.0", comments=(), suffix=".dat", names=LEADS):
    counts = np.round(ECG * 1000).astype("<i2")
    data, start = f"a{suffix}", 0
    if suffix == ".mat":
        scipy.io.savemat(folder / data, {"val": counts}, format="4")
        start = 24
    else:
        (folder / data).write_bytes(counts.T.tobytes())
    form = "16x1+24" if start else "16"
    lines = [f"{data} {form} {gain}(0)/{unit} 16 0 {k} 0 0 {name}" for k, name in zip(counts[:, 0], names, strict=True)]
    path = folder / "a.hea"
    path.write_text("\n".join(["a 12 500 5000 01:02:03 1/1/2020", *lines, *(f"# {line}" for line in comments)]) + "\n")
    return path


def wfdb_in_two_segments(folder):
    write_wfdb(folder)
    whole = (folder / "a.dat").read_bytes()
    header = (folder / "a.hea").read_text()
    for name, part, count in (("one", whole[: 24 * 2000], 2000), ("two", whole[24 * 2000 :], 3000)):
        (folder / f"{name}.dat").write_bytes(part)
        (folder / f"{name}.hea").write_text(
            header.replace("a.dat", f"{name}.dat").replace("a 12 500 5000", f"{name} 12 500 {count}")
        )
    path = folder / "all.hea"
    path.write_text("all/2 12 500 5000\none 2000\ntwo 3000\n")
    return path


def edited(path, old, new):
    path.write_text(path.read_text().replace(old, new))
    return path


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


WFDB = {
    "nothing": (write_wfdb, ()),
    "units written mv": (lambda folder: write_wfdb(folder, unit="mv"), ()),
    "odd gain": (lambda folder: write_wfdb(folder, gain="1000.000"), ()),
    "Age NaN": (lambda folder: write_wfdb(folder, comments=("Age: NaN", "Sex: Unknown", "Dx: 426783006")), ()),
    "MATLAB v4": (lambda folder: write_wfdb(folder, suffix=".mat"), ()),
    "two segments": (wfdb_in_two_segments, ()),
    "no signal file": (lambda folder: (write_wfdb(folder), (folder / "a.dat").unlink())[0], "missing .dat"),
    "half a signal file": (
        lambda folder: (write_wfdb(folder), cut(folder / "a.dat", 0.5))[0],
        "unreadable ECG",
    ),
    "a header of another folder's file": (
        lambda folder: edited(write_wfdb(folder), "a.dat", "/etc/passwd"),
        "signal file elsewhere",
    ),
    "absurdly many samples": (
        lambda folder: edited(write_wfdb(folder), "500 5000", "500 50000000000"),
        "too many samples",
    ),
    "absurdly many samples a frame": (
        lambda folder: edited(write_wfdb(folder), " 16 ", " 16x9999999 "),
        "unknown signal format",
    ),
    "FLAC": (lambda folder: edited(write_wfdb(folder), " 16 1000", " 516 1000"), "unknown signal format"),
    "an empty header": (lambda folder: cut(write_wfdb(folder), 0), "unreadable ECG"),
    "no header": (lambda folder: folder / "none.hea", "missing .hea"),
}


@pytest.mark.parametrize("trouble", WFDB)
def test_wfdb(tmp_path, trouble):
    make, expected = WFDB[trouble]
    assert read(read_wfdb, make(tmp_path), "s") == expected


CARDIOSOFT = {
    **dict.fromkeys(("comma", "case", "utf16", "declared"), ()),
    "missing": COMPUTED,
    "short": ("nan:V6",),
    "gap": ("nan:V3",),
    "disclosure": "no strip",
    "empty": "empty file",
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_cardiosoft(tmp_path, oddity):
    write_cardiosoft(tmp_path / "a.xml", ECG, oddity=oddity)
    assert read(read_cardiosoft, tmp_path / "a.xml", "s") == CARDIOSOFT[oddity]


XML = {
    "an entity": (b'<!DOCTYPE CardiologyXML [<!ENTITY a "1">]>', "forbidden XML"),
    "an external reference": (b'<!DOCTYPE CardiologyXML SYSTEM "file:///etc/passwd">', "forbidden XML"),
    "another document": (b"<AnnotatedECG/>", "unreadable ECG"),
    "too large": (b" " * (9 << 20), "file too large"),
}


@pytest.mark.parametrize("trouble", XML)
def test_xml(tmp_path, trouble):
    before, expected = XML[trouble]
    path = tmp_path / "a.xml"
    write_cardiosoft(path, ECG)
    text = path.read_bytes()
    path.write_bytes(text.replace(b"<CardiologyXML>", before + b"<CardiologyXML>", 1))
    assert read(read_cardiosoft, path, "s") == expected


@pytest.mark.parametrize(
    "name, content, expected",
    [
        ("a.npy", ECG[None], ()),
        ("a.npy", ECG.T[None], "unreadable array"),
        ("a.npy", np.array([{"a": 1}], dtype=object), "pickled objects"),
        ("a.npy", pickle.dumps(ECG), "unreadable array"),
        ("a.pt", pickle.dumps(ECG), "unreadable array"),
        ("a.csv", b"1,2,3", "unknown kind of array"),
    ],
)
def test_arrays(tmp_path, name, content, expected):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.save(path, content, allow_pickle=True)
    assert read(read_array, path, 0, "s") == expected


# Short-axis studies in zips of DICOM files.


def zipped(folder, cine=CINE, spacing=(1.8, 1.8, 10.0), **oddities):
    write_dicom_zip(folder / "a.zip", "s", cine, spacing, Oddities(**oddities))
    return folder / "a.zip"


def with_member(path, name, data):
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, data)
    return path


def with_headers(path, **values):
    """The zip with elements of every header changed, None to take one away."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            if name.endswith(".dcm"):
                dataset = pydicom.dcmread(io.BytesIO(data))
                for key, value in values.items():
                    delattr(dataset, key) if value is None else setattr(dataset, key, value)
                buffer = io.BytesIO()
                dataset.save_as(buffer)
                data = buffer.getvalue()
            new.writestr(name, data)
    return path


ZIPS = {
    "nothing": (zipped, IMAGE),
    "repeated slices": (lambda folder: zipped(folder, repeated=(4, 2)), ("repeat:2", *IMAGE)),
    "repeats broken off": (lambda folder: zipped(folder, broken_repeats=(4,)), ("repeat:1", *IMAGE)),
    "fewer frames than announced": (lambda folder: zipped(folder, missing=((4, 5),)), ("frames:5/6", *IMAGE)),
    "drawn contours": (lambda folder: zipped(folder, inline=True), IMAGE),
    "one series of all slices": (lambda folder: zipped(folder, mixed=True), IMAGE),
    "a slice of another matrix": (lambda folder: zipped(folder, cropped=(1,)), ("matrix:1", *IMAGE)),
    "slices out of the order of their names": (
        lambda folder: zipped(folder, renamed=(1, 2, 3, 4, 6, 5, 7, 8, 9)),
        ("order:position", *IMAGE),
    ),
    "files without a preamble, in no order": (lambda folder: zipped(folder, bare=True, shuffled=True), IMAGE),
    "a list with another name": (lambda folder: zipped(folder, misspelt=True), IMAGE),
    "images upside down": (lambda folder: zipped(folder, turned=True), ("orientation:turned", *IMAGE)),
    "no trigger times": (lambda folder: with_headers(zipped(folder), TriggerTime=None), ("order:instance", *IMAGE)),
    "no positions": (
        lambda folder: with_headers(zipped(folder), ImagePositionPatient=None, SliceLocation=None),
        ("order:name", *IMAGE),
    ),
    "7 slices": (lambda folder: zipped(folder, CINE[:7]), "too few slices"),
    "one frame": (lambda folder: zipped(folder, CINE[:, :1]), "too few frames"),
    "only ED and ES": (lambda folder: zipped(folder, CINE[:, [0, 3]]), (*IMAGE, "halfway:mean")),
    "an off-centre heart": (lambda folder: zipped(folder, beating((9, 6, 160, 150), (110, 50))), IMAGE),
    "nothing moves": (lambda folder: zipped(folder, np.repeat(CINE[:, :1], 6, axis=1)), None),
    "nothing in the image": (lambda folder: zipped(folder, np.full_like(CINE, 7)), "constant image"),
    "pixels of 1.0 mm": (
        lambda folder: zipped(folder, beating((9, 6, 112, 108), (52, 50), 25), (1.0, 1.0, 10.0)),
        ("spacing:1.00mm", *IMAGE),
    ),
    "pixels of 2.2 mm": (lambda folder: zipped(folder, spacing=(2.2, 2.2, 10.0)), ("spacing:2.20mm", *IMAGE)),
    "absurd spacing": (lambda folder: with_headers(zipped(folder), PixelSpacing=[50, 50]), "implausible spacing"),
    "an absurd size": (lambda folder: with_headers(zipped(folder), Rows=60_000), "absurd image size"),
    "thousands of frames": (lambda folder: with_headers(zipped(folder), NumberOfFrames=9_999), "absurd image size"),
    "no short axis": (lambda folder: with_headers(zipped(folder), SeriesDescription="LAX"), "no short-axis series"),
    "a member outside": (lambda folder: with_member(zipped(folder), "../../a.dcm", b""), "zip member outside"),
    "an exploding member": (lambda folder: with_member(zipped(folder), "a.dcm", bytes(4 << 20)), "zip member explodes"),
    "half a zip": (lambda folder: cut(zipped(folder), 0.5), "unreadable zip"),
    "no zip": (lambda folder: folder / "a.zip", "missing .zip"),
}


@pytest.mark.parametrize("trouble", ZIPS)
def test_dicom(tmp_path, trouble):
    make, expected = ZIPS[trouble]
    found = read(read_dicom_zip, make(tmp_path), "s")
    if trouble == "nothing moves":
        assert "centre:fixed" in found
    else:
        assert found == expected


# NIfTI: cines, pairs of volumes, patient folders.


def saved(path, array=CINE, spacing=(1.8, 1.8, 10.0), affine=None):
    """The cine as (x, y, slice, time), or a volume, on the axes of the body unless an affine says otherwise."""
    array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.transpose(2, 1, 0)
    image = nibabel.Nifti1Image(array, np.diag([*spacing, 1.0]) if affine is None else affine)
    nibabel.save(image, path)
    return path


def oblique(flip):
    """Affine of a short axis, its rows counted upwards as dcm2niix does, or downwards."""
    right, down = np.array([0.6, 0.8, 0.0]), np.array([-0.36, 0.27, -0.893029])
    apex = np.cross(down, right)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([1.8 * right, (-1.8 if flip else 1.8) * down, 10 * apex], axis=1)
    affine[:2] *= -1
    return affine


def bomb(path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((2000, 2000, 50, 50))
    header.set_data_dtype(np.uint8)
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.binaryblock + bytes(1 << 24))
    return path


def with_not_a_number():
    cine = CINE.astype(np.float32)
    cine[4, 2, 5, 5] = np.nan
    return cine


NIFTI = {
    "nothing": (lambda path: saved(path), IMAGE),
    "floating point": (lambda path: saved(path, CINE.astype(np.float32) / 7), IMAGE),
    "16 bits": (lambda path: saved(path, CINE.astype(np.int16) * 9), IMAGE),
    "rows upwards": (
        lambda path: saved(path, CINE[:, :, ::-1], affine=oblique(True)),
        ("orientation:turned", *IMAGE),
    ),
    "rows downwards": (lambda path: saved(path, affine=oblique(False)), IMAGE),
    "pixels of 2.2 mm": (lambda path: saved(path, spacing=(2.2, 2.2, 10.0)), ("spacing:2.20mm", *IMAGE)),
    "no time": (lambda path: saved(path, CINE[:, 0]), "wrong shape"),
    "pixels that are no number": (lambda path: saved(path, with_not_a_number()), "NaN in the image"),
    "7 slices": (lambda path: saved(path, CINE[:7]), "too few slices"),
    "half a file": (lambda path: cut(saved(path), 0.5), "unreadable image"),
    "a bomb": (bomb, "absurd image size"),
    "no image": (lambda path: path.write_bytes(b"no image") and path, "unreadable image"),
    "no file": (lambda path: path, "missing .gz"),
}


@pytest.mark.parametrize("trouble", NIFTI)
def test_nifti(tmp_path, trouble):
    make, expected = NIFTI[trouble]
    assert read(read_nifti, make(tmp_path / "a.nii.gz"), "s") == expected


def test_the_same_images_however_rows_are_stored(tmp_path):
    one = read_nifti(saved(tmp_path / "a.nii.gz", affine=oblique(False)), "s")
    two = read_nifti(saved(tmp_path / "b.nii.gz", CINE[:, :, ::-1], affine=oblique(True)), "s")
    images = [prepare(None, cine, SETTINGS).arrays["cmr"] for cine in (one, two)]
    np.testing.assert_array_equal(*images)


def test_volumes_without_a_frame_between(tmp_path):
    ed, es = (saved(tmp_path / f"{k}.nii.gz", CINE[:, k]) for k in (0, 3))
    assert read(read_nifti_pair, ed, es, "s") == (*IMAGE, "halfway:mean")
    other = saved(tmp_path / "c.nii.gz", CINE[:8, 3])
    assert read(read_nifti_pair, ed, other, "s") == "ED and ES differ in shape"


INFO = {
    "nothing": ("ED: 1\nES: 4\nNbFrame: 6\n", ()),
    "end-diastole later": ("ED: 3\nES: 6\n", ()),
    "no ES": ("ED: 1\n", "no ES frame"),
    "a frame that is none": ("ED: 1\nES: 99\n", "end-systole outside the cine"),
    "one frame twice": ("ED: 4\nES: 4\n", "ED and ES are one frame"),
}


@pytest.mark.parametrize("trouble", INFO)
def test_acdc(tmp_path, trouble):
    text, expected = INFO[trouble]
    folder = tmp_path / "patient001"
    folder.mkdir()
    saved(folder / "patient001_4d.nii.gz")
    (folder / "Info.cfg").write_text(text)
    assert read(read_acdc, folder / "Info.cfg", "s") == expected


@pytest.mark.parametrize("frame", [-1, FRAMES, 10**9])
def test_frames_that_a_table_names_wrongly(tmp_path, frame):
    cine = read_nifti(saved(tmp_path / "a.nii.gz"), "s")
    for frames in ((frame, None), (0, frame)):
        with pytest.raises(Unusable, match="outside the cine"):
            begin_at_ed(cine, *frames)


def test_real_recordings(shared):
    for path in sorted(Path(shared / "real" / "ecg").glob("*.hea")):
        flags = ("flat:V2", "flat:V4", "flat:V6") if path.stem == "JS20004" else ()
        assert read(read_wfdb, path, "s") == flags, path.stem
    volumes = (shared / "real" / "cmr" / f"acdc_sax_{name}.nii.gz" for name in ("ed", "es"))
    assert read(read_nifti_pair, *volumes, "s") == ("spacing:1.00mm", *IMAGE, "halfway:mean")

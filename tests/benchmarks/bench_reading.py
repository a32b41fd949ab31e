"""Seconds to read one file of each format, and the DICOM reader beside unpacking its zip alone (`make bench`)."""

import io
import statistics
import time
import zipfile

import numpy as np
import pydicom
import pytest
from scipy.ndimage import gaussian_filter

import mmcl
from mmcl.data.cardiosoft import read_cardiosoft
from mmcl.data.dicom import read_dicom_zip
from mmcl.data.readers import read_nifti, read_wfdb
from mmcl.data.signals import harmonise
from mmcl.simulation.cardiosoft import write_cardiosoft
from mmcl.simulation.dicom import write_dicom_zip
from mmcl.simulation.export import write_cine, write_ecg

SHAPE = (12, 50, 210, 208)
"""Slices, frames, rows and columns of a study in UK Biobank."""

SPACING = (1.8, 1.8, 10.0)
ROUNDS = 5


@pytest.fixture(scope="module")
def ecg():
    return mmcl.simulate_cohort(1, images=False).ecg[0]


@pytest.fixture(scope="module")
def cine():
    """A smooth texture with noise, which deflates about as scanned images do."""
    random = np.random.default_rng(0)
    texture = gaussian_filter(random.normal(100, 300, SHAPE).astype(np.float32), (0, 0, 2, 2))
    return np.clip(texture + random.normal(0, 3, SHAPE), 0, 255).astype(np.uint8)


def test_wfdb(benchmark, ecg, tmp_path):
    write_ecg(tmp_path / "a", ecg)
    benchmark(read_wfdb, tmp_path / "a.hea", "s")


def test_cardiosoft(benchmark, ecg, tmp_path):
    write_cardiosoft(tmp_path / "a.xml", ecg)
    benchmark(read_cardiosoft, tmp_path / "a.xml", "s")


def test_harmonise(benchmark, ecg, tmp_path):
    write_ecg(tmp_path / "a", ecg)
    benchmark(harmonise, read_wfdb(tmp_path / "a.hea", "s"))


def test_nifti(benchmark, cine, tmp_path):
    write_cine(tmp_path / "a.nii.gz", cine, SPACING)
    benchmark.pedantic(read_nifti, args=(tmp_path / "a.nii.gz", "s"), rounds=ROUNDS)


def unpack(path):
    """Every member of a zip, and no more: what any reader of the study has to do."""
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def pixels(members):
    """Pixels of all frames, as a reader of the whole study has them."""
    return [pydicom.dcmread(io.BytesIO(data)).pixel_array for name, data in members.items() if name.endswith(".dcm")]


def seconds(function, *arguments):
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def test_dicom(benchmark, cine, tmp_path):
    path = tmp_path / "a.zip"
    write_dicom_zip(path, "s", cine, SPACING)
    members = unpack(path)
    reader, unpacking, decoding = [], [], []
    for _ in range(ROUNDS):
        reader.append(seconds(read_dicom_zip, path, "s"))
        unpacking.append(seconds(unpack, path))
        decoding.append(seconds(pixels, members))
    ratio = statistics.median(one / other for one, other in zip(reader, unpacking, strict=True))
    benchmark.extra_info["ratio"] = ratio
    times = [1000 * statistics.median(times) for times in (reader, unpacking, decoding)]
    print(
        f"\nreader {times[0]:.0f} ms, unpacking {times[1]:.0f} ms, all pixels {times[2]:.0f} ms more, ratio {ratio:.2f}"
    )
    benchmark.pedantic(read_dicom_zip, args=(path, "s"), rounds=ROUNDS)
    assert ratio < 2

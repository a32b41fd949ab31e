import nibabel
import numpy as np
import pytest
import wfdb

from mmcl.config import LEADS
from mmcl.data.quarantine import Unusable
from mmcl.data.readers import read_nifti, read_nifti_pair, read_wfdb
from mmcl.data.signals import harmonise


def write_ecg(folder, name="a", signal=None):
    signal = np.random.default_rng(0).normal(0, 0.5, (12, 5000)) if signal is None else signal
    wfdb.wrsamp(
        name, fs=500, units=["mV"] * 12, sig_name=list(LEADS), p_signal=signal.T, fmt=["16"] * 12,
        adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(folder),
    )  # fmt: skip
    return folder / f"{name}.hea"


def write_image(path, array, spacing=(1.8, 1.7, 10.0, 1.0)):
    image = nibabel.Nifti1Image(array, np.eye(4))
    image.header.set_zooms(spacing[: array.ndim])
    nibabel.save(image, path)
    return path


def reason(read, *arguments):
    with pytest.raises(Unusable) as caught:
        read(*arguments)
    return caught.value.rejection.reason


def test_wfdb(tmp_path):
    signal = np.random.default_rng(0).normal(0, 0.5, (12, 5000))
    signal[3, 100:120] = np.nan
    found = read_wfdb(write_ecg(tmp_path, signal=signal), "0012")
    assert found.names == LEADS and found.sampling_rate == 500 and set(found.units) == {"mV"}
    np.testing.assert_allclose(found.signal, signal, atol=1e-3)


def test_bad_wfdb(tmp_path):
    assert reason(read_wfdb, tmp_path / "none.hea", "s") == "missing .hea"
    header = write_ecg(tmp_path)
    data = header.with_suffix(".dat")
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 3])
    assert reason(read_wfdb, header, "s") == "unreadable ECG"
    data.unlink()
    assert reason(read_wfdb, header, "s") == "missing .dat"
    header.write_text("")
    assert reason(read_wfdb, header, "s") == "unreadable ECG"
    header.write_text("a 12 500 5000\nnonsense\n")
    assert reason(read_wfdb, header, "s") == "missing file"


def test_header_reads_only_its_own_folder(tmp_path):
    (tmp_path / "inner").mkdir()
    write_ecg(tmp_path)
    header = write_ecg(tmp_path / "inner")
    header.write_text(header.read_text().replace("a.dat", "../a.dat"))
    assert reason(read_wfdb, header, "s") == "signal file elsewhere"


def test_real_recordings(shared):
    for path in sorted((shared / "real" / "ecg").glob("*.hea")):
        ecg = harmonise(read_wfdb(path, path.stem))
        flat = ("flat:V2", "flat:V4", "flat:V6") if path.stem == "JS20004" else ()
        assert ecg.flags == flat, path.stem
        one, two, three = ecg.signal[:3]
        assert np.abs(two - one - three).max() < 0.02, "Einthoven"


def test_nifti(tmp_path):
    volume = np.random.default_rng(0).integers(0, 255, (20, 30, 9, 4), dtype=np.uint8)
    labels = (volume > 200).astype(np.uint8)
    study = read_nifti(write_image(tmp_path / "a.nii.gz", volume), "s", write_image(tmp_path / "b.nii.gz", labels))
    assert study.images.shape == (9, 4, 30, 20) and study.images.dtype == np.uint8
    assert study.images[8, 3, 29, 1] == volume[1, 29, 8, 3], "rows are y, columns x"
    assert study.spacing == pytest.approx((1.7, 1.8)), "millimetres per row, then per column"
    np.testing.assert_array_equal(study.labels, study.images > 200)
    assert read_nifti(tmp_path / "a.nii.gz", "s").labels is None


def test_pair(tmp_path):
    volumes = np.random.default_rng(0).integers(0, 255, (2, 20, 30, 9), dtype=np.uint8)
    ed, es = (write_image(tmp_path / f"{k}.nii.gz", volume) for k, volume in enumerate(volumes))
    study = read_nifti_pair(ed, es, "s")
    assert study.images.shape == (9, 2, 30, 20)
    assert study.images[5, 1, 7, 3] == volumes[1, 3, 7, 5]
    other = write_image(tmp_path / "c.nii.gz", volumes[0][:, :, :8])
    assert reason(read_nifti_pair, ed, other, "s") == "ED and ES differ in shape"


def test_bad_nifti(tmp_path):
    assert reason(read_nifti, tmp_path / "none.nii.gz", "s") == "missing .gz"
    volume = np.random.default_rng(0).integers(0, 255, (20, 30, 9, 4), dtype=np.uint8)
    path = write_image(tmp_path / "a.nii.gz", volume)
    path.write_bytes(path.read_bytes()[:5000])
    assert reason(read_nifti, path, "s") == "unreadable image"
    path.write_bytes(b"no image at all")
    assert reason(read_nifti, path, "s") == "unreadable image"
    assert reason(read_nifti, write_image(tmp_path / "d.nii.gz", volume[..., 0]), "s") == "wrong shape"


def test_nifti_of_absurd_size_is_not_unpacked(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((4000, 4000, 40, 100))
    header.set_data_dtype(np.uint8)
    path = tmp_path / "a.nii"
    path.write_bytes(header.binaryblock + bytes(4 + 1000))
    assert reason(read_nifti, path, "s") == "absurd image size"

"""NIfTI from outside: seen alike however a volume is stored, and judged by its header before it is unpacked."""

import gzip
import resource

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcl.data.cmr_preprocessing import Cine, preprocess_cine
from mmcl.data.dicom import read_dicom_zip
from mmcl.data.nifti import load_labels, load_volume
from mmcl.data.orientation import directions
from mmcl.data.quarantine import Unusable
from mmcl.data.readers import read_nifti, read_nifti_pair
from mmcl.simulation.dicom import DOWN, RIGHT, Oddities, write_dicom_zip

SPACING = (1.7, 1.8, 10.0)
COUNT = 10  # even, so that the middle slice depends on which end is the base


def beating():
    """Cine (slices, frames, rows, columns) without any symmetry, no slice like another."""
    rows, columns = np.indices((60, 52))
    radius = np.array([13, 11, 8, 10])[:, None, None]
    disc = np.hypot(rows - 26, 1.2 * (columns - 30)) < radius
    noise = np.random.default_rng(0).integers(0, 40, (COUNT, 1, 60, 52))
    return (40 + 8 * np.arange(COUNT)[:, None, None, None] + 100 * disc + noise).astype(np.uint8)


CINE = beating()
LABELS = (3 * (CINE > CINE.min(axis=(1, 2, 3), keepdims=True) + 90)).astype(np.uint8)


def image(volume, code=1):
    """The cine as NIfTI (x, y, slice, time) on the planes that the simulated DICOM has, or without geometry."""
    right, down = np.array(RIGHT), np.array(DOWN)
    affine = np.eye(4)
    affine[:3, :3] = np.stack([right * SPACING[0], down * SPACING[1], np.cross(down, right) * SPACING[2]], axis=1)
    affine[:3] *= np.array([-1, -1, 1])[:, None]
    found = nibabel.Nifti1Image(volume.transpose(3, 2, 0, 1), affine)
    found.set_sform(affine, code)
    found.set_qform(affine, code)
    return found


def save(path, found):
    nibabel.save(found, path)
    return path


def stored(found, axes, flips):
    """The same volume in another order of its axes, some of them reversed, its affine telling of it."""
    start = nibabel.orientations.io_orientation(np.eye(4))
    start[:, 0], start[:, 1] = axes, flips
    return found.as_reoriented(start)


def reason(read, *arguments, **options):
    with pytest.raises(Unusable) as caught:
        read(*arguments, **options)
    return caught.value.rejection.reason


@pytest.mark.parametrize(
    "axes, flips",
    [
        ((0, 1, 2), (1, 1, 1)),
        ((0, 1, 2), (1, -1, 1)),  # as dcm2niix stores it
        ((0, 1, 2), (-1, 1, 1)),
        ((0, 1, 2), (-1, -1, -1)),
        ((0, 1, 2), (1, 1, -1)),
        ((1, 0, 2), (1, 1, 1)),
        ((1, 0, 2), (-1, 1, -1)),
        ((1, 2, 0), (1, -1, 1)),
        ((2, 0, 1), (1, 1, -1)),
    ],
)
def test_a_study_is_seen_alike_from_dicom_and_however_its_nifti_is_stored(tmp_path, axes, flips):
    write_dicom_zip(tmp_path / "a.zip", "s", CINE, SPACING)
    path = save(tmp_path / "a.nii.gz", stored(image(CINE), axes, flips))
    labels = save(tmp_path / "b.nii.gz", stored(image(LABELS), axes, flips))
    expected = read_dicom_zip(tmp_path / "a.zip", "s")
    found = read_nifti(path, "s", labels)
    np.testing.assert_array_equal(found.images, CINE)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.spacing == pytest.approx(expected.spacing)
    moved = (axes, flips) != ((0, 1, 2), (1, 1, 1))
    assert found.flags == (("orientation:turned",) if moved else ())
    one, two = (preprocess_cine(cine, 32, True, es_frame=2) for cine in (expected, found))
    np.testing.assert_array_equal(one.images, two.images)


def test_canonical_and_turned_conversions(tmp_path):
    canonical = save(tmp_path / "a.nii.gz", nibabel.as_closest_canonical(image(CINE)))
    np.testing.assert_array_equal(read_nifti(canonical, "s").images, CINE)
    write_dicom_zip(tmp_path / "a.zip", "s", CINE, SPACING, Oddities(turned=True))
    turned = read_dicom_zip(tmp_path / "a.zip", "s")
    assert turned.flags == ("orientation:turned",)
    np.testing.assert_array_equal(turned.images[0], read_nifti(canonical, "s").images[COUNT // 2])


def test_volumes_at_ed_and_es_are_turned_too(tmp_path):
    one, two = (save(tmp_path / f"{k}.nii.gz", stored(image(CINE[:, [k]]), (1, 0, 2), (1, -1, -1))) for k in (0, 2))
    pair = read_nifti_pair(one, two, "s")
    np.testing.assert_array_equal(pair.images, CINE[:, [0, 2]])
    assert pair.flags == ("orientation:turned",) and pair.spacing == pytest.approx((1.8, 1.7))


@pytest.mark.parametrize("affine", ["codes 0", "diagonal", "LPS diagonal"])
def test_without_geometry_columns_are_x_and_rows_y(tmp_path, affine):
    found = image(CINE)
    if affine == "codes 0":
        found.set_sform(None, 0)
        found.set_qform(None, 0)
    else:
        sign = -1 if affine == "LPS diagonal" else 1
        found = nibabel.Nifti1Image(found.get_fdata().astype(np.uint8), np.diag([sign * 1.7, sign * 1.8, 10.0, 1.0]))
    upside = found.slicer[::-1, ::-1, ::-1]
    study = read_nifti(save(tmp_path / "a.nii.gz", nibabel.Nifti1Image(upside.dataobj, found.affine)), "s")
    np.testing.assert_array_equal(study.images, CINE[::-1, :, ::-1, ::-1])
    assert study.flags == ()


def test_labels_without_geometry_follow_their_images(tmp_path):
    path = save(tmp_path / "a.nii.gz", stored(image(CINE), (0, 1, 2), (1, -1, 1)))
    bare = stored(image(LABELS), (0, 1, 2), (1, -1, 1)).dataobj
    labels = save(tmp_path / "b.nii.gz", nibabel.Nifti1Image(bare, np.eye(4)))
    np.testing.assert_array_equal(read_nifti(path, "s", labels).labels, LABELS)


def test_directions():
    assert directions(np.diag([-1.0, -1.0, 10.0, 1.0])) is None and directions(np.zeros((4, 4))) is None
    assert directions(np.full((4, 4), np.nan)) is None and directions(np.triu(np.ones((4, 4)))) is None
    np.testing.assert_allclose(directions(image(CINE).affine)[0], RIGHT, atol=1e-6)


def test_scaled_float_and_single_axes(tmp_path):
    path = tmp_path / "a.nii.gz"
    content = bytearray(image(CINE).to_bytes())
    content[112:120] = np.array([2.0, -10.0], "<f4").tobytes()  # scl_slope and scl_inter
    path.write_bytes(gzip.compress(bytes(content)))
    study = read_nifti(path, "s")
    assert study.images.dtype == np.float32
    np.testing.assert_array_equal(study.images, CINE * 2.0 - 10)
    for dtype in (np.float32, np.float64, np.int32, np.uint16):
        np.testing.assert_array_equal(read_nifti(save(path, image(CINE.astype(dtype))), "s").images, CINE)
    five = nibabel.Nifti1Image(CINE.transpose(3, 2, 0, 1)[:, :, :, None], np.eye(4))
    np.testing.assert_array_equal(read_nifti(save(path, five), "s").images, CINE)
    last = nibabel.Nifti1Image(CINE.transpose(3, 2, 0, 1)[..., None], np.eye(4))
    np.testing.assert_array_equal(read_nifti(save(path, last), "s").images, CINE)
    assert reason(read_nifti, save(path, image(CINE).slicer[..., 0]), "s") == "wrong shape"
    nan = CINE.astype(np.float32)
    nan[5, 1, 3, 3] = np.nan
    assert reason(preprocess_cine, read_nifti(save(path, image(nan)), "s"), 32, True) == "NaN in the image"


def test_kinds_of_labels(tmp_path):
    path = tmp_path / "a.nii.gz"
    for dtype in (np.float32, np.float64, np.int16, np.uint8):
        labels = load_labels(save(path, image(LABELS.astype(dtype))), "s", 4)
        assert labels.array.dtype == np.uint8
        np.testing.assert_array_equal(labels.stored(), LABELS)
    for value in (0.5, -1.0, 256.0, np.nan, np.inf):
        spoilt = LABELS.astype(np.float32)
        spoilt[0, 0, 0, 0] = value
        assert reason(load_labels, save(path, image(spoilt)), "s", 4) == "no labels"


def test_colour_and_complex_images(tmp_path):
    colour = np.zeros((6, 5, 8, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for array in (colour, np.ones((6, 5, 8, 3), np.complex64)):
        path = save(tmp_path / "a.nii.gz", nibabel.Nifti1Image(array, np.eye(4)))
        assert reason(read_nifti, path, "s") == "unknown pixels"


def header(shape, dtype=np.uint8, offset=352, kind=nibabel.Nifti1Header):
    found = kind()
    found.set_data_shape(shape)
    found.set_data_dtype(dtype)
    found["vox_offset"] = offset
    found["magic"] = b"n+1" if kind is nibabel.Nifti1Header else found["magic"]
    return found


def test_bombs_are_judged_before_they_are_unpacked(tmp_path):
    path = tmp_path / "a.nii.gz"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for shape, dtype in (((2000, 2000, 400, 1), np.uint8), ((1000, 1000, 100, 1), np.float64)):
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(header(shape, dtype).binaryblock)
            for _ in range(64):
                file.write(bytes(1 << 20))
        assert reason(read_nifti, path, "s") == "absurd image size"
    # An extension before the image would be read whole, however long it says that it is.
    content = bytearray(header((6, 5, 8, 3), offset=2**30).binaryblock) + b"\1\0\0\0"
    content += (2**30 - 352).to_bytes(4, "little") + bytes(4 + 1000)
    with gzip.open(path, "wb") as file:
        file.write(content)
    assert reason(read_nifti, path, "s") == "absurd image size"
    # Whatever follows the image is not unpacked.
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header((6, 5, 8, 3)).binaryblock + bytes(4 + 6 * 5 * 8 * 3))
        for _ in range(600):
            file.write(bytes(1 << 20))
    assert read_nifti(path, "s").images.shape == (8, 3, 5, 6)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_other_kinds_of_files(tmp_path):
    for name in ("a.mgz", "a.nii.bz2", "a.img", "a.dcm"):
        path = tmp_path / name
        path.write_bytes(header((6, 5, 8, 3)).binaryblock + bytes(1000))
        assert reason(load_volume, path, "s", 4) == "unreadable image"
    path = save(tmp_path / "a.nii.gz", image(CINE))
    whole = path.read_bytes()
    for size in (0, 10, 100, len(whole) // 2, len(whole) - 50):
        path.write_bytes(whole[:size])
        assert reason(load_volume, path, "s", 4) == "unreadable image", size
    second = nibabel.Nifti2Image(CINE.transpose(3, 2, 0, 1), np.eye(4))
    np.testing.assert_array_equal(read_nifti(save(tmp_path / "b.nii", second), "s").images, CINE)


SMALL = image(CINE[:8, :3, :6, :5]).to_bytes()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 360), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(0, len(SMALL)) | st.just(len(SMALL)),
    st.booleans(),
)
def test_any_header_ends_in_a_cine_or_a_reason(tmp_path, changes, length, packed):
    content = bytearray(SMALL)
    for place, value in changes:
        content[place : place + len(value)] = value
    path = tmp_path / ("a.nii.gz" if packed else "a.nii")
    path.write_bytes(gzip.compress(bytes(content[:length]), 1) if packed else bytes(content[:length]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for read in (lambda: read_nifti(path, "s"), lambda: load_labels(path, "s", 4)):
        try:
            found = read()
        except Unusable as unusable:
            assert unusable.rejection.reason and unusable.rejection.file == str(path)
        else:
            assert not isinstance(found, Cine) or found.images.ndim == 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 << 10

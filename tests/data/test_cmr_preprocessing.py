import numpy as np
import pytest

from mmcl.data.cmr_preprocessing import (
    CANVAS,
    Cine,
    crop_about,
    es_from_labels,
    find_heart,
    fit_canvas,
    preprocess_cine,
    scale,
)
from mmcl.data.quarantine import Unusable


def beating(shape=(120, 110), centre=(50, 70), slices=9, frames=10, es=4, rest=22, systolic=14):
    """Cine and labels of a bright disc in a dark ring that contracts until frame `es`, in noise."""
    rows, columns = np.indices(shape)
    distance = np.hypot(rows - centre[0], columns - centre[1])
    phase = 1 - np.abs(np.arange(frames) - es) / max(es, frames - es)
    radius = rest - (rest - systolic) * phase
    cavity = distance < radius[:, None, None]
    muscle = (distance < radius[:, None, None] + 8) & ~cavity
    labels = np.where(cavity, 3, np.where(muscle, 2, 0)).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 3, (frames, *shape))
    movie = 60 + 140 * cavity - 40 * muscle + noise
    shapes = (slices, frames, *shape)
    return np.broadcast_to(movie, shapes).astype(np.float32), np.broadcast_to(labels, shapes)


def cine(images, labels=None, spacing=(1.8, 1.8)):
    return Cine(images, labels, spacing, "0012", "0012.nii.gz")


def reason(found, **options):
    with pytest.raises(Unusable) as caught:
        preprocess_cine(found, 78, False, **options)
    assert caught.value.rejection.subject == "0012"
    return caught.value.rejection.reason


def test_frames_and_their_labels():
    images, labels = beating()
    heart = preprocess_cine(cine(images, labels), crop=78, centre_crop=True)
    assert heart.images.shape == heart.labels.shape == (3, 78, 78) and heart.images.dtype == np.uint8
    assert heart.flags == () and heart.es_frame == 4
    area = (heart.labels == 3).sum(axis=(1, 2))
    assert area[0] < area[1] < area[2], "end-systole, halfway, end-diastole"
    for frame in range(3):
        inside = heart.images[frame][heart.labels[frame] == 3].mean()
        assert inside > heart.images[frame][heart.labels[frame] == 2].mean() + 100, "labels lie on the image"
    assert (heart.labels[2] == 3).sum() == (labels[4, 0] == 3).sum(), "nothing is cut off"


def test_paper_crop_of_a_full_image():
    images = np.random.default_rng(1).integers(0, 255, (10, 6, 210, 208)).astype(np.uint8)
    heart = preprocess_cine(cine(images), 78, centre_crop=False, es_frame=2)
    frames = images[5][[2, 1, 0]].astype(float)
    high = np.percentile(frames, 99)
    expected = np.rint(255 * (np.minimum(frames, high) - frames.min()) / (high - frames.min()))
    # 210 x 208 gains one column of zeros on each side.
    np.testing.assert_array_equal(heart.images, expected[:, 44:122, 67:145])


def test_whole_frames_are_what_was_cropped():
    images, labels = beating()
    alone = preprocess_cine(cine(images, labels), crop=78, centre_crop=False)
    assert alone.whole is None and alone.whole_labels is None
    heart = preprocess_cine(cine(images, labels), crop=78, centre_crop=False, whole=CANVAS)
    assert heart.whole.shape == heart.whole_labels.shape == (3, CANVAS, CANVAS) and heart.whole.dtype == np.uint8
    np.testing.assert_array_equal(heart.whole[:, 44:122, 68:146], heart.images)
    np.testing.assert_array_equal(heart.whole_labels[:, 44:122, 68:146], heart.labels)
    np.testing.assert_array_equal(heart.images, alone.images)
    assert (heart.whole[:, :45] == 0).all(), "an image of 120 rows has 45 of zeros above it"
    # Of the side of a square image, the frame is the image itself.
    small = np.random.default_rng(2).integers(0, 255, (10, 4, 89, 89)).astype(np.uint8)
    whole = preprocess_cine(cine(small), 78, centre_crop=False, es_frame=2, whole=89).whole
    assert np.corrcoef(whole[2].ravel(), small[5, 0].ravel())[0, 1] > 0.999


def test_heart_is_found_and_fallback_is_flagged():
    images, _ = beating(centre=(50, 70))
    row, column = find_heart(images[4], 78)
    assert abs(row - 50) < 1.5 and abs(column - 70) < 1.5
    still = np.broadcast_to(images[:, :1], images.shape)
    heart = preprocess_cine(cine(still), 78, centre_crop=True)
    assert heart.flags == ("es:image", "halfway:mean", "centre:fixed")
    np.testing.assert_array_equal(heart.images, preprocess_cine(cine(still), 78, centre_crop=False).images)
    moved, labels = beating(centre=(70, 40))
    rows, columns = np.nonzero(preprocess_cine(cine(moved, labels), 78, True).labels[2] == 3)
    assert abs(rows.mean() - 39) < 2 and abs(columns.mean() - 39) < 2


def test_motion_everywhere_is_no_heart():
    movie = np.random.default_rng(0).normal(100, 5, (8, 200, 200)) + 50 * np.sin(np.arange(8))[:, None, None]
    assert find_heart(movie, 78) is None


def test_end_systole_from_image_labels_and_table():
    images, labels = beating(es=6)
    assert preprocess_cine(cine(images), 78, True).es_frame == 6
    assert "es:image" in preprocess_cine(cine(images), 78, True).flags
    assert preprocess_cine(cine(images, labels), 78, True).es_frame == 6
    assert preprocess_cine(cine(images, labels), 78, True, es_frame=3).es_frame == 3
    assert es_from_labels(labels[4], cavity_label=1) is None
    partly = labels[4].copy()
    partly[[1, 2, 6, 7]] = 0
    assert es_from_labels(partly, 3) == 5, "frames without labels are not the smallest cavity"
    assert reason(cine(images), es_frame=10) == reason(cine(images), es_frame=0) == "end-systole outside the cine"


def test_two_volumes():
    images, labels = beating(frames=2, es=1)
    heart = preprocess_cine(cine(images, labels), 78, True)
    assert heart.flags == ("halfway:mean",)
    # Where a frame was clipped at the 99th percentile, the mean of the frames is not the mean of the clipped ones.
    below = (heart.images < 200).all(axis=0)
    np.testing.assert_allclose(heart.images[1][below], heart.images[[0, 2]].mean(0)[below], atol=1)
    assert below.mean() > 0.5
    assert not heart.labels[1].any() and heart.labels[0].any()


def test_spacing():
    fine, labels = beating(shape=(216, 198), centre=(90, 126), rest=40, systolic=25)
    heart = preprocess_cine(cine(fine, labels, (1.0, 1.0)), 78, True)
    assert heart.flags == ("spacing:1.00mm",)
    assert (heart.labels[2] == 3).sum() == pytest.approx((labels[4, 0] == 3).sum() / 1.8**2, rel=0.03)
    assert set(np.unique(heart.labels)) == {0, 2, 3}
    assert preprocess_cine(cine(fine, labels, (1.8269, 1.8269)), 78, True).flags == ()


def test_canvas():
    image = np.arange(1, 5 * 3 + 1).reshape(1, 5, 3)
    canvas = fit_canvas(image)
    assert canvas.shape == (1, CANVAS, CANVAS) and canvas.sum() == image.sum()
    np.testing.assert_array_equal(canvas[0, 102:107, 103:106], image[0])
    large = np.random.default_rng(0).random((1, 213, 300))
    np.testing.assert_array_equal(fit_canvas(large), large[:, 1:211, 45:255])
    np.testing.assert_array_equal(crop_about(canvas, (2, 300), 78), canvas[:, :78, -78:])


def test_scale_clips_the_brightest_percent():
    frames = np.arange(30_000.0).reshape(3, 100, 100)
    scaled = scale(frames)
    assert scaled.min() == 0 and scaled.max() == 1 and (scaled == 1).mean() == pytest.approx(0.01, abs=1e-3)
    assert scale(np.full((3, 5, 5), 7.0)) is None


def test_unusable():
    images, labels = beating()
    assert reason(cine(images[:7])) == reason(cine(images[:1])) == "too few slices"
    assert reason(cine(images[:, :1])) == "too few frames"
    assert reason(cine(images[0])) == "wrong shape"
    assert reason(cine(images, labels[:, :, :9])) == "labels of another shape"
    assert reason(cine(np.full_like(images, 80))) == "constant image"
    assert reason(cine(images, spacing=(0.0, 1.8))) == "implausible spacing"
    broken = images.copy()
    broken[4, 3, 2, 1] = np.nan
    assert reason(cine(broken)) == "NaN in the image"


def test_real_volumes(shared):
    from mmcl.data.readers import read_nifti_pair

    folder = shared / "real" / "cmr"
    study = read_nifti_pair(folder / "acdc_sax_ed.nii.gz", folder / "acdc_sax_es.nii.gz", "acdc")
    heart = preprocess_cine(study, 78, True)
    assert heart.flags == ("spacing:1.00mm", "es:image", "halfway:mean")
    bright = heart.images[2] > 200
    rows, columns = np.nonzero(bright)
    assert abs(np.median(rows) - 39) < 8 and abs(np.median(columns) - 39) < 12, "the cavity lies in the middle"
    assert bright.sum() > (heart.images[0] > 200).sum(), "and shrinks in systole"

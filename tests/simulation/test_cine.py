"""Cine: masks against phenotypes, motion, contrast, and independence of batch and of what else is rendered."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, gaussian_filter, zoom

from mmcl.config import CohortConfig
from mmcl.simulation.cine import beat_phase, end_systole, render_cine
from mmcl.simulation.heart import build_hearts, segment_area
from mmcl.simulation.infarct import TERRITORIES
from mmcl.simulation.parameters import override
from mmcl.simulation.population import sample_people

SMALL = CohortConfig(train=1, validation=0, test=0, slices=8, frames=8, matrix=88)
COVER = dataclasses.replace(SMALL, slices=13, frames=2)
VOXEL = 1.8 * 1.8 * 10 / 1000  # ml


def hearts_of(count, **options):
    return build_hearts(0, sample_people(0, torch.arange(count), **options))


def slope(x, y):
    return (x * y).sum() / (x * x).sum()


@pytest.fixture(scope="module")
def hearts():
    return hearts_of(12)


@pytest.fixture(scope="module")
def cine(hearts):
    return render_cine(0, hearts, SMALL)


@pytest.fixture(scope="module")
def cover():
    """End-diastolic masks of full-cover stacks: (hearts, labels (n, slices, rows, columns))."""
    many = hearts_of(60)
    return many, render_cine(0, many, COVER).labels[:, :, 0].numpy()


def test_shapes_and_types(cine):
    assert cine.images.shape == cine.labels.shape == (12, 8, 8, 88, 88)
    assert cine.images.dtype == cine.labels.dtype == torch.uint8
    assert cine.ed_frame == 0 and cine.slice_distance == 12.5
    assert set(cine.labels.unique().tolist()) <= {0, 1, 2, 3, 4}


# The right ventricle is widest at its base, where the depth of a slice decides most: planning alone costs it 0.01.
@pytest.mark.parametrize(
    ("labels", "volume", "bound"),
    [((3,), "lv_edv", 0.975), ((2, 4), "lv_mass", 0.97), ((1,), "rv_edv", 0.955)],
)
def test_masks_hold_the_phenotypes_volumes(cover, labels, volume, bound):
    many, masks = cover
    counted = np.isin(masks, labels).sum((1, 2, 3)) * VOXEL
    true = getattr(many, volume).numpy() / (1.05 if volume == "lv_mass" else 1)
    assert np.corrcoef(counted, true)[0, 1] > bound
    assert slope(true, counted) == pytest.approx(1, abs=0.06)


def test_end_systolic_masks_hold_the_end_systolic_volume():
    many = hearts_of(10)
    fine = dataclasses.replace(SMALL, slices=13, frames=24)
    rendered = render_cine(0, many, fine)
    masks = rendered.labels[torch.arange(10), :, rendered.es_frame].numpy()
    for label, true in ((3, many.lv_esv), (1, many.rv_esv)):
        assert slope(true.numpy(), (masks == label).sum((1, 2, 3)) * VOXEL) == pytest.approx(1, abs=0.08)
    muscle = np.isin(rendered.labels.numpy(), (2, 4)).sum((1, 3, 4))
    assert np.abs(muscle / muscle[:, :1] - 1).max() < 0.20, "single hearts, limited by the slice distance"
    assert np.abs(muscle.mean(0) / muscle[:, 0].mean() - 1).max() < 0.07, "the wall's volume is kept over the beat"


def test_end_systole_is_the_smallest_cavity(hearts, cine):
    area = (cine.labels[:, 4] == 3).sum((-2, -1)).numpy()
    found = area.argmin(1)
    expected = cine.es_frame.numpy()
    assert (area[np.arange(12), expected] <= area.min(1) * 1.02 + 1).all(), (found, expected)
    phase = beat_phase(hearts, 400)
    assert (phase[:, 0] == 0).all() and (phase.max(1).values > 0.999).all() and (phase[:, -1] < 0.05).all()
    late = end_systole(hearts, 400) / 400 * 60 / hearts.heart_rate
    assert ((late > 0.2) & (late < 0.42)).all(), "seconds"


def test_middle_frames_equal_those_of_the_full_cine(hearts, cine):
    middle = render_cine(0, hearts, SMALL, middle_only=True)
    frames = torch.stack((torch.zeros_like(cine.es_frame), cine.es_frame // 2, cine.es_frame), 1)
    pick = torch.arange(12)[:, None]
    assert torch.equal(middle.es_frame, cine.es_frame)
    assert torch.equal(middle.labels[:, 0], cine.labels[pick, 4, frames])
    assert torch.equal(middle.images[:, 0], cine.images[pick, 4, frames])


def test_subject_is_the_same_in_any_batch(cine):
    order = torch.tensor([7, 2])
    alone = render_cine(0, build_hearts(0, sample_people(0, order)), SMALL)
    assert torch.equal(alone.labels, cine.labels[order])
    assert torch.equal(alone.images, cine.images[order])
    other = render_cine(1, build_hearts(0, sample_people(0, order)), SMALL)
    assert (other.images.int() - alone.images.int()).abs().double().mean() > 3


def test_contrast_and_place(cine):
    images, labels = cine.images.double(), cine.labels
    blood, muscle = images[labels == 3].mean(), images[labels == 2].mean()
    assert blood > 2.2 * muscle
    assert 2 * muscle < images[labels == 1].mean() < blood, "inflow makes the left ventricle the brighter one"
    row, column = np.nonzero((labels[:, 4, 0] == 3).any(0).numpy())
    assert abs(row.mean() - 43.5) < 8 and 43.5 < column.mean() < 60, "left ventricle right of the middle"
    right_column = np.nonzero((labels[:, 4, 0] == 1).any(0).numpy())[1]
    assert right_column.mean() < column.mean(), "right ventricle at the image's left"


def test_contrast_sharpness_and_noise_are_those_of_a_real_volume(shared):
    nibabel = pytest.importorskip("nibabel")
    path = shared / "real" / "cmr" / "acdc_sax_ed.nii.gz"
    if not path.is_file():
        pytest.skip(f"needs {path.name} (ACDC), which may not be passed on")
    volume = np.asarray(nibabel.load(path).dataobj, dtype=float).transpose(2, 1, 0)
    second, third = (zoom(volume[k], 1 / 1.8, order=1) for k in (2, 3))  # at the spacing of the simulation
    blood = np.median(second[42:52, 46:56])  # places read off the volume by eye
    tissue = [np.median(place) for place in (second[50:78, 17:28], third[44:52, 31:34], third[3:25, 34:94])]
    septum = third[48, 30:42]
    real = [*(np.array(tissue) / blood), _steepest(septum), _grain(second, 47, 51) / blood]

    many = hearts_of(60)
    rendered = render_cine(0, many, SMALL, middle_only=True)
    found = []
    for image, label in zip(rendered.images[:, 0, 0].double().numpy(), rendered.labels[:, 0, 0].numpy(), strict=True):
        cavity, right = (image[binary_erosion(label == k, iterations=2)] for k in (3, 1))
        wall = image[binary_erosion(label == 2)]
        row, column = (int(place.mean()) for place in np.nonzero(label == 3))
        edge = image[row, np.nonzero(label[row] == 3)[0][0] + np.arange(-5, 6)]
        level = np.median(cavity)
        ratio = np.array([np.median(part) for part in (right, wall, image[4:14, 40:60])]) / level
        found.append([*ratio, _steepest(edge), _grain(image, row, column) / level])
    found = np.median(found, axis=0)
    names = ["right over left blood", "muscle over blood", "lung over blood", "steepest step", "grain of blood"]
    assert dict(zip(names, found, strict=True)) == pytest.approx(dict(zip(names, real, strict=True)), rel=0.35)


def _steepest(line):
    """Largest step from pixel to pixel across an edge, over the whole of it."""
    return np.abs(np.diff(line)).max() / np.ptp(line)


def _grain(image, row, column):
    """SD of the fine detail in a small square of even tissue."""
    detail = image - gaussian_filter(image, 1.0)
    return detail[row - 4 : row + 5, column - 4 : column + 5].std()


def test_beats_of_unequal_length_blur_the_cine_of_fibrillation_alone(hearts):
    irregular = dataclasses.replace(hearts.people, in_af=torch.ones(12, dtype=torch.bool))
    fibrillating = dataclasses.replace(hearts, people=irregular)
    with override({"cine.mixing": (0.0, 0.0)}):
        sharp = render_cine(0, fibrillating, SMALL, middle_only=True)
    with override({"cine.mixing": (0.15, 0.15)}):
        mixed = render_cine(0, fibrillating, SMALL, middle_only=True)
        regular = dataclasses.replace(hearts, people=dataclasses.replace(hearts.people, in_af=~irregular.in_af))
        steady = render_cine(0, regular, SMALL, middle_only=True)
    assert torch.equal(mixed.labels, sharp.labels), "masks are those of the measured beat"
    assert torch.equal(steady.images[:, :, 0], sharp.images[:, :, 0]), "end-diastole is the same but for the blur"
    inner = [image[:, 0, 0].double()[sharp.labels[:, 0, 0] == 3] for image in (sharp.images, mixed.images)]
    assert inner[1].mean() < 0.98 * inner[0].mean(), "muscle of shorter beats shows inside the cavity"


def test_papillary_muscles_turn_with_the_wall(hearts):
    still = {"motion.twist_base": 0.0, "motion.twist_apex": 0.0}
    quiet = {"short_axis.trabecula": 0.0, "short_axis.mottle": 0.0, "short_axis.flow": 0.0, "cine.mixing": (0.0, 0.0)}
    with override(quiet):
        turning = render_cine(0, hearts, SMALL)
        with override(still):
            fixed = render_cine(0, hearts, SMALL)
    assert torch.equal(turning.labels, fixed.labels), "borders stay where they are"
    assert torch.equal(turning.images[:, :, 0], fixed.images[:, :, 0]), "no twist at end-diastole"
    subject = torch.arange(12)
    late = [c.images[subject, 5, c.es_frame].double() for c in (turning, fixed)]
    assert (late[0] - late[1])[turning.labels[subject, 5, turning.es_frame] == 3].abs().mean() > 2


def test_a_late_segment_is_thinner_at_end_systole_than_one_on_time():
    people = sample_people(0, torch.arange(400))
    chosen = people.subject[people.lbbb & ~people.cad][:3]
    ill = build_hearts(0, sample_people(0, chosen))
    prompt = dataclasses.replace(ill, segment_delay=torch.zeros_like(ill.segment_delay))
    late, on_time = (render_cine(0, each, dataclasses.replace(SMALL, frames=20)) for each in (ill, prompt))
    early = late.es_frame // 2
    subject = torch.arange(len(chosen))
    area = [(c.labels[subject, 4, early] == 3).sum((-2, -1)) for c in (late, on_time)]
    assert (area[0] > area[1]).all(), "the lateral wall has not yet moved inwards"


def test_scar_lies_in_the_wall_of_its_territory():
    many = hearts_of(300, odds=(200.0, 1.0, 1.0))
    scar = (many.transmurality > 0.3).any(1) & (many.people.culprit == 0)
    subject = many.people.subject[scar][:6]
    chosen = build_hearts(0, sample_people(0, subject, odds=(200.0, 1.0, 1.0)))
    rendered = render_cine(0, chosen, dataclasses.replace(SMALL, frames=2))
    labels = rendered.labels[:, :, 0].numpy()
    assert ((labels == 4).sum((1, 2, 3)) > 20).all()
    for stack in labels:
        wall = np.isin(stack, (2, 4))
        assert (wall.sum((1, 2)) >= (stack == 4).sum((1, 2))).all()
        scarred = np.nonzero((stack == 4).any((1, 2)))[0]
        centre = [np.array(np.nonzero(stack[k] >= 3)).mean(1) for k in scarred]
        up = np.concatenate([c[0] - np.nonzero(stack[k] == 4)[0] for k, c in zip(scarred, centre, strict=True)])
        assert up.mean() > -6, "the LAD's territory is anterior, septal and apical"
    assert 1 in TERRITORIES[0]


def test_masks_hold_the_mass_of_scar():
    many = hearts_of(60, odds=(20.0, 1.0, 1.0))
    thick = many.wall_thickness / 1000 * segment_area(many) * 1e6
    true = (thick * many.transmurality).sum(1).numpy()  # ml; the apical cap is left out
    counted = (render_cine(0, many, COVER).labels[:, :, 0] == 4).sum((1, 2, 3)).numpy() * VOXEL
    scarred = true > 1
    assert scarred.sum() > 10 and (counted[true == 0] == 0).all()
    assert np.corrcoef(counted[scarred], true[scarred])[0, 1] > 0.97
    assert slope(true[scarred], counted[scarred]) == pytest.approx(1, abs=0.15)


def test_large_matrix_and_full_protocol():
    large = dataclasses.replace(SMALL, slices=10, frames=3, matrix=210)
    one = render_cine(0, hearts_of(1), large)
    assert one.images.shape == (1, 10, 3, 210, 210) and one.slice_distance == 10
    row, column = np.nonzero((one.labels[0, 5, 0] > 0).numpy())
    assert 44 < row.min() and row.max() < 122 and 60 < column.min() and column.max() < 150, "inside the published crop"


def test_too_few_frames_are_refused(hearts):
    with pytest.raises(ValueError, match="frames"):
        render_cine(0, hearts, dataclasses.replace(SMALL, frames=1))

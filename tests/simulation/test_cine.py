"""Cine: masks against phenotypes, motion, contrast, and independence of batch and of what else is rendered."""

import dataclasses

import numpy as np
import pytest
import torch

from mmcl.config import CohortConfig
from mmcl.simulation.cine import beat_phase, end_systole, render_cine
from mmcl.simulation.heart import build_hearts
from mmcl.simulation.infarct import TERRITORIES
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


@pytest.mark.parametrize(
    ("labels", "volume", "bound"),
    [((3,), "lv_edv", 0.975), ((2, 4), "lv_mass", 0.97), ((1,), "rv_edv", 0.97)],
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
    apart = (middle.images[:, 0].int() - cine.images[pick, 4, frames].int()).abs()
    assert apart.max() <= 1 and (apart > 0).double().mean() < 1e-3


def test_subject_is_the_same_in_any_batch(cine):
    order = torch.tensor([7, 2])
    alone = render_cine(0, build_hearts(0, sample_people(0, order)), SMALL)
    assert torch.equal(alone.labels, cine.labels[order])
    assert (alone.images.int() - cine.images[order].int()).abs().max() <= 1
    other = render_cine(1, build_hearts(0, sample_people(0, order)), SMALL)
    assert (other.images.int() - alone.images.int()).abs().double().mean() > 3


def test_contrast_and_place(cine):
    images, labels = cine.images.double(), cine.labels
    blood, muscle = images[labels == 3].mean(), images[labels == 2].mean()
    assert blood > 2.2 * muscle
    assert images[labels == 1].mean() > 2 * muscle
    row, column = np.nonzero((labels[:, 4, 0] == 3).any(0).numpy())
    assert abs(row.mean() - 43.5) < 8 and 43.5 < column.mean() < 60, "left ventricle right of the middle"
    right_column = np.nonzero((labels[:, 4, 0] == 1).any(0).numpy())[1]
    assert right_column.mean() < column.mean(), "right ventricle at the image's left"


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


def test_large_matrix_and_full_protocol():
    large = dataclasses.replace(SMALL, slices=10, frames=3, matrix=210)
    one = render_cine(0, hearts_of(1), large)
    assert one.images.shape == (1, 10, 3, 210, 210) and one.slice_distance == 10
    row, column = np.nonzero((one.labels[0, 5, 0] > 0).numpy())
    assert 44 < row.min() and row.max() < 122 and 60 < column.min() and column.max() < 150, "inside the published crop"


def test_too_few_frames_are_refused(hearts):
    with pytest.raises(ValueError, match="frames"):
        render_cine(0, hearts, dataclasses.replace(SMALL, frames=1))

"""Tasks: which labels are learnt from, few or all, on all subjects or in balanced sets."""

import dataclasses

import numpy as np
import pytest

from mmcl.config import DISEASES
from mmcl.data.store import Store
from mmcl.training.tasks import open_task


@pytest.fixture
def store(smoke_run):
    """The store with 5, 9 and 2 cases among its 24 training subjects."""
    opened = Store.open(smoke_run.store)
    subjects = opened.subjects.copy()
    for disease, cases in zip(DISEASES, (5, 9, 2), strict=True):
        subjects[disease] = (np.arange(len(subjects)) % 24 < cases).astype(float)
    subjects.loc[23, "CAD"] = np.nan
    return dataclasses.replace(opened, subjects=subjects)


def test_a_balanced_set_holds_all_cases_and_as_many_controls(store):
    natural, task = open_task("risk", store), open_task("risk", store, seed=1, balance="sets")
    for k, cases in enumerate((5, 9, 2)):
        known = task.labels[task.train, k]
        assert np.nansum(known) == cases and np.isfinite(known).sum() == 2 * cases
        part = task.parts()[k]
        assert part.targets == (DISEASES[k],) and len(part.train) == 2 * cases
        assert np.isfinite(part.labels[part.train]).all()
        assert part.expected == pytest.approx(np.nanmean(natural.labels[natural.train, k]))
    held = np.concatenate([task.validation, task.test])
    np.testing.assert_array_equal(task.labels[held], natural.labels[held])
    np.testing.assert_array_equal(task.labels, open_task("risk", store, seed=1, balance="sets").labels)
    assert not np.array_equal(task.labels, open_task("risk", store, seed=2, balance="sets").labels, equal_nan=True)
    assert natural.parts() == (natural,)
    assert len(open_task("phenotypes", store, balance="sets").train) == 24


def test_a_tenth_is_of_the_balanced_set_and_fewer_are_among_more(store):
    sizes, rows = [], []
    for few in (0.01, 0.4, 6, None):
        part = open_task("risk", store, few, seed=5, balance="sets").parts()[0]
        labels = part.labels[part.train]
        assert labels.mean() == 0.5
        sizes.append(len(labels))
        rows.append(set(part.train))
    assert sizes == [2, 4, 6, 10]
    assert rows[0] < rows[1] < rows[2] < rows[3]


def test_a_share_of_all_subjects_is_so_many(store):
    share, count = open_task("phenotypes", store, 0.25, seed=3), open_task("phenotypes", store, 6, seed=3)
    np.testing.assert_array_equal(share.train, count.train)
    assert len(share.train) == 6 and len(open_task("risk", store, 0.01).train) == 1
    risk = open_task("risk", store, 6, seed=3)
    np.testing.assert_allclose(risk.expected, np.nanmean(risk.labels[risk.train], axis=0))


def test_bad_requests_are_refused(store):
    with pytest.raises(ValueError, match="few labels 1.5"):
        open_task("risk", store, 1.5)
    with pytest.raises(ValueError, match="few labels 0"):
        open_task("risk", store, 0)
    with pytest.raises(ValueError, match="unknown balance 'equal'"):
        open_task("risk", store, balance="equal")
    with pytest.raises(ValueError, match="unknown task 'stroke'"):
        open_task("stroke", store)

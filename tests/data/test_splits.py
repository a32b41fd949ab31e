import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcl.data.splits import check_disjoint, split_by_column, split_by_fractions, split_by_sizes


def test_published_sizes():
    subjects = [f"{k}" for k in range(40_044)]
    split = split_by_fractions(subjects, seed=0)
    assert [int((split == name).sum()) for name in ("train", "validation", "test")] == [28_030, 6_007, 6_007]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.integers(0, 5), st.randoms())
def test_a_subject_keeps_its_split_whatever_the_order_and_the_visits(numbers, seed, random):
    subjects = [f"s{number}" for number in numbers]
    split = dict(zip(subjects, split_by_fractions(subjects, seed=seed), strict=True))
    shuffled = subjects * 2
    random.shuffle(shuffled)
    again = split_by_fractions(shuffled, seed=seed)
    assert [split[subject] for subject in shuffled] == list(again)


def test_exact_sizes_and_seed():
    subjects = [f"sim{k:07d}" for k in range(96)]
    split = split_by_sizes(subjects, (48, 16, 32), seed=0)
    assert [int((split == name).sum()) for name in ("train", "validation", "test")] == [48, 16, 32]
    assert not np.array_equal(split, split_by_sizes(subjects, (48, 16, 32), seed=1))
    assert len(set(split[:24])) == 3, "the splits are mixed, not blocks of the list"


def test_refusals():
    with pytest.raises(ValueError, match="empty"):
        split_by_sizes([], (0, 0, 0), seed=0)
    with pytest.raises(ValueError, match="empty"):
        split_by_column([], [])
    with pytest.raises(ValueError, match="add up to 4, but the cohort has 3"):
        split_by_sizes(["a", "b", "c", "c"], (2, 1, 1), seed=0)
    with pytest.raises(ValueError, match="add up to 1"):
        split_by_fractions(["a"], (0.5, 0.5, 0.5))


def test_column():
    assert list(split_by_column(["a", "b", "c", "a"], ["Train", "val", "test ", "train"])) == [
        "train",
        "validation",
        "test",
        "train",
    ]
    with pytest.raises(ValueError, match="subject b is in two splits, test and train"):
        split_by_column(["a", "b", "b"], ["train", "test", "train"])
    with pytest.raises(ValueError, match="subject a: split 'holdout'"):
        split_by_column(["a"], ["holdout"])
    with pytest.raises(ValueError, match="subject a is in two splits"):
        check_disjoint(["a", "a"], ["train", "test"])

"""Examples follow their rule, whatever the order of the subjects."""

import numpy as np
import pytest

from mmcl.interpretation.examples import chosen_examples


def test_the_rule_is_told_by_ranks():
    score = np.random.default_rng(0).permutation(101).astype(float)
    chosen = chosen_examples(score)
    assert {name: score[k] for name, k in chosen.items()} == {"median": 50, "lower quartile": 25, "worst": 0}
    chosen = chosen_examples(score, larger_is_better=False)
    assert {name: score[k] for name, k in chosen.items()} == {"median": 50, "lower quartile": 75, "worst": 100}


def test_missing_scores_are_never_chosen():
    assert set(chosen_examples(np.array([np.nan, 0.3, np.nan])).values()) == {1}
    with pytest.raises(ValueError, match="2 scores, none of them a number"):
        chosen_examples(np.full(2, np.nan))

"""A training is stopped in turn for its reference, and ends when all pairs are there."""

import dataclasses

import pytest
import torch

from mmcl.config import preset
from mmcl.profiles import profile
from mmcl.training.pretraining import new_module
from tests.benchmarks.fast import Turns, fit, some_subjects
from tests.benchmarks.stores import random_store
from tests.benchmarks.timing import Comparison


@pytest.mark.parametrize(("rounds", "order"), [(4, "F1 R1 R2 F2 F3 R3 R4 F4"), (3, "F1 R1 R2 F2 F3 R3")])
def test_turns_alternate_and_then_training_ends(rounds, order, tmp_path):
    sizes, steps, batch = profile("smoke"), 2, 4
    sizes = dataclasses.replace(sizes, mdm=dataclasses.replace(sizes.mdm, epochs=1, batch=batch))
    module, seen = new_module("mdm", sizes, preset("corrected"), 0), []
    comparison = Comparison("MDM step", "", "subjects", 1.0)

    def reference():
        seen.append((module.global_step, len(comparison.fast)))

    turns = Turns(comparison, lambda: None, reference, batch * steps, steps, rounds)
    store = random_store(tmp_path / "store", sizes, 24)
    fit(module, some_subjects(module, store, None, 100), batch, tmp_path / "mdm", torch.device("cpu"), turns)
    assert module.global_step == steps * (rounds + 1), "training went on"
    assert len(comparison.fast) == len(comparison.reference) == rounds
    # The first call warms up; each other comes after as many turns of the training as the order says.
    told = order.split()
    expected = [sum(turn[0] == "F" for turn in told[:place]) for place, turn in enumerate(told) if turn[0] == "R"]
    assert [fast for _, fast in seen] == [0, *expected]

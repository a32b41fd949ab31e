"""Figures of the cohort: hearts with all that belongs to them, targets at their distance in tolerances."""

import numpy as np
import pandas as pd
import pytest

from mmcl.plotting.bullseye import Wedge
from mmcl.plotting.cohort import REACH, draw_examples, draw_subjects, draw_targets
from mmcl.simulation.examples import Exemplar


def exemplar(name="Healthy", scar=0.0):
    rows, columns = np.mgrid[:48, :48]
    radius = np.hypot(rows - 24, columns - 26)
    labels = np.select([radius < 8, radius < 13], [3, 2], 0).astype(np.uint8)
    labels[(labels == 2) & (rows < 15) & (scar > 0)] = 4
    signal = np.random.default_rng(0).normal(size=(12, 5000)) * 0.1
    depth = np.full(16, scar)
    return Exemplar(7, name, "man, 61 years", signal, np.stack([labels * 60] * 3), np.stack([labels] * 3), depth, depth)


def target(name, got, group="healthy men", value=10.0, tolerance=2.0):
    met = bool(abs(got - value) <= tolerance)
    return {
        "name": name, "group": group, "unit": "mV", "target": value, "tolerance": tolerance, "got": got,
        "standard error": 0.5, "n": 50, "met": met,
    }  # fmt: skip


def test_examples_show_each_heart_in_a_row():
    figure = draw_examples([exemplar("Healthy"), exemplar("Infarct", 0.8)], "simulated cohort, seed 0")
    assert [axes.get_title("left") for axes in figure.axes[::3]] == ["Healthy", "Infarct"]
    assert [axes.texts[0].get_text() for axes in figure.axes[1:3]] == ["ED", "ES"]
    assert len(figure.axes) == 6 and "simulated cohort" in figure.texts[0].get_text()
    assert "Scar" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_subjects_have_paper_frames_and_bullseye():
    figure = draw_subjects([exemplar("A"), exemplar("B", 0.8), exemplar("C")], "simulated cohort, seed 0")
    shown = [axes for axes in figure.axes if axes.axison]
    titles = [axes.get_title("left") for axes in shown if axes.get_title("left").startswith(("1", "2", "3"))]
    assert titles == ["1  A", "2  B", "3  C"]
    rings = [[p for p in axes.patches if isinstance(p, Wedge)] for axes in figure.axes]
    rings = [wedges for wedges in rings if wedges]
    assert [len(wedges) for wedges in rings] == [16] * 3
    assert rings[1][0].get_linewidth() > rings[0][0].get_linewidth()
    assert figure.axes[-1].get_xlabel() == "Activation (ms)"


def test_targets_lie_at_their_distance_in_tolerances():
    entries = [
        target("R men", 11.0), target("R women", 15.0, "healthy women"), target("age", 30.0, "all"),
        target("odds of CAD in men", np.nan, "all"),
    ]  # fmt: skip
    figure = draw_targets(pd.DataFrame(entries), "simulated", columns=1)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["R", "age", "odds of CAD in men"]
    marks = {line.get_gid(): line for line in axes.get_lines() if line.get_gid() in {e["name"] for e in entries}}
    assert {name: float(mark.get_xdata()[0]) for name, mark in marks.items()} == pytest.approx(
        {"R men": 0.5, "R women": 2.5, "age": REACH}
    )
    assert marks["age"].get_marker() == ">"
    assert marks["R men"].get_markerfacecolor() != "white" and marks["R women"].get_markerfacecolor() == "white"
    assert "1 of 3 targets" in figure.texts[0].get_text()

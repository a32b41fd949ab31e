"""Loss curves of both paths: what is drawn."""

import itertools

import numpy as np
import pandas as pd

from mmcl.plotting.benchmark import draw_curves


def test_thick_lines_are_means_over_seeds():
    rows = itertools.product(("mdm", "mmcl"), ("fast", "reference"), (0, 1, 2), range(4))
    curves = pd.DataFrame(
        {"arm": arm, "path": path, "seed": seed, "epoch": epoch, "loss": seed + (path == "fast") - 0.1 * epoch}
        for arm, path, seed, epoch in rows
    )
    figure = draw_curves(curves, "simulated test cohort, n = 3")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["MDM", "MMCL from scratch"]
    means = {line.get_gid(): line for axes in figure.axes for line in axes.lines if " " in str(line.get_gid())}
    assert set(means) == {f"{arm} {path}" for arm in ("mdm", "mmcl") for path in ("fast", "reference")}
    np.testing.assert_allclose(means["mmcl fast"].get_ydata(), 2 - 0.1 * np.arange(4))
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"this project", "reference path"}
    assert any("simulated" in text.get_text() for text in figure.texts)

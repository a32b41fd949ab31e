"""One style, one look an arm, one way to save."""

import json

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from mmcl.plotting.style import ARMS, arm, in_order, new_figure, save, style


def figure():
    with style():
        figure = new_figure(2.0, "simulated cohort, n = 3", note="Bars: standard deviation.")
        figure.subplots().plot([1, 2, 3])
    return figure


def test_save_writes_png_pdf_and_data_with_equal_bytes(tmp_path):
    data = {"table": pd.DataFrame({"r": [0.5, np.nan]}), "n": np.int64(3), "curve": np.array([[1.0, np.inf]])}
    for name in ("one", "two"):
        assert save(figure(), tmp_path / f"{name}.png", data) == tmp_path / f"{name}.png"
    for suffix in (".png", ".pdf", ".json"):
        first, second = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "two"))
        assert first == second and len(first) > 30
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".json", ".pdf", ".pdf", ".png", ".png"]
    back = json.loads((tmp_path / "one.json").read_text())
    assert back == {"table": [{"r": 0.5}, {"r": None}], "n": 3, "curve": [[1.0, None]]}


def test_a_dotted_name_keeps_its_dot(tmp_path):
    assert save(figure(), tmp_path / "lvef.v2", {}).name == "lvef.v2.png"


def test_data_of_unknown_type_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="type object"):
        save(figure(), tmp_path / "figure", {"x": object()})
    assert not list(tmp_path.iterdir())


def test_source_and_note_stand_on_the_figure_and_none_is_refused():
    (foot,) = [text.get_text() for text in figure().texts if text.get_gid() == "source"]
    assert foot == "Bars: standard deviation.\nData: simulated cohort, n = 3"
    with pytest.raises(ValueError, match="without a source"):
        new_figure(2.0, "  ")


def test_a_notebook_shows_the_figure_without_a_window():
    assert figure()._repr_png_()[:4] == b"\x89PNG"


def test_style_leaves_the_readers_settings_alone():
    before = dict(mpl.rcParams)
    figure()
    assert dict(mpl.rcParams) == before


def test_every_arm_has_its_own_look():
    assert len({look.colour for look in ARMS.values()}) == len({look.label for look in ARMS.values()}) == len(ARMS)
    colours = np.array([to_rgb(look.colour) for look in ARMS.values()])
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + 9 * np.eye(len(ARMS))
    assert distance.min() > 0.2


def test_an_arm_of_ones_own_goes_by_its_name_after_the_others():
    assert arm("new").label == "new" and arm("new") == arm("new")
    assert in_order(["new", "cmr", "another", "mdm", "cmr"]) == ["mdm", "cmr", "another", "new"]

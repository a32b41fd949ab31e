"""Figures of what outputs rest on: one a map, of the subject that the rule says."""

import json

import numpy as np

from mmcl.interpretation.ecg_maps import EcgMaps
from mmcl.plotting.attribution import show_attributions
from mmcl.profiles import profile


def test_the_median_subject_is_shown(tmp_path):
    ecg, random = profile("smoke").ecg, np.random.default_rng(0)
    size = np.array([1.0, 5.0, 3.0])[:, None, None]
    gradients = size * np.sign(random.normal(size=(3, 12, ecg.window)))
    maps = EcgMaps(gradients, np.zeros(3), np.zeros((3, 12)), np.zeros((3, 5)))
    similar = EcgMaps(gradients, np.zeros(3), maps.leads, maps.waves, size[::-1] / 10 * np.ones((3, 12, 12)))
    signals = random.normal(size=(3, 12, ecg.window))
    found = {"similarity": (similar, similar), "LVM": (maps, maps)}
    show_attributions(found, signals, ecg, "mmcl", "simulated", tmp_path)
    names = {path.stem for path in tmp_path.glob("*.png")}
    assert names == {"localisation_ecg", "attribution_ecg_similarity", "attribution_ecg_LVM"}
    drawn = json.loads((tmp_path / "attribution_ecg_LVM.json").read_text())["gradients"]
    np.testing.assert_array_equal(np.abs(drawn), 3.0)
    drawn = json.loads((tmp_path / "localisation_ecg.json").read_text())["cosine"]
    np.testing.assert_allclose(drawn, 0.3)

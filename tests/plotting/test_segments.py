"""The map over the ECG stands under the trace that it belongs to."""

import numpy as np
import pytest

from mmcl.plotting.segments import draw_segments
from mmcl.profiles import profile


def test_the_map_lies_under_lead_ii_on_the_same_time():
    ecg, random = profile("smoke").ecg, np.random.default_rng(0)
    values, signal = random.uniform(-1, 1, (12, 12)), random.normal(size=(12, ecg.window))
    figure = draw_segments(values, signal, ecg, "simulated", "MMCL; median subject.")
    above, below = figure.axes[:2]
    np.testing.assert_array_equal(above.lines[0].get_ydata(), signal[1])
    np.testing.assert_array_equal(below.images[0].get_array(), values)
    assert above.get_xlim() == below.get_xlim() == (0, ecg.window / ecg.sampling_rate)
    with pytest.raises(ValueError, match=r"map of shape \(3, 12\)"):
        draw_segments(values[:3], signal, ecg, "simulated")

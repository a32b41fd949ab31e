"""Maps over the ECG: leads down, time across."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from mmcl.config import LEADS, EcgConfig
from mmcl.plotting.style import new_figure, style


def draw_segments(values: np.ndarray, ecg: EcgConfig, source: str, label: str = "Cosine with the CMR") -> Figure:
    """Heat map of `values` (12, times), which divide the model's window evenly."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(LEADS):
        raise ValueError(f"map of shape {values.shape}: expected ({len(LEADS)}, times)")
    limit = max(float(np.abs(values).max()), 1e-6)
    with style():
        figure = new_figure(3.4, source)
        axes = figure.subplots()
        extent = (0, ecg.window / ecg.sampling_rate, len(LEADS) - 0.5, -0.5)
        image = axes.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", extent=extent)
        axes.set(xlabel="Time in the window (s)", ylabel="Lead", yticks=range(len(LEADS)), yticklabels=LEADS)
        figure.colorbar(image, label=label)
    return figure

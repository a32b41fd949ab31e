"""A map over the ECG: leads down, time across, and above it the lead that tells the beats apart."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from mmcl.config import LEADS, EcgConfig
from mmcl.plotting.electrocardiogram import RHYTHM
from mmcl.plotting.style import INK, new_figure, style


def draw_segments(
    values: np.ndarray,
    signal: np.ndarray,
    ecg: EcgConfig,
    source: str,
    note: str = "",
    label: str = "Cosine with the CMR",
) -> Figure:
    """Heat map of `values` (12, times) of one subject, which divide the model's window evenly, under lead II of the
    subject's `signal` (12, window), standardised.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or len(values) != len(LEADS):
        raise ValueError(f"map of shape {values.shape}: expected ({len(LEADS)}, times)")
    limit, seconds = max(float(np.abs(values).max()), 1e-6), ecg.window / ecg.sampling_rate
    with style():
        figure = new_figure(4.2, source, note=note)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 3))
        above.plot(np.arange(ecg.window) / ecg.sampling_rate, signal[LEADS.index(RHYTHM)], color=INK, linewidth=0.9)
        above.set(ylabel=f"Lead {RHYTHM} (SD)")
        extent = (0, seconds, len(LEADS) - 0.5, -0.5)
        image = below.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", extent=extent)
        below.set(xlabel="Time in the window (s)", ylabel="Lead", yticks=range(len(LEADS)), yticklabels=LEADS)
        figure.colorbar(image, ax=below, label=label)
    return figure

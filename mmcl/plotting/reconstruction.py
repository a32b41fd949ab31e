"""An ECG beside what a masked autoencoder made of the part that it saw."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from mmcl.config import LEADS
from mmcl.plotting.style import ARMS, INK, QUIET, new_figure, style

SHOWN = ("I", "II", "V2", "V5")


def draw_reconstruction(
    ecg: np.ndarray,
    prediction: np.ndarray,
    masked: np.ndarray,
    sampling_rate: float,
    correlation: float,
    source: str,
    leads: tuple[str, ...] = SHOWN,
) -> Figure:
    """Input and reconstruction of `leads`, hidden stretches shaded.

    `ecg`, `prediction` (12, time) in standard deviations; `masked` (12, time) bool, True where the encoder saw nothing;
    `correlation` the NCC of this record.
    """
    seconds = np.arange(ecg.shape[1]) / sampling_rate
    with style():
        figure = new_figure(0.95 * len(leads) + 1.0, source, note=f"One record, NCC {correlation:.2f}. Shaded: hidden.")
        panels = figure.subplots(len(leads), 1, sharex=True, squeeze=False)[:, 0]
        for axes, lead in zip(panels, leads, strict=True):
            row = LEADS.index(lead)
            low, high = np.min([ecg[row], prediction[row]]), np.max([ecg[row], prediction[row]])
            axes.fill_between(seconds, low, high, where=masked[row], step="post", color=QUIET, linewidth=0, alpha=0.2)
            axes.plot(seconds, ecg[row], color=INK, linewidth=0.9, label="Recorded")
            axes.plot(seconds, prediction[row], color=ARMS["mdm"].colour, linewidth=1.4, label="Rebuilt")
            axes.set_title(lead)
        panels[-1].set(xlabel="Time (s)", xlim=(seconds[0], seconds[-1]))
        figure.supylabel("Standardised amplitude (SD)", fontsize=9)
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper right", ncols=2)
    return figure

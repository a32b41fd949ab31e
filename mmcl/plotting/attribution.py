"""What of one ECG an output rests on, for the subject that a stated rule chooses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmcl.config import EcgConfig
from mmcl.interpretation.ecg_maps import SIMILARITY, EcgMaps
from mmcl.interpretation.examples import chosen_examples
from mmcl.interpretation.heads import PHENOTYPE, RISK
from mmcl.plotting.electrocardiogram import draw_electrocardiogram
from mmcl.plotting.segments import draw_segments
from mmcl.plotting.style import arm as look
from mmcl.plotting.style import show

OUTPUTS = {
    SIMILARITY: ("the similarity with the CMR", "Contribution to the cosine"),
    RISK: (f"the risk of {RISK}", "Contribution to the log-odds"),
    PHENOTYPE: (f"the predicted {PHENOTYPE}", "Contribution (g)"),
}
"""Output -> what a title calls it, and what its integrated gradients are."""


def show_attributions(
    maps: Mapping[str, tuple[EcgMaps, EcgMaps]],
    signals: np.ndarray,
    ecg: EcgConfig,
    arm: str,
    source: str,
    folder: Path,
) -> None:
    """Show the maps of `arm` over the `signals` (n, 12, window), standardised, saved in `folder`: the localisation as
    `localisation_ecg`, and the integrated gradients of each output as `attribution_ecg_<output>`.

    Each is that of the median subject, by the mean cosine or by the sum of absolute gradients.
    """
    name = look(arm).label
    for output, (own, _) in maps.items():
        if own.localisation is not None:
            k = chosen_examples(own.localisation.mean(axis=(1, 2)))["median"]
            note = f"{name}; median subject by the mean cosine."
            figure = draw_segments(own.localisation[k], signals[k], ecg, source, note)
            show(figure, folder / "localisation_ecg", {"cosine": own.localisation[k].astype(float).round(4)})
        k = chosen_examples(np.abs(own.gradients).sum(axis=(1, 2)))["median"]
        title, label = OUTPUTS[output]
        figure = draw_electrocardiogram(
            signals[k],
            source,
            ecg.sampling_rate,
            f"Integrated gradients of {title}, {name}",
            attribution=own.gradients[k],
            attribution_label=label,
            simultaneous=True,
            unit="SD",
            note="Median subject by the sum of absolute gradients.",
        )
        show(figure, folder / f"attribution_ecg_{output}", {"gradients": own.gradients[k].astype(float).round(5)})

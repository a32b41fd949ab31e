"""Counterfactuals: one property of a subject replaced while every draw stays the same.

A change is applied after all draws, so that it has no effect but its own: coronary disease turned on does not bring
atrial fibrillation, and a heart turned on its axis keeps its size. Nuisances such as the spread of conductivities are
parameters; see `mmcl.simulation.parameters.override`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

Change = Mapping[str, float | bool | Callable[[torch.Tensor], torch.Tensor]]
"""Name of a property -> its new value, the same for all, or a function of the old values."""

PEOPLE = {
    "female": "sex, (n,) bool",
    "age": "years, (n,)",
    "height": "m, (n,); weight stays",
    "weight": "kg, (n,)",
    "systolic": "mmHg, (n,); the diagnosis of hypertension stays",
    "diastolic": "mmHg, (n,)",
    "hypertension": "(n,) bool; the pressure stays",
    "cad": "coronary artery disease, (n,) bool",
    "unrecognised": "the infarct was never noticed, (n,) bool; matters with `cad` alone",
    "af": "atrial fibrillation, (n,) bool",
    "dm": "diabetes, (n,) bool",
    "in_af": "fibrillating at the recording, (n,) bool; who does has `af`",
    "lbbb": "left bundle branch block, (n,) bool",
    "rbbb": "right bundle branch block, (n,) bool; not beside `lbbb`",
    "culprit": "artery of CAD, (n,) 0 LAD, 1 RCA, 2 LCX; matters with `cad` alone",
    "silent": "disease that no hospital record shows, (n, 3) bool, order of DISEASES",
}
"""Properties that `sample_people` can change, with shape and unit."""

HEART = {
    "lv_edv": "ml, (n,)",
    "lv_mass": "g before scars thin the wall, (n,)",
    "length": "cavity length over equatorial diameter, (n,)",
    "ejection_fraction": "0-1, (n,), of a wall without scar or block",
    "heart_rate": "/min, (n,)",
    "conduction": "velocity factor about 1, (n,)",
    "transmurality": "depth of scar from the endocardium, 0-1, (n, 16); a number is taken by every segment",
    "stunning": "contraction lost without scar, 0-1, (n, 16)",
    "segment_delay": "ms by which a segment's activation is late, (n, 16)",
    "la_max": "ml, (n,)",
    "ra_max": "ml, (n,)",
    "centre_x": "m to the left, (n,), of the ventricle's middle in the torso",
    "centre_y": "m upwards, (n,)",
    "centre_z": "m forwards, (n,)",
    "azimuth": "rad of the long axis from the left to the front, (n,)",
    "elevation": "rad of the long axis upwards, (n,); usually negative",
    "roll": "rad about the long axis, (n,)",
}
"""Properties that `build_hearts` can change, with shape and unit."""


LIMITS = {
    "age": (18, 110),
    "height": (1.2, 2.3),
    "weight": (25, 300),
    "systolic": (60, 260),
    "diastolic": (30, 160),
    "culprit": (-1, 2),
    "lv_edv": (25, 700),
    "lv_mass": (20, 700),
    "length": (1.2, 2.4),
    "ejection_fraction": (0.1, 0.85),
    "heart_rate": (30, 200),
    "conduction": (0.3, 2.5),
    "transmurality": (0, 1),
    "stunning": (0, 1),
    "segment_delay": (-30, 150),
    "la_max": (10, 400),
    "ra_max": (10, 400),
    "centre_x": (-0.1, 0.1),
    "centre_y": (-0.1, 0.1),
    "centre_z": (-0.1, 0.1),
    "azimuth": (-3.2, 3.2),
    "elevation": (-1.5, 1.5),
    "roll": (-6.3, 6.3),
}
"""Smallest and largest value of a property for which the model makes sense, in its unit; truths are 0 or 1."""


def changed(change: Change | None, name: str, value: torch.Tensor) -> torch.Tensor:
    """`value` (n, ...) of the property `name` with the change applied: same shape, dtype and device.

    A function must treat each subject by itself. ValueError when it gives another shape, and for a value that is no
    finite number or outside `LIMITS`.
    """
    if not change or name not in change:
        return value
    new = change[name]
    try:
        result = new(value.clone()) if callable(new) else torch.tensor(float(new), dtype=torch.float64)
        result = torch.as_tensor(result, device=value.device)
    except (TypeError, ValueError) as error:
        raise ValueError(f"change of {name!r}: {new!r}; expected a number or a function of a tensor") from error
    if not callable(new):
        result = result.expand_as(value)
    if result.shape != value.shape:
        raise ValueError(f"change of {name!r}: shape {tuple(result.shape)}; expected {tuple(value.shape)}")
    low, high = LIMITS.get(name, (0, 1))
    wrong = ~((result >= low) & (result <= high))
    if wrong.any():
        raise ValueError(f"change of {name!r}: {result[wrong][0].item():g}; expected {low:g} to {high:g}")
    return result.to(value.dtype)


def check_names(change: Change | None) -> None:
    """ValueError for a name that neither `sample_people` nor `build_hearts` knows."""
    unknown = set(change or ()) - PEOPLE.keys() - HEART.keys()
    if unknown:
        raise ValueError(f"cannot change {', '.join(sorted(unknown))}; expected some of {', '.join((*PEOPLE, *HEART))}")

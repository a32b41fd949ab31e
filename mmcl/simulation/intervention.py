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
    "in_af": "fibrillating at the recording, (n,) bool",
    "lbbb": "left bundle branch block, (n,) bool",
    "rbbb": "right bundle branch block, (n,) bool",
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


def changed(change: Change | None, name: str, value: torch.Tensor) -> torch.Tensor:
    """`value` (n, ...) of the property `name` with the change applied: same shape, dtype and device.

    A function must treat each subject by itself. ValueError when it gives another shape or a number that is not finite.
    """
    if not change or name not in change:
        return value
    new = change[name]
    if not callable(new):
        return torch.full_like(value, new)
    result = torch.as_tensor(new(value.clone()), device=value.device)
    if result.shape != value.shape or not result.double().isfinite().all():
        raise ValueError(f"change of {name!r}: {tuple(result.shape)}; expected {tuple(value.shape)} finite numbers")
    return result.to(value.dtype)


def check_names(change: Change | None) -> None:
    """ValueError for a name that neither `sample_people` nor `build_hearts` knows."""
    unknown = set(change or ()) - PEOPLE.keys() - HEART.keys()
    if unknown:
        raise ValueError(f"cannot change {', '.join(sorted(unknown))}; expected some of {', '.join((*PEOPLE, *HEART))}")

"""Linear heads on frozen encoders, as outputs whose attribution is asked for."""

from __future__ import annotations

import numpy as np
from torch import nn

from mmcl.interpretation.attribution import Output, probe_score
from mmcl.setting import Setting
from mmcl.training.probing import fitted_probe, probe

RISK, PHENOTYPE = "CAD", "LVM"

TASKS = {RISK: "risk", PHENOTYPE: "phenotypes"}
"""Target of a head -> its task."""


def head(arm: str, target: str, encoder: nn.Module, setting: Setting) -> Output | None:
    """The linear probe of `target` on all labels, on top of the `encoder` of `arm`; fitted now if need be.

    None where the target has no labels to fit it to.
    """
    probe(arm, TASKS[target], None, setting)
    fitted = fitted_probe(arm, TASKS[target], setting.run)
    if not np.isfinite(fitted.intercept[fitted.names.index(target)]):
        return None
    return probe_score(encoder, fitted, target)

"""mmcl: multimodal contrastive learning of ECG and cardiac MRI, as a reproducible compendium.

The method is that of Turgut et al., *Medical Image Analysis* (2025) 103451. Importing this package imports nothing
heavy: each room (`mmcl.simulation`, `mmcl.data`, `mmcl.models`, ...) is imported where it is used, and the functions
below when they are first asked for.

| name | does |
|---|---|
| `simulate_cohort`, `simulate_batches` | ECG, CMR, masks, phenotypes and truth of simulated subjects |
| `preprocess_ecg`, `preprocess_cmr` | one's own recording to the form that the models take |
| `load_encoder`, `export_encoder` | an encoder from any weight file, and to a file with its card |
| `EcgFeatures` | an encoder as a scikit-learn transformer |

>>> import mmcl
>>> cohort = mmcl.simulate_cohort(2, seed=0, slices=8, frames=4)
>>> cohort.ecg.shape, cohort.cmr.shape, cohort.phenotypes.shape
((2, 12, 5000), (2, 3, 88, 88), (2, 82))
>>> mmcl.preprocess_ecg(cohort.ecg[0], sampling_rate=500).shape
(12, 5000)
>>> [part.ecg.shape for part in mmcl.simulate_batches(range(3), seed=0, images=False, batch=2)]
[(2, 12, 5000), (1, 12, 5000)]
"""

import importlib

__version__ = "0.1.0"

_PUBLIC = {
    "simulate_cohort": "mmcl.simulation.cohort",
    "simulate_batches": "mmcl.simulation.cohort",
    "preprocess_ecg": "mmcl.data.single",
    "preprocess_cmr": "mmcl.data.single",
    "load_encoder": "mmcl.models.pretrained",
    "export_encoder": "mmcl.models.pretrained",
    "EcgFeatures": "mmcl.models.estimator",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]

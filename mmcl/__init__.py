"""mmcl: multimodal contrastive learning of ECG and cardiac MRI, as a reproducible compendium.

The method is that of Turgut et al., *Medical Image Analysis* (2025) 103451. Importing this package imports nothing
heavy; each room (`mmcl.simulation`, `mmcl.data`, `mmcl.models`, ...) is imported where it is used, the simulation when
`mmcl.simulate_cohort` or `mmcl.simulate_batches` is first asked for.
"""

__version__ = "0.1.0"


def __getattr__(name: str):
    if name in ("simulate_cohort", "simulate_batches"):
        from mmcl.simulation import cohort

        return getattr(cohort, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

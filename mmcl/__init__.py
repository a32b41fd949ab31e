"""mmcl: multimodal contrastive learning of ECG and cardiac MRI, as a reproducible compendium.

The method is that of Turgut et al., *Medical Image Analysis* (2025) 103451. Importing this package imports nothing
heavy; each room (`mmcl.simulation`, `mmcl.data`, `mmcl.models`, ...) is imported where it is used.
"""

__version__ = "0.1.0"

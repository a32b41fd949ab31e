"""Objectives of pre-training by name. A new one is a class in this folder and its recipe in `Profile`."""

from mmcl.training.objectives.byol import Byol
from mmcl.training.objectives.clocs import Clocs
from mmcl.training.objectives.contrastive import Contrastive
from mmcl.training.objectives.joint import Joint
from mmcl.training.objectives.masked_modelling import MaskedModelling
from mmcl.training.objectives.objective import Pretraining
from mmcl.training.objectives.views import BarlowTwins, CmrSimclr, Simclr

_ALL = (MaskedModelling, Contrastive, Joint, Simclr, Byol, BarlowTwins, Clocs, CmrSimclr)

OBJECTIVES: dict[str, type[Pretraining]] = {kind.objective: kind for kind in _ALL}
"""Name -> class."""

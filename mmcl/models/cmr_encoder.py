"""CMR encoder: a residual network on three cine frames as channels (method section 5).

The blocks are MONAI's, set up so that the state dict has torchvision's names and shapes and the forward pass is
identical. MONAI is imported when an encoder is built, for it takes seconds.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from mmcl.config import CmrEncoderConfig

RELEASED_PREFIX = "encoder_imaging."
"""Of every name in the released CMR weights."""

RELEASED_CHILDREN = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""Index in the released names (torchvision's children in order) -> module name; 2 and 3 are ReLU and pooling."""


class CmrEncoder(nn.Module):
    """Residual network: (batch, 3, side, side) in [0, 1] -> (batch, features).

    Images are brought to `channels_last` order, 1.6 times as fast on a CPU; weights stay contiguous, for safetensors.
    """

    def __init__(self, config: CmrEncoderConfig):
        super().__init__()
        from monai.networks.nets.resnet import ResNet

        network = ResNet(
            block=config.block,
            layers=list(config.layers),
            block_inplanes=list(config.widths),
            spatial_dims=2,
            n_input_channels=3,
            conv1_t_size=7,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )
        self.conv1, self.bn1 = network.conv1, network.bn1
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        self.width = config.widths[-1] * (4 if config.block == "bottleneck" else 1)

    def feature_map(self, cmr: torch.Tensor) -> torch.Tensor:
        """Last feature map, (batch, features, rows, columns); rows and columns are 1/32 of the side, rounded up."""
        if cmr.ndim != 4 or cmr.shape[1] != 3:
            raise ValueError(f"CMR of shape {tuple(cmr.shape)}: expected (batch, 3, rows, columns)")
        x = cmr.contiguous(memory_format=torch.channels_last)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, cmr: torch.Tensor) -> torch.Tensor:
        """Features: global average of the last feature map, (batch, features)."""
        return self.feature_map(cmr).mean(dim=(2, 3))


def from_released(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename `encoder_imaging.<i>.*` to the names of `CmrEncoder`; tensors of other modules are left out.

    ValueError when no name has the prefix or an index is not of a ResNet without its last layer.
    """
    renamed = {}
    for name, value in state.items():
        if not name.startswith(RELEASED_PREFIX):
            continue
        index, _, rest = name.removeprefix(RELEASED_PREFIX).partition(".")
        if index not in RELEASED_CHILDREN:
            raise ValueError(f"CMR weights: {name} has index {index!r}, expected one of {', '.join(RELEASED_CHILDREN)}")
        renamed[f"{RELEASED_CHILDREN[index]}.{rest}"] = value
    if not renamed:
        raise ValueError(f"CMR weights: no name starts with {RELEASED_PREFIX!r}")
    return renamed


def to_released(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the state dict of a `CmrEncoder` to `encoder_imaging.<i>.*`, the inverse of `from_released`."""
    index = {child: number for number, child in RELEASED_CHILDREN.items()}
    parts = ((name.partition("."), value) for name, value in state.items())
    return {f"{RELEASED_PREFIX}{index[child]}.{rest}": value for (child, _, rest), value in parts}

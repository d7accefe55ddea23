"""HED: a VGG16 fine-tuned for edges, a line-drawing artist and the trunk of the perceptual distance.

Its weights are a file that the user names; it is no part of the product.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from training.networks.frozen import freeze

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# VGG16: output channels of the convolutions of each of the five blocks, and torchvision's index of the first.
VGG_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class EdgeDetector(nn.Module):
    """HED (Xie and Tu 2015): VGG16 with one side output per block, fused into an edge map."""

    def __init__(self):
        super().__init__()
        self.features = nn.ModuleDict()  # torchvision's numbering, ReLU and pooling layers counted
        self.blocks: list[list[str]] = []
        channels, position = 3, 0
        for block in VGG_BLOCKS:
            self.blocks.append([])
            for width in block:
                self.features[str(position)] = nn.Conv2d(channels, width, 3, padding=1)
                self.blocks[-1].append(str(position))
                channels, position = width, position + 2
            position += 1
        self.side = nn.ModuleList(nn.Conv2d(block[-1], 1, 1) for block in VGG_BLOCKS)
        self.fuse = nn.Conv2d(len(VGG_BLOCKS), 1, 1)

    @classmethod
    def from_file(cls, path: str | Path) -> "EdgeDetector":
        """Load from a safetensors file, strictly."""
        detector = cls()
        detector.load_state_dict({key: value.float() for key, value in load_file(path).items()}, strict=True)
        return freeze(detector)

    def forward(self, images: Tensor) -> Tensor:
        """RGB [N, 3, H, W] in [-1, 1] -> ink [N, 1, H, W] in [0, 1], 1 on an edge."""
        mean, std = (images.new_tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        x = ((images + 1) / 2 - mean) / std
        sides = []
        for i, block in enumerate(self.blocks):
            if i:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            for name in block:
                x = F.relu(self.features[name](x))  # [N, C_i, H / 2^i, W / 2^i]
            sides.append(F.interpolate(self.side[i](x), size=images.shape[2:], mode="bilinear"))
        return self.fuse(torch.cat(sides, dim=1)).sigmoid()  # [N, 1, H, W]

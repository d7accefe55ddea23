"""MobileFaceNet: who is in an aligned face, for the identity loss and its figures.

Its weights are a file that the user names; it is no part of the product.
"""

from pathlib import Path

import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from training.networks.frozen import freeze


class Bottleneck(nn.Module):
    """Inverted residual of MobileFaceNet: expand, depthwise, project."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int):
        super().__init__()
        width = in_channels * expansion
        self.residual = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class ConvUnit(nn.Module):
    """Convolution, batch norm and, unless it is the last word of a branch, PReLU."""

    def __init__(self, in_channels: int, channels: int, kernel, stride=1, padding=0, groups=1, activation=True):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(self.bn(self.conv(x)))


class FaceRecogniser(nn.Module):
    """MobileFaceNet (Chen et al. 2018): aligned 256 px faces -> unit vectors that are close for the same person."""

    # Expansion, channels, blocks and first stride of each stage.
    STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
    # Rows and columns of an FFHQ-aligned 256 px face that put the eyes and the mouth where this network learned them
    # (mean positions in label maps of aligned faces, fitted to ArcFace's template for 112 x 96 pixels).
    CROP = (slice(33, 225), slice(55, 200))
    INPUT_SIZE = (112, 96)

    def __init__(self):
        super().__init__()
        self.conv1 = ConvUnit(3, 64, 3, 2, 1)
        self.dw_conv1 = ConvUnit(64, 64, 3, 1, 1, groups=64)
        blocks, channels = [], 64
        for expansion, width, count, first_stride in self.STAGES:
            for i in range(count):
                blocks.append(Bottleneck(channels, width, first_stride if i == 0 else 1, expansion))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = ConvUnit(128, 512, 1)
        self.linear7 = ConvUnit(512, 512, (7, 6), groups=512, activation=False)
        self.linear1 = ConvUnit(512, 128, 1, activation=False)

    @classmethod
    def from_file(cls, path: str | Path) -> "FaceRecogniser":
        """Load from a safetensors file, strictly."""
        recogniser = cls()
        recogniser.load_state_dict(load_file(path), strict=True)
        return freeze(recogniser)

    def forward(self, images: Tensor) -> Tensor:
        """Aligned faces [N, 3, 256, 256] in [-1, 1] -> unit vectors [N, 128]."""
        rows, columns = self.CROP
        face = F.interpolate(images[:, :, rows, columns], size=self.INPUT_SIZE, mode="bilinear", antialias=True)
        x = self.dw_conv1(self.conv1(face))  # [N, 64, 56, 48]
        x = self.conv2(self.blocks(x))  # [N, 512, 7, 6]
        x = self.linear1(self.linear7(x)).flatten(1)  # [N, 128]
        return F.normalize(x, dim=1)

    def embed(self, images: Tensor) -> Tensor:
        """As `forward`; the name that all recognisers share."""
        return self(images)

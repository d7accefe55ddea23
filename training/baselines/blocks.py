"""What several of the baselines are made of."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from psp_hub.hub.components import Component

LEAKY_SLOPE = 0.2


class Baseline(Component):
    """A picture, or a map, straight to a picture.

    Attributes:
        image_size: side of the pictures, a power of two.
        in_channels: of the inputs.
    """

    image_size: int
    in_channels: int

    def forward(self, x: Tensor) -> Tensor:
        """Inputs [N, in_channels, image_size, image_size] -> pictures [N, 3, image_size, image_size] in [-1, 1]."""
        raise NotImplementedError

    def own_loss(self, x: Tensor) -> Tensor | None:
        """What it learns beside the game, []; None for nothing."""
        return None

    @torch.no_grad()
    def remember(self, inputs: Tensor) -> None:
        """Look at inputs of the training set, once it is trained. Most keep nothing."""


def conv(*args: Any, **options: Any) -> nn.Module:
    """A convolution whose weight is divided by its largest singular value (Miyato et al. 2018)."""
    module: nn.Module = spectral_norm(nn.Conv2d(*args, **options))
    return module


def num_doublings(image_size: int, smallest: int = 4) -> int:
    """From `smallest` to `image_size` pixels.

    Raises:
        ValueError: not a power of two times that.
    """
    doublings = (image_size // smallest).bit_length() - 1
    if smallest << max(doublings, 0) != image_size:
        raise ValueError(f"image_size is {image_size}, expected {smallest} times a power of two")
    return doublings


def stage_widths(width: int, doublings: int, most: int = 16) -> list[int]:
    """Channels from the smallest size on: `width` at the last one, twice as many at each before, `most` times it."""
    return [width * min(most, 2 ** (doublings - i)) for i in range(doublings + 1)]


class PlainResidualBlock(nn.Module):
    """x + two 3x3 convolutions with instance norm, reflected at the border (Johnson et al. 2016)."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> the same."""
        return x + self.layers(x)


def double(x: Tensor) -> Tensor:
    """[N, C, H, W] -> [N, C, 2H, 2W], each pixel four times."""
    return F.interpolate(x, scale_factor=2, mode="nearest")

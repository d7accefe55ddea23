"""CC-FPSE's generator (Liu et al. 2019, arXiv:1910.06809, section 3.1): the input predicts the convolutions.

Its discriminator is in `training.baselines.discriminators`.
"""

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from psp_hub.layers import resample
from training.baselines.blocks import LEAKY_SLOPE, Baseline, conv, double, num_doublings, stage_widths

KERNEL = 3


class LayoutPyramid(nn.Module):
    """What the weights of each size are predicted from: the layout seen coarsely first, then joined with finer views.

    Args:
        in_channels: of the layout.
        width: of all features.
        doublings: from 4 pixels to the whole size.
    """

    def __init__(self, in_channels: int, width: int, doublings: int):
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(width, width, 3, stride=2, padding=1) for _ in range(doublings))
        self.lateral = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(doublings))

    def forward(self, m: Tensor) -> list[Tensor]:
        """m [N, in_channels, S, S] -> [N, width, s, s] for s = 4, 8, ..., S."""
        views = [F.leaky_relu(self.first(m), LEAKY_SLOPE)]
        for layer in self.down:
            views.append(F.leaky_relu(layer(views[-1]), LEAKY_SLOPE))
        joined = [views.pop()]  # [N, width, 4, 4], which has seen all
        for layer in self.lateral:
            joined.append(double(joined[-1]) + layer(views.pop()))
        return joined


class ConditionalConv(nn.Module):
    """Equations 1 to 3: a depthwise convolution with a kernel for each channel and pixel, gated, then a plain 1x1.

    Args:
        channels, out_channels: of what is convolved.
        features: channels that kernels and gate are predicted from.
    """

    def __init__(self, channels: int, out_channels: int, features: int):
        super().__init__()
        self.kernels = nn.Conv2d(features, channels * KERNEL**2, 3, padding=1)
        self.gate = nn.Conv2d(features, channels, 3, padding=1)
        self.pointwise = conv(channels, out_channels, 1)

    def forward(self, h: Tensor, view: Tensor) -> Tensor:
        """h [N, C, H, W], view [N, features, H, W] -> [N, C_out, H, W]."""
        size = h.shape[2:]
        kernels = self.kernels(view).unflatten(1, (-1, KERNEL**2))  # [N, C, 9, H, W]
        patches = F.unfold(h, KERNEL, padding=KERNEL // 2)  # [N, C 9, H W]
        patches = patches.unflatten(1, (-1, KERNEL**2)).unflatten(3, size)  # [N, C, 9, H, W]
        depthwise = (patches * kernels).sum(dim=2)  # [N, C, H, W]
        return self.pointwise(depthwise * self.gate(view).sigmoid())


class ConditionalBlock(nn.Module):
    """Two times batch norm, leaky ReLU, conditional convolution; and a 1x1 beside, where channels change."""

    def __init__(self, channels: int, out_channels: int, features: int):
        super().__init__()
        self.norm0, self.norm1 = nn.BatchNorm2d(channels), nn.BatchNorm2d(out_channels)
        self.conv0 = ConditionalConv(channels, out_channels, features)
        self.conv1 = ConditionalConv(out_channels, out_channels, features)
        self.skip = conv(channels, out_channels, 1, bias=False) if channels != out_channels else nn.Identity()

    def forward(self, h: Tensor, view: Tensor) -> Tensor:
        """h [N, C, H, W], view [N, features, H, W] -> [N, C_out, H, W]."""
        beside = self.skip(h)
        h = self.conv0(F.leaky_relu(self.norm0(h), LEAKY_SLOPE), view)
        return beside + self.conv1(F.leaky_relu(self.norm1(h), LEAKY_SLOPE), view)


class CCFPSE(Baseline):
    """The generator, without noise: it begins with the input at 4 x 4 pixels.

    Args:
        in_channels: of the inputs.
        image_size: side of the pictures.
        width: channels at the full size, twice as many at each size before, 16 times as many at most.
        features: channels of the layout's views.
    """

    @register_to_config
    def __init__(self, in_channels: int = 19, image_size: int = 256, width: int = 64, features: int = 64):
        super().__init__()
        self.in_channels, self.image_size = in_channels, image_size
        doublings = num_doublings(image_size)
        widths = stage_widths(width, doublings)
        self.pyramid = LayoutPyramid(in_channels, features, doublings)
        self.first = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        pairs = zip(widths[:1] + widths[:-1], widths, strict=True)
        self.blocks = nn.ModuleList(ConditionalBlock(before, after, features) for before, after in pairs)
        self.to_rgb = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """See `Baseline.forward`."""
        h = self.first(resample(x, 4))  # [N, C, 4, 4]
        for i, (block, view) in enumerate(zip(self.blocks, self.pyramid(x), strict=True)):
            h = block(double(h) if i else h, view)  # [N, C, 4 * 2^i, 4 * 2^i]
        return self.to_rgb(F.leaky_relu(h, LEAKY_SLOPE)).tanh()  # [N, 3, S, S]

"""SPADE (Park et al. 2019, arXiv:1903.07291): normalise, then scale and shift each pixel as its input says."""

import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from psp_hub.layers import resample
from training.baselines.blocks import LEAKY_SLOPE, Baseline, conv, double, num_doublings, stage_widths


class SpatiallyAdaptiveNorm(nn.Module):
    """Equation 1: gamma(m) (h - mu) / sigma + beta(m), with the mean and deviation of each channel over the batch.

    gamma is 1 plus a convolution, so that it starts around 1.

    Args:
        channels: of what is normalised.
        in_channels: of the input m.
        hidden: channels between m and gamma and beta; 128 in the paper.
    """

    def __init__(self, channels: int, in_channels: int, hidden: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.shared = nn.Conv2d(in_channels, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, channels, 3, padding=1)
        self.beta = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, h: Tensor, m: Tensor) -> Tensor:
        """h [N, C, H, W], m [N, in_channels, S, S], S at least H -> [N, C, H, W]."""
        hidden = F.relu(self.shared(resample(m, h.shape[-1])))  # [N, hidden, H, W]
        return self.norm(h) * (1 + self.gamma(hidden)) + self.beta(hidden)


class SpadeBlock(nn.Module):
    """Figure 4 (left): two times norm, leaky ReLU, convolution; and a convolution beside, where channels change."""

    def __init__(self, channels: int, out_channels: int, in_channels: int, hidden: int):
        super().__init__()
        middle = min(channels, out_channels)
        self.norm0 = SpatiallyAdaptiveNorm(channels, in_channels, hidden)
        self.conv0 = conv(channels, middle, 3, padding=1)
        self.norm1 = SpatiallyAdaptiveNorm(middle, in_channels, hidden)
        self.conv1 = conv(middle, out_channels, 3, padding=1)
        self.skip = None
        if channels != out_channels:
            self.norm_skip = SpatiallyAdaptiveNorm(channels, in_channels, hidden)
            self.skip = conv(channels, out_channels, 1, bias=False)

    def forward(self, h: Tensor, m: Tensor) -> Tensor:
        """h [N, C, H, W], m [N, in_channels, S, S] -> [N, C_out, H, W]."""
        beside = h if self.skip is None else self.skip(self.norm_skip(h, m))
        h = self.conv0(F.leaky_relu(self.norm0(h, m), LEAKY_SLOPE))
        h = self.conv1(F.leaky_relu(self.norm1(h, m), LEAKY_SLOPE))
        return beside + h


class Spade(Baseline):
    """The generator (appendix A), without an encoder of a style: it begins with the input at 4 x 4 pixels.

    Args:
        in_channels: of the inputs.
        image_size: side of the pictures.
        width: channels at the full size, twice as many at each size before, 16 times as many at most.
        hidden: see `SpatiallyAdaptiveNorm`.
    """

    @register_to_config
    def __init__(self, in_channels: int = 19, image_size: int = 256, width: int = 64, hidden: int = 128):
        super().__init__()
        self.in_channels, self.image_size = in_channels, image_size
        widths = stage_widths(width, num_doublings(image_size))
        self.first = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        pairs = zip(widths[:1] + widths[:-1], widths, strict=True)
        self.blocks = nn.ModuleList(SpadeBlock(before, after, in_channels, hidden) for before, after in pairs)
        self.to_rgb = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """See `Baseline.forward`."""
        h = self.first(resample(x, 4))  # [N, C, 4, 4]
        for i, block in enumerate(self.blocks):
            h = block(double(h) if i else h, x)  # [N, C, 4 * 2^i, 4 * 2^i]
        return self.to_rgb(F.leaky_relu(h, LEAKY_SLOPE)).tanh()  # [N, 3, S, S]

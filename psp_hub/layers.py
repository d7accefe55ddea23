"""Layers that more than one network needs, in plain PyTorch (no compiled operations)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def pixel_norm(z: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale each row of `z` [N, C] to unit mean square (StyleGAN, section 2)."""
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + eps)


def inverse_haar(x: Tensor) -> Tensor:
    """Inverse Haar wavelet transform: [N, 4C, H, W] -> [N, C, 2H, 2W].

    The first C channels are the low-pass band; the other 3C hold, for each channel in turn, the bands that change
    along y, along x and along both (MobileStyleGAN, section 3.2).
    """
    n, channels, height, width = x.shape
    c = channels // 4
    low = x[:, :c]  # [N, C, H, W]
    high = x[:, c:].reshape(n, c, 3, height, width)
    dy, dx, dxy = high.unbind(dim=2)  # each [N, C, H, W]
    even, odd = low + dx, low - dx  # columns 2j and 2j + 1 of the low-pass rows
    even_dy, odd_dy = dy + dxy, dy - dxy
    bands = torch.stack([even + even_dy, odd + odd_dy, even - even_dy, odd - odd_dy], dim=2)  # [N, C, 4, H, W]
    # The filters are (1, 1) / sqrt(2) and (1, -1) / sqrt(2), once per axis.
    return F.pixel_shuffle(bands.flatten(1, 2) * 0.5, 2)  # [N, C, 2H, 2W]


class Modulation(nn.Linear):
    """Affine map from one style w [N, w_dim] to one factor per input channel, [N, C, 1, 1].

    Args:
        fan_in: the factor is divided by sqrt(fan_in), the equalised learning rate of the convolution it modulates.
    """

    def __init__(self, w_dim: int, channels: int, fan_in: int = 1):
        super().__init__(w_dim, channels)
        self.scale = fan_in**-0.5

    def forward(self, w: Tensor) -> Tensor:
        return (super().forward(w) * self.scale)[:, :, None, None]


def blur(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Smooth what a transposed convolution of stride 2 has left uneven: [N, C, H, W] -> [N, C, H - 1, W - 1].

    The filter is (1, 3, 3, 1) / 4 along each axis (its sum is 2: the transposed convolution halves the density),
    after a border of one zero (StyleGAN2, section 4.2 and its code). One depthwise convolution with all 16 taps is at
    least as fast on a CPU as one per axis. A bias [C] is added.
    """
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 4
    kernel = torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, bias, padding=1, groups=x.shape[1])


def resample(images: Tensor, size: int) -> Tensor:
    """Pictures [N, C, R, R] at another size, [N, C, size, size].

    Each pixel is the mean of those that it covers; pictures that are smaller are enlarged as those that people bring,
    smooth between the pixels.
    """
    if images.shape[-1] < size:
        return F.interpolate(images, size=size, mode="bilinear", align_corners=False)
    return F.adaptive_avg_pool2d(images, size)


def upsample(image: Tensor) -> Tensor:
    """Double the size with the filter (1, 3, 3, 1) / 4, zero outside: [N, C, H, W] -> [N, C, 2H, 2W].

    Away from the border that is bilinear interpolation (a pixel lies 1/4 from one old pixel, 3/4 from the next).
    """
    return F.interpolate(F.pad(image, (1, 1, 1, 1)), scale_factor=2, mode="bilinear")[..., 2:-2, 2:-2]

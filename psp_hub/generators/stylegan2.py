"""StyleGAN2 (Karras et al. 2020, arXiv:1912.04958, configuration F), 32 to 1024 pixels, without compiled operations.

The published networks multiply their weights by constants at run time (equalised learning rate). Here the constants
are folded into the stored weights, so that every layer is a plain one: a linear layer of the mapping network is its
weight * 0.01 / sqrt(inputs) and its bias * 0.01, a modulation is its weight / sqrt(w_dim), a convolution its
weight / sqrt(inputs * kernel size^2). A fresh network has the distribution of the original after folding. To train
one from scratch, give the mapping network 0.01 times the learning rate of the rest.
"""

from collections.abc import Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psp_hub.generators.banded import can_be_banded
from psp_hub.generators.banded_stylegan2 import draw_banded
from psp_hub.generators.base import (
    Generator,
    NoiseMode,
    Synthesis,
    check_noise_mode,
    check_ws,
    noise_maps,
    use_checkpoints,
)
from psp_hub.generators.mapping import GAIN, LEAKY_SLOPE, MappingNetwork
from psp_hub.hub.diffusers_parts import register_to_config
from psp_hub.layers import Modulation, blur, upsample

RESOLUTIONS = (32, 64, 128, 256, 512, 1024)


class StyledConv(nn.Module):
    """Modulate, convolve 3x3, demodulate, add noise and bias, leaky ReLU (section 2.2, figure 2d).

    Scaling the weights for every image of a batch, as the paper writes it, equals scaling the inputs of one shared
    convolution by the style, and its outputs by the demodulation.

    Args:
        up: double the size with a transposed convolution, then blur.
    """

    noise: Tensor

    def __init__(self, in_channels: int, out_channels: int, size: int, w_dim: int, up: bool = False):
        super().__init__()
        self.up = up
        self.modulation = style_to_factors(w_dim, in_channels)
        # A transposed convolution wants its inputs first; transposing at run time would cost more than it looks.
        shape = (in_channels, out_channels) if up else (out_channels, in_channels)
        self.weight = nn.Parameter(torch.randn(*shape, 3, 3) / (9 * in_channels) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, size, size))

    def forward(self, x: Tensor, w: Tensor, noise_mode: NoiseMode, generator: torch.Generator | None) -> Tensor:
        """x [N, C_in, H, W], w [N, w_dim] -> [N, C_out, H, W], or twice as high and wide with `up`."""
        factors = self.modulation(w)  # [N, C_in, 1, 1]
        x = x * factors
        if self.up:
            x = F.conv_transpose2d(x, self.weight, stride=2)  # [N, C_out, 2H + 1, 2W + 1]
            x = blur(x)  # [N, C_out, 2H, 2W]
        else:
            x = F.conv2d(x, self.weight, padding=1)  # [N, C_out, H, W]
        x = torch.addcmul(self.bias[:, None, None] * GAIN, x, self.demodulation(factors).to(x.dtype) * GAIN)
        noise = self.make_noise(len(x), noise_mode, generator)
        if noise is not None:
            x = x.add_(noise * (self.noise_strength * GAIN))
        return F.leaky_relu_(x, LEAKY_SLOPE)

    def demodulation(self, factors: Tensor) -> Tensor:
        """Factors [N, C_in, 1, 1] -> [N, C_out, 1, 1], which give the outputs unit variance; float32 at least."""
        dtype = torch.promote_types(factors.dtype, torch.float32)
        with torch.autocast(factors.device.type, enabled=False):
            energy = self.weight.to(dtype).square().sum(dim=(2, 3))  # [C_out, C_in], of each kernel
            energy = energy if self.up else energy.T  # [C_in, C_out]
            variance = factors.flatten(1).to(dtype).square() @ energy  # [N, C_out]
        return torch.rsqrt(variance + 1e-8)[:, :, None, None]

    def make_noise(self, number: int, noise_mode: NoiseMode, generator: torch.Generator | None) -> Tensor | None:
        """One map for all images [1, 1, H, W] or, with `random`, one for each [number, 1, H, W]; not yet as strong."""
        return noise_maps(self.noise, number, noise_mode, generator)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution to three colours, not demodulated."""

    def __init__(self, in_channels: int, w_dim: int):
        super().__init__()
        self.modulation = style_to_factors(w_dim, in_channels)
        self.weight = nn.Parameter(torch.randn(3, in_channels) / in_channels**0.5)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """x [N, C, H, W], w [N, w_dim] -> [N, 3, H, W]."""
        # A matrix of 3 x C for each image is smaller than its features: here the weights are scaled.
        weight = self.modulation(w).flatten(2) * self.weight.T  # [N, C, 3]
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # [N, H W, C]
        colours = torch.matmul(pixels, weight) + self.bias  # [N, H W, 3]
        return colours.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)  # [N, 3, H, W]


class SynthesisBlock(nn.Module):
    """Double the resolution of the features and of the image, and add this resolution's part of the image."""

    def __init__(self, in_channels: int, out_channels: int, size: int, w_dim: int):
        super().__init__()
        self.conv0 = StyledConv(in_channels, out_channels, size, w_dim, up=True)
        self.conv1 = StyledConv(out_channels, out_channels, size, w_dim)
        self.to_rgb = ToRGB(out_channels, w_dim)

    def forward(
        self, x: Tensor, image: Tensor, ws: Tensor, noise_mode: NoiseMode, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """x [N, C_in, H, W], image [N, 3, H, W], ws [N, 3, w_dim] -> [N, C_out, 2H, 2W], [N, 3, 2H, 2W]."""
        x = self.conv0(x, ws[:, 0], noise_mode, generator)  # [N, C_out, 2H, 2W]
        x = self.conv1(x, ws[:, 1], noise_mode, generator)  # [N, C_out, 2H, 2W]
        image = upsample(image) + self.to_rgb(x, ws[:, 2])  # [N, 3, 2H, 2W]
        return x, image


class SynthesisNetwork(Synthesis):
    """ws -> image: a 4x4 constant, one styled convolution, then a block per doubling of the size (figure 7b)."""

    def __init__(self, channels: tuple[int, ...], w_dim: int):
        super().__init__()
        self.const = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.conv = StyledConv(channels[0], channels[0], 4, w_dim)
        self.to_rgb = ToRGB(channels[0], w_dim)
        self.blocks = nn.ModuleList(
            SynthesisBlock(channels[i], channels[i + 1], 8 * 2**i, w_dim) for i in range(len(channels) - 1)
        )
        self.num_ws = 2 * len(self.blocks) + 2

    def forward(self, ws: Tensor, noise_mode: NoiseMode = "const", generator: torch.Generator | None = None) -> Tensor:
        """See `Synthesis.forward`. The image of each size shares its style with the next size's first convolution.

        Without gradients it is drawn in bands, which is faster (see `psp_hub.generators.banded_stylegan2`).
        """
        check_ws(ws, self.num_ws, self.conv.modulation.in_features)
        check_noise_mode(noise_mode)
        if can_be_banded(self, ws):
            convs = [module for module in self.modules() if isinstance(module, StyledConv)]
            return draw_banded(self, ws, [conv.make_noise(len(ws), noise_mode, generator) for conv in convs])
        x = self.const.expand(ws.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)  # [N, C, 4, 4]
        x = self.conv(x, ws[:, 0], noise_mode, generator)  # [N, C, 4, 4]
        image = self.to_rgb(x, ws[:, 1])  # [N, 3, 4, 4]
        checkpointed = use_checkpoints(self, noise_mode)
        for i, block in enumerate(self.blocks):
            inputs = (x, image, ws[:, 2 * i + 1 : 2 * i + 4], noise_mode, generator)  # three styles
            x, image = self._gradient_checkpointing_func(block, *inputs) if checkpointed else block(*inputs)
            # x: [N, C, 8 * 2^i, 8 * 2^i], image: [N, 3, 8 * 2^i, 8 * 2^i]
        return image  # [N, 3, R, R]

    def modulations(self) -> list[list[Modulation]]:
        """See `Synthesis.modulations`."""
        found = [[self.conv.modulation], [self.to_rgb.modulation]]
        for block in cast(Iterable[SynthesisBlock], self.blocks):
            found[-1].append(block.conv0.modulation)
            found += [[block.conv1.modulation], [block.to_rgb.modulation]]
        return found


class StyleGAN2(Generator):
    """The generator interface of this project (see `psp_hub.generators.base`), 18 styles at 1024 px.

    Args:
        resolution: side of the image in pixels, a power of two from 32 to 1024.
        channel_multiplier: 512 channels up to 32 px, then 256, 128, 64, 32, 16 times this.
        w_dim: size of z and of each style.
        mapping_layers: layers of the mapping network.
        max_channels: most channels of any layer.
        channels: of each size from 4 px on, for a network that is narrower than any multiplier makes it.

    Raises:
        ValueError: another resolution, or another number of `channels` than it has sizes.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        resolution: int = 1024,
        channel_multiplier: int = 2,
        w_dim: int = 512,
        mapping_layers: int = 8,
        max_channels: int = 512,
        channels: Sequence[int] | None = None,
    ):
        super().__init__()
        if resolution not in RESOLUTIONS:
            raise ValueError(f"resolution is {resolution!r}, expected one of {', '.join(map(str, RESOLUTIONS))}")
        if channels is None:
            channels = default_channels(resolution, channel_multiplier, max_channels)
        elif len(channels) != RESOLUTIONS.index(resolution) + 4:
            raise ValueError(f"channels are {list(channels)}, expected {RESOLUTIONS.index(resolution) + 4} numbers")
        self.mapping = MappingNetwork(w_dim, mapping_layers)
        for layer in self.mapping.linear_layers():
            nn.init.normal_(layer.weight, std=w_dim**-0.5)
            nn.init.zeros_(layer.bias)
        self.synthesis = SynthesisNetwork(tuple(channels), w_dim)
        self.resolution = resolution
        self.w_dim = w_dim
        self.num_ws = self.synthesis.num_ws


def default_channels(resolution: int, multiplier: int, max_channels: int) -> list[int]:
    """Channels of each size from 4 px to `resolution`, by the rule of the paper."""
    sizes = [4 * 2**i for i in range(RESOLUTIONS.index(resolution) + 4)]
    return [min(512 if size <= 32 else multiplier * 2**14 // size, max_channels) for size in sizes]


def style_to_factors(w_dim: int, channels: int) -> Modulation:
    """A modulation as StyleGAN2 begins: factors around 1."""
    modulation = Modulation(w_dim, channels)
    nn.init.normal_(modulation.weight, std=w_dim**-0.5)
    nn.init.ones_(modulation.bias)
    return modulation

"""MobileStyleGAN (Belousov 2021, arXiv:2104.04767): StyleGAN2-FFHQ distilled to 10 M parameters, fast on a CPU.

Demodulation does not depend on w in this network: it is part of the stored weights.
"""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psp_hub.generators.banded import can_be_banded, draw_banded
from psp_hub.generators.base import (
    Generator,
    NoiseMode,
    Synthesis,
    check_noise_mode,
    check_ws,
    noise_maps,
    use_checkpoints,
)
from psp_hub.generators.mapping import LEAKY_SLOPE, MappingNetwork
from psp_hub.hub.diffusers_parts import register_to_config
from psp_hub.layers import Modulation, inverse_haar


class StyledConv(nn.Module):
    """Modulate, convolve, add noise and bias, leaky ReLU.

    With `separable`, the convolution is a depthwise 3x3 followed by a pointwise 1x1, else a full 3x3.
    """

    noise: Tensor
    depthwise: nn.Conv2d | None

    def __init__(self, in_channels: int, out_channels: int, size: int, w_dim: int, separable: bool = True):
        super().__init__()
        self.modulation = Modulation(w_dim, in_channels, fan_in=in_channels * 9)
        if separable:
            self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
            self.conv = nn.Conv2d(in_channels, out_channels, 1)
        else:
            self.depthwise = None
            self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.register_buffer("noise", torch.zeros(1, 1, size, size))  # the strength is already in it

    def forward(self, x: Tensor, w: Tensor, noise_mode: NoiseMode, generator: torch.Generator | None) -> Tensor:
        return self.convolve(x, w, self.make_noise(len(x), noise_mode, generator))

    def convolve(self, x: Tensor, w: Tensor, noise: Tensor | None, channels: int | None = None) -> Tensor:
        """x [N, C_in, H, W], w [N, w_dim], noise [1 or N, 1, H, W] -> [N, C_out, H, W], or its first `channels`."""
        x = x * self.modulation(w)  # [N, C_in, H, W]
        if self.depthwise is not None:
            x = self.depthwise(x)
        x = self.mix(x, channels)  # [N, C_out, H, W]
        if noise is not None:
            x = x.add_(noise.to(x.dtype))  # under autocast, adding float32 would take two copies of x
        return F.leaky_relu_(x, LEAKY_SLOPE)

    def make_noise(self, number: int, noise_mode: NoiseMode, generator: torch.Generator | None) -> Tensor | None:
        """What is added to `number` feature maps: [1 or number, 1, H, W], or None."""
        noise = noise_maps(self.noise, number, noise_mode, generator)
        return noise * self.noise.std() if noise is not None and noise_mode == "random" else noise

    def mix(self, x: Tensor, channels: int | None) -> Tensor:
        """The convolution, or the first `channels` of what it gives."""
        if channels is None:
            return self.conv(x)
        bias = None if self.conv.bias is None else self.conv.bias[:channels]
        return F.conv2d(x, self.conv.weight[:channels], bias, padding=self.conv.padding)

    def preview(self, x: Tensor, w: Tensor, channels: int | None = None) -> Tensor:
        """The same for the means of squares of pixels, [N, C_in, h, w] -> [N, C_out, h, w]; with the stored noise."""
        side = self.noise.shape[-1] // x.shape[-1]  # of the squares
        x = F.conv2d(x * self.modulation(w), self.preview_kernel(side), padding=1, groups=x.shape[1])
        noise = F.avg_pool2d(self.noise, side)
        x = self.mix(x, channels)
        return F.leaky_relu_(x.add_(noise.to(x.dtype)), LEAKY_SLOPE)

    def preview_kernel(self, side: int) -> Tensor:
        """The depthwise kernel for the means of squares of `side` pixels, a power of two; [C_in, 1, 3, 3]."""
        if self.depthwise is None:
            raise ValueError("only separable convolutions have previews")
        kernel = self.depthwise.weight
        for _ in range(side.bit_length() - 1):
            kernel = halve_kernel(kernel)
        return kernel


def halve_kernel(kernel: Tensor) -> Tensor:
    """The kernel that does to pixels what `kernel` [C, 1, 3, 3] does to the 2x2 squares that each of them stands for.

    If the four pixels of every square are equal, then the means of the squares come out exactly.
    """
    half = torch.tensor([[0.5, 0.0, 0.0], [0.5, 1.0, 0.5], [0.0, 0.0, 0.5]]).to(kernel)
    return half @ kernel @ half.T


class SynthesisBlock(nn.Module):
    """Double the resolution (modulated inverse Haar transform), then two separable styled convolutions.

    The upsampling and the first convolution share one style.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, w_dim: int):
        super().__init__()
        self.up = Modulation(w_dim, in_channels)
        self.conv1 = StyledConv(in_channels // 4, out_channels, size, w_dim)
        self.conv2 = StyledConv(out_channels, out_channels, size, w_dim)

    def forward(self, x: Tensor, ws: Tensor, noise_mode: NoiseMode, generator: torch.Generator | None) -> Tensor:
        noises = [conv.make_noise(len(x), noise_mode, generator) for conv in (self.conv1, self.conv2)]
        return self.run(x, ws, noises)

    def run(self, x: Tensor, ws: Tensor, noises: list[Tensor | None], low_pass: bool = False) -> Tensor:
        """x [N, C_in, H, W], ws [N, 2, w_dim] -> [N, C_out, 2H, 2W].

        Args:
            noises: of the two convolutions, [1 or N, 1, 2H, 2W]; None adds nothing.
            low_pass: give the channels alone that `preview` of the next block reads, the first quarter.
        """
        x = inverse_haar(x * self.up(ws[:, 0]))  # [N, C_in / 4, 2H, 2W]
        x = self.conv1.convolve(x, ws[:, 0], noises[0])  # [N, C_out, 2H, 2W]
        return self.conv2.convolve(x, ws[:, 1], noises[1], self.num_low_pass if low_pass else None)

    @property
    def num_low_pass(self) -> int:
        """How many channels of the output are the low-pass band of the next inverse Haar transform."""
        return self.conv2.conv.out_channels // 4

    def preview(self, x: Tensor, ws: Tensor, low_pass: bool = False) -> Tensor:
        """At the size of `x`: of the Haar transform only the low-pass band, which is twice the mean of squares.

        Args:
            x: [N, C_in, H, W], or the low-pass band alone, [N, C_in / 4, H, W].
            low_pass: as in `run`.
        """
        channels = self.conv1.conv.in_channels  # C_in / 4
        x = x[:, :channels] * self.up(ws[:, 0])[:, :channels] / 2
        x = self.conv1.preview(x, ws[:, 0])  # [N, C_out, H, W]
        return self.conv2.preview(x, ws[:, 1], self.num_low_pass if low_pass else None)


class SynthesisNetwork(Synthesis):
    """ws -> image: a 4x4 constant, one styled convolution, blocks up to half the resolution, a last inverse Haar."""

    quick_preview = True

    def __init__(self, channels: tuple[int, ...], w_dim: int):
        super().__init__()
        self.const = nn.Parameter(torch.randn(1, channels[0], 4, 4))
        self.conv = StyledConv(channels[0], channels[0], 4, w_dim, separable=False)
        self.blocks = nn.ModuleList(
            SynthesisBlock(channels[i], channels[i + 1], 8 * 2**i, w_dim) for i in range(len(channels) - 1)
        )
        self.to_img_modulation = Modulation(w_dim, channels[-1], fan_in=channels[-1])
        self.to_img = nn.Conv2d(channels[-1], 12, 1)
        self.num_ws = 2 * len(self.blocks) + 2

    def forward(self, ws: Tensor, noise_mode: NoiseMode = "const", generator: torch.Generator | None = None) -> Tensor:
        """See `Synthesis.forward`; without gradients in bands, which is faster (see `psp_hub.generators.banded`)."""
        check_ws(ws, self.num_ws, self.conv.modulation.in_features)
        check_noise_mode(noise_mode)
        if can_be_banded(self, ws):
            largest = 4 * 2 ** len(self.blocks)
            return draw_banded(self, ws, self.make_noises(len(ws), noise_mode, generator), 2 * largest, largest)
        x = self.const.expand(ws.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.conv(x, ws[:, 0], noise_mode, generator)  # [N, C, 4, 4]
        checkpointed = use_checkpoints(self, noise_mode)
        for i, block in enumerate(self.blocks):
            inputs = (x, ws[:, 2 * i + 1 : 2 * i + 3], noise_mode, generator)
            x = self._gradient_checkpointing_func(block, *inputs) if checkpointed else block(*inputs)
            # x: [N, C, 8 * 2^i, 8 * 2^i]
        x = self.to_img(x * self.to_img_modulation(ws[:, -1]))  # [N, 12, R / 2, R / 2]
        return inverse_haar(x)  # [N, 3, R, R]

    def modulations(self) -> list[list[Modulation]]:
        """See `Synthesis.modulations`."""
        found = [[self.conv.modulation]]
        for block in cast(Iterable[SynthesisBlock], self.blocks):
            found += [[block.up, block.conv1.modulation], [block.conv2.modulation]]
        return [*found, [self.to_img_modulation]]

    def make_noises(
        self, number: int, noise_mode: NoiseMode, generator: torch.Generator | None
    ) -> list[Tensor | None]:
        """The noise of each styled convolution in turn, see `StyledConv.make_noise`."""
        convs = [module for module in self.modules() if isinstance(module, StyledConv)]
        return [conv.make_noise(number, noise_mode, generator) for conv in convs]

    def preview(self, ws: Tensor, size: int, rough: bool = False) -> Tensor:
        """Draw small images in less time: nearly `forward`'s, averaged over squares of pixels; with the stored noise.

        Layers of more than `size` pixels see the low-pass band of their input alone, at `size` pixels. At a quarter of
        the resolution that takes half the time of `forward` or less, with gradients too, and these point the same way.

        Args:
            ws: [N, num_ws, w_dim].
            size: a power of two, from 4 (8 if rough) to half the resolution (all of it if rough).
            rough: the layers have at most half the size: less exact, in about half the time again.

        Returns:
            Images [N, 3, size, size], about [-1, 1].

        Raises:
            ValueError: wrong shape of `ws`, or another size.
        """
        check_ws(ws, self.num_ws, self.conv.modulation.in_features)
        sizes = [(8 if rough else 4) * 2**i for i in range(len(self.blocks) + 1)]
        if size not in sizes:
            raise ValueError(f"size is {size!r}, expected one of {', '.join(map(str, sizes))}")
        largest = size // 2 if rough else size  # of the feature maps
        if can_be_banded(self, ws):
            return draw_banded(self, ws, self.make_noises(len(ws), "const", None), size, largest)
        x = self.const.expand(ws.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.conv(x, ws[:, 0], "const", None)  # [N, C, 4, 4]
        for i, block in enumerate(cast(Iterable[SynthesisBlock], self.blocks)):
            styles = ws[:, 2 * i + 1 : 2 * i + 3]
            low_pass = 2 * x.shape[-1] >= largest and i < len(self.blocks) - 1  # what the next block reads
            if x.shape[-1] < largest:
                x = block.run(x, styles, [block.conv1.noise, block.conv2.noise], low_pass)
            else:
                x = block.preview(x, styles, low_pass)
        bands = self.to_img(x * self.to_img_modulation(ws[:, -1]))  # [N, 12, largest, largest], low-pass first
        return inverse_haar(bands) if rough else bands[:, :3] / 2


class MobileStyleGAN(Generator):
    """The generator interface of this project (see `psp_hub.generators.base`), 16 styles at 1024 px.

    Args:
        channels: channels at 4, 8, ... pixels, up to half the resolution. The default is the published network.
        w_dim: size of z and of each style.
        mapping_layers: layers of the mapping network.
    """

    _supports_gradient_checkpointing = True

    @register_to_config
    def __init__(
        self,
        channels: tuple[int, ...] = (512, 512, 512, 512, 512, 256, 128, 64),
        w_dim: int = 512,
        mapping_layers: int = 8,
    ):
        super().__init__()
        self.mapping = MappingNetwork(w_dim, mapping_layers)
        self.synthesis = SynthesisNetwork(tuple(channels), w_dim)
        self.resolution = 4 * 2 ** len(channels)
        self.w_dim = w_dim
        self.num_ws = self.synthesis.num_ws

"""The IR-SE residual network of ArcFace (Deng et al. 2019), which pSp takes its features from."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SE_REDUCTION = 16
Activation = Callable[[int], nn.Module]  # channels -> module
# PReLU is the original's; ReLU is cheaper to train on a CPU.
ACTIVATIONS: dict[str, Activation] = {"prelu": nn.PReLU, "relu": lambda channels: nn.ReLU(inplace=True)}
# The trunk of the paper, 50 layers deep: stages end after blocks 2, 6, 20 and 23.
IR_SE50 = {
    "stem_width": 64,
    "stem_stride": 1,
    "stage_widths": (64, 128, 256, 512),
    "stage_depths": (3, 4, 14, 3),
    "stage_strides": (2, 2, 2, 2),
    "activation": "prelu",
}


class SqueezeExcitation(nn.Module):
    """Channel attention: global mean, bottleneck, sigmoid gate."""

    def __init__(self, channels: int):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // SE_REDUCTION, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // SE_REDUCTION, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc2(F.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True))))  # [N, C, 1, 1]
        return x * gate.sigmoid()


class ResidualBlock(nn.Module):
    """The `bottleneck_IR_SE` block of ArcFace: BN, conv, activation, strided conv, BN, SE, plus a shortcut.

    Without SE it is `bottleneck_IR`.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, activation: Activation, squeeze_excitation: bool):
        super().__init__()
        if in_channels == channels:
            # A 1x1 max pool only picks every stride-th pixel.
            self.shortcut: nn.Module = nn.Identity() if stride == 1 else nn.MaxPool2d(1, stride)
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.residual = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False),
            activation(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            SqueezeExcitation(channels) if squeeze_excitation else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)  # [N, C, H / stride, W / stride]


class FineStem(nn.Sequential):
    """Strided convolutions one after the other, for edges and textures that a stem which folds pixels cannot tell.

    Args:
        widths: channels of each; every one halves the picture, and all but the first look once more after it.
        out_channels: of the features, which a 1 x 1 convolution makes of the last.
    """

    def __init__(self, in_channels: int, widths: tuple[int, ...], out_channels: int, activation: Activation):
        layers: list[nn.Module] = []
        before = in_channels
        for number, width in enumerate(widths):
            layers += convolution(before, width, 2, activation)
            if number:
                layers += convolution(width, width, 1, activation)
            before = width
        super().__init__(*layers, nn.Conv2d(before, out_channels, 1, bias=False))


def convolution(in_channels: int, channels: int, stride: int, activation: Activation) -> list[nn.Module]:
    convolved = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
    return [convolved, nn.BatchNorm2d(channels), activation(channels)]


class Trunk(nn.Module):
    """Stem and stages of residual blocks; returns the output of the last three stages, finest first.

    A `stem_stride` above 1 folds that many pixels per side into channels first, which keeps thin lines. A
    `stem_kernel` of 1 then looks at each folded square alone: enough for the flat areas of a label map, at a ninth of
    the cost. With `fine_widths` a `FineStem` looks at the same pixels step by step, and is added to it.
    """

    def __init__(
        self,
        in_channels: int,
        stem_width: int,
        stem_stride: int,
        stage_widths: tuple[int, ...],
        stage_depths: tuple[int, ...],
        stage_strides: tuple[int, ...],
        activation: str = "prelu",
        squeeze_excitation: bool = True,
        stem_kernel: int = 3,
        fine_widths: tuple[int, ...] = (),
    ):
        super().__init__()
        block = partial(ResidualBlock, activation=ACTIVATIONS[activation], squeeze_excitation=squeeze_excitation)
        self.unshuffle = nn.PixelUnshuffle(stem_stride)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels * stem_stride**2, stem_width, stem_kernel, padding=stem_kernel // 2, bias=False),
            nn.BatchNorm2d(stem_width),
            ACTIVATIONS[activation](stem_width),
        )
        self.fine_stem = (
            FineStem(in_channels, fine_widths, stem_width, ACTIVATIONS[activation]) if fine_widths else None
        )
        self.stages = nn.ModuleList()
        channels = stem_width
        for width, depth, stride in zip(stage_widths, stage_depths, stage_strides, strict=True):
            rest = (block(width, width, 1) for _ in range(depth - 1))
            self.stages.append(nn.Sequential(block(channels, width, stride), *rest))
            channels = width

    def forward(self, x: Tensor) -> list[Tensor]:
        # The layout in which a CPU convolves up to twice as fast; what follows keeps it.
        folded = self.unshuffle(x).contiguous(memory_format=torch.channels_last)
        stem = self.stem(folded)  # [N, stem_width, 256 / stem_stride, ...]
        if self.fine_stem is not None:
            stem = stem + self.fine_stem(x.contiguous(memory_format=torch.channels_last))  # the same shape
        x = stem
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[-3:]

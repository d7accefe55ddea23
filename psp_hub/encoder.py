"""The pSp encoder (Richardson et al. 2021, section 3): a feature pyramid on an IR-SE trunk, and map2style heads.

One module covers the paper's shape and a light variant; widths, depths and the kind of heads come from the config.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from psp_hub.latents import GROUP_STARTS, style_indices

INPUT_SIZE = 256
SE_REDUCTION = 16
Activation = Callable[[int], nn.Module]  # channels -> module
# PReLU is the original's; its backward pass takes a fifth of a training step on a CPU.
ACTIVATIONS: dict[str, Activation] = {"prelu": nn.PReLU, "relu": lambda channels: nn.ReLU(inplace=True)}


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
    """The `bottleneck_IR_SE` block of ArcFace: BN, conv, activation, strided conv, BN, SE, plus a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int, activation: Activation):
        super().__init__()
        if in_channels == channels:
            # A 1x1 max pool only picks every stride-th pixel.
            self.shortcut = nn.Identity() if stride == 1 else nn.MaxPool2d(1, stride)
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
            SqueezeExcitation(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)  # [N, C, H / stride, W / stride]


class Trunk(nn.Module):
    """Stem and stages of residual blocks; returns the output of the last three stages, finest first.

    A `stem_stride` above 1 folds that many pixels per side into channels first, which keeps thin lines.
    """

    def __init__(
        self,
        in_channels: int,
        stem_width: int,
        stem_stride: int,
        widths: tuple[int, ...],
        depths: tuple[int, ...],
        strides: tuple[int, ...],
        activation: Activation,
    ):
        super().__init__()
        self.unshuffle = nn.PixelUnshuffle(stem_stride)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels * stem_stride**2, stem_width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(stem_width),
            activation(stem_width),
        )
        inputs = (stem_width, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(inputs[i], widths[i], strides[i], activation),
                *(ResidualBlock(widths[i], widths[i], 1, activation) for _ in range(depths[i] - 1)),
            )
            for i in range(len(widths))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(self.unshuffle(x))  # [N, stem_width, 256 / stem_stride, ...]
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[-3:]


class MapToStyle(nn.Module):
    """map2style: strided convolutions from a square feature map down to one vector (pSp, figure 2)."""

    def __init__(self, in_channels: int, width: int, size: int):
        super().__init__()
        layers: list[nn.Module] = []
        while size > 1:
            layers += [nn.Conv2d(in_channels, width, 3, 2, 1), nn.LeakyReLU()]
            in_channels, size = width, size // 2
        self.convs = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x).flatten(1)  # [N, C, S, S] -> [N, width]


class SharedHeads(nn.Module):
    """One map2style stack per pyramid level, and one linear layer per style on top of it.

    The coarsest level predicts a base style; every style is it plus an offset of its own, as in e4e (Tov et al. 2021).
    """

    def __init__(
        self, pyramid_width: int, head_widths: tuple[int, ...], sizes: tuple[int, ...], num_ws: int, w_dim: int
    ):
        super().__init__()
        self.map2style = nn.ModuleList(
            MapToStyle(pyramid_width, width, size) for width, size in zip(head_widths, sizes, strict=True)
        )
        self.base = nn.Linear(head_widths[0], w_dim)
        self.num_styles = [len(style_indices([group], num_ws)) for group in GROUP_STARTS]
        self.offsets = nn.ModuleList(
            nn.Linear(width, count * w_dim) for width, count in zip(head_widths, self.num_styles, strict=True)
        )
        for offset in self.offsets:  # training starts in W: all styles equal
            nn.init.zeros_(offset.weight)
            nn.init.zeros_(offset.bias)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """levels, coarsest first, each [N, pyramid_width, S, S] -> [N, num_ws, w_dim]."""
        vectors = [head(level) for head, level in zip(self.map2style, levels, strict=True)]  # each [N, width]
        base = self.base(vectors[0])[:, None]  # [N, 1, w_dim]
        offsets = [
            offset(vector).unflatten(1, (count, -1))  # [N, count, w_dim]
            for offset, vector, count in zip(self.offsets, vectors, self.num_styles, strict=True)
        ]
        return base + torch.cat(offsets, dim=1)


def check_shapes(
    num_ws: int,
    stem_stride: int,
    stage_widths: tuple[int, ...],
    stage_depths: tuple[int, ...],
    stage_strides: tuple[int, ...],
    head_widths: tuple[int, ...],
) -> None:
    """Raise ValueError unless an encoder can have these sizes (see `PSPEncoder`)."""
    if not len(stage_widths) == len(stage_depths) == len(stage_strides) >= 3:
        raise ValueError(
            f"stage_widths, stage_depths and stage_strides have {len(stage_widths)}, {len(stage_depths)} and "
            f"{len(stage_strides)} entries, expected the same number, 3 or more"
        )
    if len(head_widths) != len(GROUP_STARTS):
        raise ValueError(f"head_widths has {len(head_widths)} entries, expected {len(GROUP_STARTS)}")
    if min(stage_widths) < SE_REDUCTION or min(stage_depths) < 1:
        raise ValueError(
            f"stage_widths are {tuple(stage_widths)} and stage_depths {tuple(stage_depths)}, "
            f"expected widths of {SE_REDUCTION} or more and depths of 1 or more"
        )
    if num_ws <= max(GROUP_STARTS.values()):
        raise ValueError(f"num_ws is {num_ws}, expected {max(GROUP_STARTS.values()) + 1} or more")
    total_stride = stem_stride * math.prod(stage_strides)
    if min(stem_stride, *stage_strides) < 1 or INPUT_SIZE % total_stride or total_stride == INPUT_SIZE:
        raise ValueError(
            f"stem_stride and stage_strides are {stem_stride} and {tuple(stage_strides)}, "
            f"expected powers of two with a product below {INPUT_SIZE}"
        )


class PSPEncoder(ModelMixin, ConfigMixin):
    """E(x) of `pSp(x) = G(E(x) + w_avg)`. The defaults are the light variant that ships with the project.

    Args:
        in_channels: channels of the input image.
        num_ws: styles to write, that of the generator.
        w_dim: size of one style.
        stem_width, stem_stride: the first convolution and how many pixels per side it folds.
        stage_widths, stage_depths, stage_strides: the trunk; its last three stages feed the pyramid.
        pyramid_width: channels of the pyramid.
        head_widths: channels of the map2style stacks, coarse, medium, fine.
        activation: of the trunk, `prelu` or `relu`.

    Raises:
        ValueError: lists of different lengths, fewer than three stages, sizes that cannot be built.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        num_ws: int = 16,
        w_dim: int = 512,
        stem_width: int = 32,
        stem_stride: int = 4,
        stage_widths: tuple[int, ...] = (32, 64, 160, 256),
        stage_depths: tuple[int, ...] = (1, 2, 3, 3),
        stage_strides: tuple[int, ...] = (1, 2, 2, 2),
        pyramid_width: int = 128,
        head_widths: tuple[int, int, int] = (256, 128, 64),
        activation: str = "relu",
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        check_shapes(num_ws, stem_stride, stage_widths, stage_depths, stage_strides, head_widths)
        self.trunk = Trunk(
            in_channels, stem_width, stem_stride, stage_widths, stage_depths, stage_strides, ACTIVATIONS[activation]
        )
        fine, medium, coarse = stage_widths[-3:]
        self.lateral_coarse = nn.Conv2d(coarse, pyramid_width, 1)
        self.lateral_medium = nn.Conv2d(medium, pyramid_width, 1)
        self.lateral_fine = nn.Conv2d(fine, pyramid_width, 1)
        coarse_size = INPUT_SIZE // (stem_stride * math.prod(stage_strides))
        medium_size = coarse_size * stage_strides[-1]
        sizes = (coarse_size, medium_size, medium_size * stage_strides[-2])
        self.heads = SharedHeads(pyramid_width, head_widths, sizes, num_ws, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images.

        Args:
            x: [N, in_channels, 256, 256], in the range of the task.

        Returns:
            Styles relative to the generator's `w_avg`, [N, num_ws, w_dim].

        Raises:
            ValueError: wrong shape. (The original folds a larger image into the batch.)
        """
        expected = (self.config.in_channels, INPUT_SIZE, INPUT_SIZE)
        if x.ndim != 4 or x.shape[1:] != expected:
            raise ValueError(f"the encoder got {tuple(x.shape)}, expected [N, {', '.join(map(str, expected))}]")
        c1, c2, c3 = self.trunk(x)  # strides 8, 16, 32 in the light variant
        p3 = self.lateral_coarse(c3)
        p2 = F.interpolate(p3, size=c2.shape[2:], mode="bilinear", align_corners=True) + self.lateral_medium(c2)
        p1 = F.interpolate(p2, size=c1.shape[2:], mode="bilinear", align_corners=True) + self.lateral_fine(c1)
        return self.heads([p3, p2, p1])  # [N, num_ws, w_dim]

"""The opponents: patches at several scales (pix2pixHD, SPADE), and a pyramid that also reads the layout (CC-FPSE)."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psp_hub.layers import resample
from training.baselines.blocks import LEAKY_SLOPE, conv, double


class DiscriminatorOutput(NamedTuple):
    """What a discriminator says of pictures at one scale.

    Args:
        score: of each patch, [N, 1, h, w]; high is real.
        features: of its layers, which feature matching compares.
    """

    score: Tensor
    features: list[Tensor]


class PatchDiscriminator(nn.Module):
    """C64-C128-C256-C512 and one more convolution to a score for each patch of 70 x 70 (pix2pixHD, appendix A).

    Args:
        in_channels: of input and picture together.
        width: of the first layer; 64 in the paper.
        depth: layers of stride 2; 3 in the paper.
    """

    def __init__(self, in_channels: int, width: int = 64, depth: int = 3):
        super().__init__()
        widths = [in_channels, *(width * min(2**i, 8) for i in range(depth + 1))]
        self.layers = nn.ModuleList()
        for i, (before, after) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            stride = 2 if i < depth else 1
            layers = [conv(before, after, 4, stride=stride, padding=2), nn.LeakyReLU(LEAKY_SLOPE)]
            self.layers.append(nn.Sequential(*layers[:1], *([nn.InstanceNorm2d(after)] if i else []), *layers[1:]))
        self.score = nn.Conv2d(widths[-1], 1, 4, padding=2)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        """[N, in_channels, S, S] -> scores of patches, and the features of all layers."""
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return DiscriminatorOutput(self.score(x), features)


class MultiScaleDiscriminator(nn.Module):
    """Equal patch discriminators, each on pictures half the size of the one before (pix2pixHD, section 3.2).

    Args:
        in_channels: of the inputs.
        num_scales: 3 in pix2pixHD, 2 in SPADE.
        width: see `PatchDiscriminator`.
    """

    def __init__(self, in_channels: int, num_scales: int = 3, width: int = 64):
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(in_channels + 3, width) for _ in range(num_scales))

    def forward(self, x: Tensor, image: Tensor) -> list[DiscriminatorOutput]:
        """x [N, in_channels, S, S], image [N, 3, S, S] in [-1, 1] -> what each scale says."""
        both, judged = torch.cat([x, image], dim=1), []
        for scale in self.scales:
            judged.append(scale(both))
            both = F.avg_pool2d(both, 3, stride=2, padding=1, count_include_pad=False)
        return judged


class PyramidDiscriminator(nn.Module):
    """CC-FPSE, section 3.2: a feature pyramid whose patches say whether they are real, and fit the layout there.

    The score of a patch is a convolution of its features, plus their dot product with the embedded layout.

    Args:
        in_channels: of the layout.
        width: of the first layer.
        num_scales: sizes of the pyramid that judge.
    """

    def __init__(self, in_channels: int, width: int = 64, num_scales: int = 3):
        super().__init__()
        widths = [3, *(width * min(2**i, 8) for i in range(num_scales + 2))]
        self.bottom_up = nn.ModuleList(
            nn.Sequential(conv(before, after, 3, stride=2, padding=1), nn.LeakyReLU(LEAKY_SLOPE))
            for before, after in zip(widths[:-1], widths[1:], strict=True)
        )
        features, judges = 4 * width, widths[-num_scales:]
        self.lateral = nn.ModuleList(conv(width, features, 1) for width in judges)
        self.smooth = nn.ModuleList(conv(features, features, 3, padding=1) for _ in judges)
        self.real = nn.Conv2d(features, 1, 1)
        self.embed = nn.Conv2d(in_channels, features, 1)

    def forward(self, x: Tensor, image: Tensor) -> list[DiscriminatorOutput]:
        """x [N, in_channels, S, S], image [N, 3, S, S] -> what each size of the pyramid says, the coarsest first."""
        h, features = image, []
        for layer in self.bottom_up:
            h = layer(h)
            features.append(h)
        judged: list[DiscriminatorOutput] = []
        top: Tensor | None = None
        rows = zip(self.lateral, self.smooth, features[-len(self.lateral) :], strict=True)
        for lateral, smooth, view in reversed(list(rows)):
            joined = lateral(view)  # [N, F, s, s]
            top = joined if top is None else joined + double(top)[..., : joined.shape[2], : joined.shape[3]]
            seen = F.leaky_relu(smooth(top), LEAKY_SLOPE)
            layout = self.embed(resample(x, seen.shape[-1]))  # [N, F, s, s]
            score = self.real(seen) + (seen * layout).sum(dim=1, keepdim=True)  # [N, 1, s, s]
            judged.append(DiscriminatorOutput(score, [view]))
        return judged

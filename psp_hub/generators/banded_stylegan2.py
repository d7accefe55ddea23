"""StyleGAN2 drawn in bands, where no gradients are needed, for the reasons that `psp_hub.generators.banded` tells.

Each block works through horizontal bands of its input, and what a band needs stays in the caches. Beside that,

- modulation, demodulation and the gain of the leaky ReLU are folded into the weights for one picture, and the bias is
  left to the convolution (or the blur) that comes last;
- the colours of a band are added to the image while its features are at hand; features of the last size are not kept;
- the pictures of a batch are drawn one after the other, so that memory does not grow with them.

Only rounding differs. Activations are [1, C, H, W] in channels_last order: a band of rows is one piece of memory.
"""

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.generators.banded import empty
from psp_hub.generators.mapping import GAIN, LEAKY_SLOPE
from psp_hub.layers import blur, upsample

if TYPE_CHECKING:
    from psp_hub.generators.stylegan2 import StyledConv, SynthesisBlock, SynthesisNetwork, ToRGB

# Of one feature map of a band: with less, the rows at its borders that are computed twice weigh more.
BAND_BYTES = 8 * 2**20

HALO = 2  # rows of input at each border of a band, for the transposed convolution, the blur and the second convolution


class ConvWeights(NamedTuple):
    """A styled convolution with modulation, demodulation and gain of one picture folded in."""

    weight: Tensor  # [C_out, C_in, 3, 3], or [C_in, C_out, 3, 3] of a transposed convolution
    bias: Tensor  # [C_out]
    noise: Tensor | None  # [1, 1, H, W]


def fold(conv: "StyledConv", w: Tensor, noise: Tensor | None) -> ConvWeights:
    """The weights of a styled convolution for one style w [1, w_dim]; noise [1, 1, H, W]."""
    factors = conv.modulation(w)  # [1, C_in, 1, 1]
    scales = conv.demodulation(factors) * GAIN  # [1, C_out, 1, 1], float32 at least
    if conv.up:
        first, second = factors.transpose(0, 1), scales
    else:
        first, second = factors, scales.transpose(0, 1)
    weight = (conv.weight * first * second).to(conv.weight)
    weight = weight.contiguous(memory_format=torch.channels_last)
    return ConvWeights(weight, conv.bias * GAIN, None if noise is None else noise * (conv.noise_strength * GAIN))


def finish(x: Tensor, noise: Tensor | None, first: int) -> Tensor:
    """Add the noise of the rows from `first` on, in place, then leaky ReLU."""
    if noise is not None:
        x.add_(noise[:, :, first : first + x.shape[2]])
    return F.leaky_relu_(x, LEAKY_SLOPE)


def run_band(x: Tensor, conv0: ConvWeights, conv1: ConvWeights, first: int, last: int) -> Tensor:
    """A block's features of the input's rows [first, last).

    Args:
        x: all of the input, [1, C_in, H, W].

    Returns:
        [1, C_out, 2 (last - first), 2W].
    """
    height = x.shape[2]
    top, bottom = max(first - HALO, 0), min(last + HALO, height)
    features = F.conv_transpose2d(x[:, :, top:bottom], conv0.weight, stride=2)
    features = blur(
        features, conv0.bias
    )  # rows [2 top, 2 bottom), of which the outermost are wrong inside the picture
    start, end = max(2 * first - 1, 0), min(2 * last + 1, 2 * height)  # what the second convolution sees
    features = finish(features[:, :, start - 2 * top : end - 2 * top], conv0.noise, start)
    features = F.conv2d(features, conv1.weight, conv1.bias, padding=1)
    return finish(features[:, :, 2 * first - start : 2 * last - start], conv1.noise, 2 * first)


def colours(layer: "ToRGB", w: Tensor) -> Tensor:
    """The weights [3, C, 1, 1] of a ToRGB for one style w [1, w_dim]."""
    return (layer.weight * layer.modulation(w).flatten(1))[:, :, None, None]


def run_block(
    x: Tensor, image: Tensor, block: "SynthesisBlock", ws: Tensor, noises: list[Tensor | None], is_last: bool
) -> tuple[Tensor, Tensor]:
    """A synthesis block, band by band.

    Args:
        x, image: features [1, C_in, H, W] and image [1, 3, H, W].
        ws: [1, 3, w_dim].
        noises: of the two convolutions.
        is_last: whether nobody needs the features.

    Returns:
        Features [1, C_out, 2H, 2W], of the last block of its last band alone, and image [1, 3, 2H, 2W].
    """
    height, width = x.shape[2:]
    conv0, conv1 = fold(block.conv0, ws[:, 0], noises[0]), fold(block.conv1, ws[:, 1], noises[1])
    to_rgb, channels = colours(block.to_rgb, ws[:, 2]), len(conv1.bias)
    output = None if is_last else empty((1, channels, 2 * height, 2 * width), x)
    image = upsample(image)
    rows = max(1, BAND_BYTES // (4 * width * channels * x.element_size()))  # of input; 4: twice as high and wide
    for first in range(0, height, rows):
        last = min(first + rows, height)
        features = run_band(x, conv0, conv1, first, last)
        image[:, :, 2 * first : 2 * last] += F.conv2d(features, to_rgb, block.to_rgb.bias)
        if output is not None:
            output[:, :, 2 * first : 2 * last] = features
    return features if output is None else output, image


def draw_picture(network: "SynthesisNetwork", ws: Tensor, noises: list[Tensor | None]) -> Tensor:
    """ws [1, num_ws, w_dim] -> image [1, 3, R, R]; noises as in `draw_banded`, of this picture."""
    conv = fold(network.conv, ws[:, 0], noises[0])
    x = network.const.contiguous(memory_format=torch.channels_last)
    x = finish(F.conv2d(x, conv.weight, conv.bias, padding=1), conv.noise, 0)  # [1, C, 4, 4]
    image = F.conv2d(x, colours(network.to_rgb, ws[:, 1]), network.to_rgb.bias)  # [1, 3, 4, 4]
    for i, block in enumerate(cast("list[SynthesisBlock]", network.blocks)):
        styles, own = ws[:, 2 * i + 1 : 2 * i + 4], noises[2 * i + 1 : 2 * i + 3]
        x, image = run_block(x, image, block, styles, own, i == len(network.blocks) - 1)
    return image


@torch.no_grad()
def draw_banded(network: "SynthesisNetwork", ws: Tensor, noises: list[Tensor | None]) -> Tensor:
    """What `forward` of a `SynthesisNetwork` draws, up to rounding, without gradients.

    Args:
        ws: [N, num_ws, w_dim].
        noises: of each styled convolution in turn, [1 or N, 1, H, W]; None adds nothing.

    Returns:
        Images [N, 3, R, R].
    """
    size = 4 * 2 ** len(network.blocks)
    images = ws.new_empty(len(ws), 3, size, size)
    for i, image in enumerate(images):
        own = [noise if noise is None or len(noise) == 1 else noise[i : i + 1] for noise in noises]
        image.copy_(draw_picture(network, ws[i : i + 1], own)[0])
    return images

"""MobileStyleGAN drawn in bands: the same pictures in a quarter of the time, where no gradients are needed.

On a processor the plain forward pass is bound by memory, not by arithmetic: a feature map of the last block has 64
MiB, and every modulation, padding, sum and activation reads and writes all of it, into pages that the system has to
find first. Here a block works through horizontal bands of its input, with one row of halo on each side (its two 3x3
convolutions need two rows of its output, which is twice as high). What a band needs stays in the caches, and what is
allocated is small enough that malloc gives the same blocks again. Beside that,

- the modulation of each convolution is folded into its depthwise kernel, that of the upsampling into one product with
  the wavelet's 1/2;
- the channels of a block's output are put in the order that the next wavelet transform reads, by ordering the rows of
  the pointwise weights;
- the last 1x1 convolution and the last wavelet transform, both linear, are one convolution;
- the pictures of a batch are drawn one after the other, so that memory does not grow with them.

Only rounding differs. That grows from layer to layer, so the small maps, which the caches hold anyway, go the plain
way: pictures of the published network then differ by less than 1e-5. Activations are [1, C, H, W] in channels_last
order: a band of rows is one piece of memory.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psp_hub.generators.mapping import LEAKY_SLOPE

if TYPE_CHECKING:
    from psp_hub.generators.mobile_stylegan import StyledConv, SynthesisBlock, SynthesisNetwork

# Of one feature map of a band. Between 1 and 4 MiB a face takes the same time, below the calls weigh more.
BAND_BYTES = 2 * 2**20

# Size of the maps up to which bands would gain nothing, and cost exactness.
SMALL = 64

# Rows: the pixels of a 2x2 square in reading order; columns: its four bands (low, dy, dx, dxy).
INVERSE_HAAR = ((1, 1, 1, 1), (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1))

Sink = Callable[[Tensor, int, int], None]  # takes rows [first, last) of a block's output, [1, C, last - first, W]


def can_be_banded(network: nn.Module, ws: Tensor) -> bool:
    """Whether nobody asks for gradients, other precisions or a graph, and the processor draws."""
    wants_gradients = torch.is_grad_enabled() and (
        ws.requires_grad or any(weight.requires_grad for weight in network.parameters())
    )
    return (
        ws.device.type == "cpu"
        and not wants_gradients
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
    )


def empty(shape: tuple[int, int, int, int], like: Tensor) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, memory_format=torch.channels_last)


class ConvWeights(NamedTuple):
    """A styled convolution with the modulation of one picture folded in."""

    depthwise: Tensor  # [C_in, 1, 3, 3]
    pointwise: Tensor  # [C_out, C_in, 1, 1]
    bias: Tensor | None  # [C_out]
    noise: Tensor | None  # [1, 1, H, W]


class BlockWeights(NamedTuple):
    """A synthesis block for one picture."""

    up: Tensor  # [1, 4C, 1, 1], bands apart; [1, C, 1, 1], of the low-pass band alone, where the size stays
    conv1: ConvWeights
    conv2: ConvWeights
    scale: int  # 2 where the block doubles the size, 1 in a preview


def bands_apart(channels: int, device: torch.device) -> Tensor:
    """The order that takes `channels` from that of `psp_hub.layers.inverse_haar` to all low, dy, dx, dxy in turn."""
    c = channels // 4
    channel = torch.arange(c, device=device)
    return torch.cat([channel, *(c + 3 * channel + band for band in range(3))])


def fold(conv: "StyledConv", w: Tensor, noise: Tensor | None, size: int, order: Tensor | None = None) -> ConvWeights:
    """The weights of a separable styled convolution for one style w [1, w_dim], at `size` pixels.

    Args:
        noise: [1, 1, H, W] of its own size or of `size`.
        order: of the output channels.
    """
    side = conv.noise.shape[-1] // size  # of the squares of pixels that a preview has the means of
    kernel = conv.preview_kernel(side) * conv.modulation(w)[0, :, :, :, None]  # [C_in, 1, 3, 3]
    if noise is not None and side > 1:
        noise = F.avg_pool2d(noise, side)
    if order is None:
        return ConvWeights(kernel, conv.conv.weight, conv.conv.bias, noise)
    bias = None if conv.conv.bias is None else conv.conv.bias[order]
    return ConvWeights(kernel, conv.conv.weight[order], bias, noise)


def fold_block(
    block: "SynthesisBlock", ws: Tensor, noises: list[Tensor | None], size: int, scale: int, order: Tensor | None
) -> BlockWeights:
    """The weights of a block for styles ws [1, 2, w_dim], whose output has `size` pixels, in an order of channels."""
    up = block.up(ws[:, 0]) / 2  # [1, 4C, 1, 1]
    up = up[:, bands_apart(up.shape[1], ws.device)] if scale == 2 else up[:, : up.shape[1] // 4]
    conv1 = fold(block.conv1, ws[:, 0], noises[0], size)
    return BlockWeights(up, conv1, fold(block.conv2, ws[:, 1], noises[1], size, order), scale)


def upsample(x: Tensor, up: Tensor, out: Tensor) -> None:
    """Modulate and transform: x [1, 4C, H, W], bands apart -> out [1, C, 2H, 2W]."""
    low, dy, dx, dxy = (x * up).chunk(4, dim=1)  # [1, C, H, W] each
    even, odd, even_dy, odd_dy = low + dx, low - dx, dy + dxy, dy - dxy
    torch.add(even, even_dy, out=out[:, :, 0::2, 0::2])
    torch.add(odd, odd_dy, out=out[:, :, 0::2, 1::2])
    torch.sub(even, even_dy, out=out[:, :, 1::2, 0::2])
    torch.sub(odd, odd_dy, out=out[:, :, 1::2, 1::2])


def convolve(x: Tensor, weights: ConvWeights, first: int, last: int, height: int) -> tuple[Tensor, int, int]:
    """One styled convolution of the rows [first, last) of a map of `height` rows.

    Args:
        x: [1, C_in, last - first, W].

    Returns:
        The rows that can be known, [1, C_out, ., W], and the first and the last of them: one less at each border that
        is not the picture's own, beyond which there are zeros.
    """
    x = F.conv2d(x, weights.depthwise, padding=1, groups=x.shape[1])  # the rows at such borders are wrong
    top, bottom = int(first > 0), int(last < height)
    x = x[:, :, top : x.shape[2] - bottom]
    first, last = first + top, last - bottom
    x = F.conv2d(x, weights.pointwise, weights.bias)  # [1, C_out, last - first, W]
    if weights.noise is not None:
        x.add_(weights.noise[:, :, first:last])
    return F.leaky_relu_(x, LEAKY_SLOPE), first, last


def run_block(x: Tensor, weights: BlockWeights, sink: Sink) -> None:
    """A synthesis block, band by band: x [1, 4C, H, W], bands apart -> rows of [1, C_out, sH, sW] for `sink`.

    s is the block's scale. Where it is 1, the first band of x, [1, C, H, W], is enough.
    """
    (height, width), scale, halo = x.shape[2:], weights.scale, 2 // weights.scale
    row_bytes = scale**2 * width * len(weights.conv2.pointwise) * x.element_size()  # of output, for a row of input
    rows = min(height, max(1, BAND_BYTES // row_bytes))
    buffer = empty((1, len(weights.conv1.depthwise), scale * min(height, rows + 2 * halo), scale * width), x)
    for first in range(0, height, rows):
        last = min(first + rows, height)
        top, bottom = max(first - halo, 0), min(last + halo, height)
        inputs = buffer[:, :, : scale * (bottom - top)]
        if scale == 2:
            upsample(x[:, :, top:bottom], weights.up, inputs)
        else:
            torch.mul(x[:, : inputs.shape[1], top:bottom], weights.up, out=inputs)
        features, start, end = convolve(inputs, weights.conv1, scale * top, scale * bottom, scale * height)
        features, start, end = convolve(features, weights.conv2, start, end, scale * height)
        # At a border of the picture a row or two more are known than this band is to give.
        sink(features[:, :, scale * first - start : scale * last - start], scale * first, scale * last)


def image_weights(network: "SynthesisNetwork", w: Tensor) -> tuple[Tensor, Tensor]:
    """The last 1x1 convolution with its modulation and the inverse wavelet transform, for w [1, w_dim].

    Returns:
        Weights [12, C, 1, 1] and bias [12] of the colours of each pixel of a 2x2 square, in reading order.
    """
    order = bands_apart(12, w.device)
    factors = network.to_img_modulation(w)[0, :, 0, 0]  # [C]
    weight = (network.to_img.weight[order, :, 0, 0] * factors).unflatten(0, (4, 3))  # [band, colour, C]
    bias = cast(Tensor, network.to_img.bias)[order].view(4, 3)
    haar = torch.tensor(INVERSE_HAAR, dtype=w.dtype, device=w.device) / 2  # [pixel, band]
    weight = torch.einsum("pb,bcx->pcx", haar, weight).flatten(0, 1)  # [12, C]
    return weight[:, :, None, None], (haar @ bias).flatten()


def draw_picture(
    network: "SynthesisNetwork", ws: Tensor, noises: list[Tensor | None], largest: int, image: Tensor
) -> None:
    """Draw one picture.

    Args:
        ws: [1, num_ws, w_dim].
        noises: of each styled convolution, [1, 1, H, W].
        largest: size of the largest feature map; where that is less than the network's, this is a preview.
        image: to be written, [3, R, R]: of `largest` pixels, or of twice as many.
    """
    x = network.const.contiguous(memory_format=torch.channels_last)
    x = network.conv.convolve(x, ws[:, 0], noises[0])  # [1, C, 4, 4]
    apart = False  # the bands of x
    write_image = image_writer(network, ws[:, -1], image, squares=image.shape[-1] == 2 * largest)
    for i, block in enumerate(cast("list[SynthesisBlock]", network.blocks)):
        size = min(2 * x.shape[-1], largest)
        is_last = i == len(network.blocks) - 1
        low_pass = size == largest and not is_last  # all that the next block, a preview at the same size, reads
        styles, own = ws[:, 2 * i + 1 : 2 * i + 3], noises[2 * i + 1 : 2 * i + 3]
        if not apart and not is_last and size == block.conv1.noise.shape[-1] <= SMALL:
            x = block.run(x, styles, own, low_pass)  # [1, C, size, size]
            apart = low_pass
            continue
        if not apart:
            x = x[:, bands_apart(x.shape[1], x.device)].contiguous(memory_format=torch.channels_last)
            apart = True
        order = None if is_last else bands_apart(block.conv2.conv.out_channels, x.device)
        if order is not None and low_pass:
            order = order[: block.num_low_pass]
        weights = fold_block(block, styles, own, size, size // x.shape[-1], order)
        if is_last:
            run_block(x, weights, write_image)
            break
        output = empty((1, len(weights.conv2.pointwise), size, size), x)

        def keep(features: Tensor, first: int, last: int, output: Tensor = output) -> None:
            output[:, :, first:last] = features

        run_block(x, weights, keep)
        x = output


def image_writer(network: "SynthesisNetwork", w: Tensor, image: Tensor, squares: bool) -> Sink:
    """What writes rows of the last features into `image` [3, R, R]: 2x2 pixels for each of theirs, or their mean."""
    weight, bias = image_weights(network, w)
    if not squares:
        weight, bias = weight.unflatten(0, (4, 3)).mean(0), bias.unflatten(0, (4, 3)).mean(0)

        def write_means(features: Tensor, first: int, last: int) -> None:
            image[:, first:last] = F.conv2d(features, weight, bias)[0]

        return write_means
    pixels = image.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # [3, R / 2, 2, R / 2, 2]

    def write_squares(features: Tensor, first: int, last: int) -> None:
        colours = F.conv2d(features, weight, bias)[0].unflatten(0, (2, 2, 3))  # [2, 2, 3, rows, R / 2]
        pixels[:, first:last] = colours.permute(2, 3, 0, 4, 1)

    return write_squares


@torch.no_grad()
def draw_banded(
    network: "SynthesisNetwork", ws: Tensor, noises: list[Tensor | None], size: int, largest: int
) -> Tensor:
    """What `forward` and `preview` of a `SynthesisNetwork` draw, up to rounding, without gradients.

    Args:
        ws: [N, num_ws, w_dim].
        noises: of each styled convolution in turn, [1 or N, 1, H, W]; None adds nothing.
        size: of the pictures.
        largest: of the feature maps, `size` or half of it.

    Returns:
        Images [N, 3, size, size].
    """
    images = ws.new_empty(len(ws), 3, size, size)
    for i, image in enumerate(images):
        own = [noise if noise is None or len(noise) == 1 else noise[i : i + 1] for noise in noises]
        draw_picture(network, ws[i : i + 1], own, largest, image)
    return images

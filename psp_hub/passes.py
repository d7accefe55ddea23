"""Several passes (ReStyle, Alaluf et al. 2021, section 3): each sees the face of the last one, too.

What a pass answers is added to the styles so far, so that it only has to say what is still different. One encoder
makes them all, as in ReStyle, and sees the mean face at first; or the first pass is an encoder's as ever, and those
after it are its residual encoder's, which is smaller and learns what it leaves to be done.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.config import ENCODER_SIZE
from psp_hub.encoder import FACE_CHANNELS, PSPEncoder
from psp_hub.generators.base import Generator
from psp_hub.layers import resample


def input_channels(encoder: PSPEncoder, num_passes: int) -> int:
    """Channels of the pictures that go in: in several passes of its own, the encoder takes a face beside them."""
    sees_face = num_passes > 1 and encoder.residual_encoder is None
    return encoder.config.in_channels - (FACE_CHANNELS if sees_face else 0)


def check_passes(encoder: PSPEncoder, num_passes: int) -> None:
    """Raise ValueError where an encoder has no room for a face."""
    if num_passes == 1:
        return
    if input_channels(encoder, num_passes) < 1:
        raise ValueError(
            f"the encoder takes {encoder.config.in_channels} channels, expected {FACE_CHANNELS} more than the "
            f"pictures have: with {num_passes} passes it sees a face, too"
        )


def see_face(generator: Generator, delta: Tensor, face_size: int) -> Tensor:
    """The face of styles relative to `w_avg`, as the next pass sees it.

    Args:
        delta: [N, num_ws, w_dim].
        face_size: pixels that are drawn. Less than 256 are a preview, in less time, enlarged.

    Returns:
        [N, 3, 256, 256], about [-1, 1].
    """
    ws = (delta + generator.w_avg).to(generator.w_avg.dtype)
    if face_size >= ENCODER_SIZE:
        return resample(generator.synthesis(ws), ENCODER_SIZE)
    images = generator.synthesis.preview(ws, face_size)
    return F.interpolate(images, size=ENCODER_SIZE, mode="bilinear", align_corners=False)


def pass_input(generator: Generator, x: Tensor, delta: Tensor | None, face_size: int) -> Tensor:
    """What the encoder takes in one pass: the pictures [N, C, 256, 256], and the face so far; [N, C + 3, 256, 256].

    Args:
        delta: styles so far, relative to `w_avg`, [N, num_ws, w_dim]; None before the first pass.
    """
    if delta is None:  # the same face for all
        start = generator.w_avg.new_zeros(1, generator.num_ws, generator.w_dim)
        face = see_face(generator, start, face_size).expand(len(x), -1, -1, -1)
    else:
        face = see_face(generator, delta, face_size)
    return torch.cat([x, face.to(x)], dim=1)


def encode_in_passes(
    encoder: Callable[[Tensor], Tensor],
    generator: Generator,
    x: Tensor,
    num_passes: int,
    face_size: int,
    residual: bool = False,
) -> Tensor:
    """Pictures [N, C, 256, 256] to styles relative to `w_avg`, [N, num_ws, w_dim].

    Args:
        residual: the encoder has a residual one, and the first pass therefore needs no face.
    """
    first = x if residual or num_passes == 1 else pass_input(generator, x, None, face_size)
    delta = encoder(first)  # [N, num_ws, w_dim]
    for _ in range(num_passes - 1):
        delta = delta + encoder(pass_input(generator, x, delta, face_size))
    return delta

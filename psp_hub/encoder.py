"""The pSp encoder (Richardson et al. 2021, section 3): a feature pyramid on an IR-SE trunk, and map2style heads.

One module covers the paper's shape and a light variant; widths, depths and the kind of heads come from the config.
"""

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from psp_hub.config import ENCODER_SIZE
from psp_hub.heads import HeadIntoW, HeadIntoWPlus, SharedHeads, StyleHeads
from psp_hub.hub.components import Component
from psp_hub.hub.diffusers_parts import register_to_config
from psp_hub.latents import GROUP_STARTS
from psp_hub.trunk import ACTIVATIONS, IR_SE50, SE_REDUCTION, Trunk

# How features become styles; the last two read the last features alone, the others a pyramid.
HEADS = ("shared", "psp", "e4e", "w", "naive_w_plus")

FACE_CHANNELS = 3  # of the face so far, which a residual encoder sees beside the picture

# The encoder of the paper: 267 M parameters with 18 styles, 88 % of them in its heads.
PSP = IR_SE50 | {"pyramid_width": 512, "head_widths": (512, 512, 512), "head": "psp"}


def check_shapes(
    num_ws: int,
    stem_stride: int,
    stage_widths: tuple[int, ...],
    stage_depths: tuple[int, ...],
    stage_strides: tuple[int, ...],
    head_widths: tuple[int, ...],
    fine_widths: tuple[int, ...],
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
    if min(stem_stride, *stage_strides) < 1 or ENCODER_SIZE % total_stride or total_stride == ENCODER_SIZE:
        raise ValueError(
            f"stem_stride and stage_strides are {stem_stride} and {tuple(stage_strides)}, "
            f"expected powers of two with a product below {ENCODER_SIZE}"
        )
    if fine_widths and (2 ** len(fine_widths) != stem_stride or min(fine_widths) < 1):
        raise ValueError(
            f"fine_widths are {tuple(fine_widths)} with a stem_stride of {stem_stride}, "
            f"expected none, or one width for each halving: {stem_stride.bit_length() - 1}"
        )


def check_choices(activation: str, head: str, stem_kernel: int, base_rank: int, prior_width: int) -> None:
    """Raise ValueError unless an encoder can have these parts (see `PSPEncoder`)."""
    for name, value, valid in (("activation", activation, ACTIVATIONS), ("head", head, HEADS)):
        if value not in valid:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(valid)}")
    if stem_kernel not in (1, 3):
        raise ValueError(f"stem_kernel is {stem_kernel}, expected 1 or 3")
    if min(base_rank, prior_width) < 0 or (head != "shared" and (base_rank or prior_width)):
        raise ValueError(
            f"base_rank is {base_rank} and prior_width {prior_width} with {head!r} heads, "
            "expected 0 or more, and 0 for all heads but 'shared'"
        )


class PSPEncoder(Component):
    """E(x) of `pSp(x) = G(E(x) + w_avg)`. The defaults are the light variant; some starters are deeper.

    The original is `PSPEncoder(in_channels=3, num_ws=18, **PSP)`.

    Args:
        in_channels: channels of the input image.
        num_ws: styles to write, that of the generator.
        w_dim: size of one style.
        stem_width, stem_stride, stem_kernel: the first convolution and how many pixels per side are folded before.
        stage_widths, stage_depths, stage_strides: the trunk; its last three stages feed the pyramid.
        pyramid_width: channels of the pyramid.
        base_width: channels of the base style's map2style (`shared` heads).
        head_widths: channels of the map2style stacks, coarse, medium, fine.
        activation: of the trunk, `prelu` or `relu`.
        squeeze_excitation: IR-SE blocks; without, IR blocks.
        head: `shared` (light: one stack per level), `psp` (one per style), `e4e` (the same, as deltas to the first),
            `w` and `naive_w_plus` (the baselines of the paper).
        base_rank: of the linear layer of the base style (`shared` heads), 0 for full rank.
        prior_width: hidden units of an MLP that knows what W looks like, after it (`shared` heads); 0 for none.
        residual: sizes, by the names above, of a second encoder for all passes after the first (see `psp_hub.passes`):
            it takes three more channels, and says what is to be added. None for none.
        fine_widths: channels of convolutions of stride 2 beside the stem, as many as make up its stride; () for none.

    Raises:
        ValueError: lists of different lengths, fewer than three stages, sizes that cannot be built, unknown names.
    """

    @register_to_config
    def __init__(
        self,
        in_channels: int = 1,
        num_ws: int = 16,
        w_dim: int = 512,
        stem_width: int = 64,
        stem_stride: int = 8,
        stage_widths: tuple[int, ...] = (64, 128, 256),
        stage_depths: tuple[int, ...] = (1, 2, 3),
        stage_strides: tuple[int, ...] = (1, 2, 2),
        pyramid_width: int = 128,
        base_width: int = 64,
        head_widths: tuple[int, int, int] = (128, 64, 32),
        activation: str = "relu",
        squeeze_excitation: bool = True,
        head: str = "shared",
        stem_kernel: int = 3,
        base_rank: int = 0,
        prior_width: int = 0,
        residual: dict[str, Any] | None = None,
        fine_widths: tuple[int, ...] = (),
    ):
        super().__init__()
        check_choices(activation, head, stem_kernel, base_rank, prior_width)
        check_shapes(num_ws, stem_stride, stage_widths, stage_depths, stage_strides, head_widths, fine_widths)
        self.trunk = Trunk(
            in_channels,
            stem_width,
            stem_stride,
            stage_widths,
            stage_depths,
            stage_strides,
            activation,
            squeeze_excitation,
            stem_kernel,
            tuple(fine_widths),
        )
        self.residual_encoder: PSPEncoder | None = None
        if residual is not None:
            # By name: to diffusers, what is given by position is a default, which `from_config` leaves out.
            channels = in_channels + FACE_CHANNELS
            self.residual_encoder = PSPEncoder(in_channels=channels, num_ws=num_ws, w_dim=w_dim, **residual)
        fine, medium, coarse = stage_widths[-3:]
        self.heads: nn.Module
        if head in ("w", "naive_w_plus"):
            self.heads = (HeadIntoW if head == "w" else HeadIntoWPlus)(coarse, num_ws, w_dim)
            return
        wide_enough = coarse == pyramid_width
        self.lateral_coarse = nn.Identity() if wide_enough else nn.Conv2d(coarse, pyramid_width, 1)
        self.lateral_medium = nn.Conv2d(medium, pyramid_width, 1)
        self.lateral_fine = nn.Conv2d(fine, pyramid_width, 1)
        coarse_size = ENCODER_SIZE // (stem_stride * math.prod(stage_strides))
        medium_size = coarse_size * stage_strides[-1]
        sizes = (coarse_size, medium_size, medium_size * stage_strides[-2])
        if head == "shared":
            self.heads = SharedHeads(
                pyramid_width, base_width, head_widths, sizes, num_ws, w_dim, base_rank, prior_width
            )
        else:
            self.heads = StyleHeads(pyramid_width, head_widths, sizes, num_ws, w_dim, base_and_deltas=head == "e4e")

    def forward(self, x: Tensor) -> Tensor:
        """Encode images.

        Args:
            x: [N, in_channels, 256, 256], in the range of the task. With a face beside it, [N, in_channels + 3, ...],
                it is for the residual encoder.

        Returns:
            Styles relative to the generator's `w_avg`, or to those of the face, [N, num_ws, w_dim].

        Raises:
            ValueError: wrong shape. (The original folds a larger image into the batch.)
        """
        if (
            self.residual_encoder is not None
            and x.ndim == 4
            and x.shape[1] == self.residual_encoder.config.in_channels
        ):
            return self.residual_encoder(x)
        expected = (self.config.in_channels, ENCODER_SIZE, ENCODER_SIZE)
        if x.ndim != 4 or x.shape[1:] != expected:
            raise ValueError(f"the encoder got {tuple(x.shape)}, expected [N, {', '.join(map(str, expected))}]")
        c1, c2, c3 = self.trunk(x)  # strides 8, 16, 32 in the light variant, 4, 8, 16 in the original
        if self.config.head in ("w", "naive_w_plus"):
            return self.heads(c3)  # [N, num_ws, w_dim]
        p3 = self.lateral_coarse(c3)
        p2 = F.interpolate(p3, size=c2.shape[2:], mode="bilinear", align_corners=True) + self.lateral_medium(c2)
        p1 = F.interpolate(p2, size=c1.shape[2:], mode="bilinear", align_corners=True) + self.lateral_fine(c1)
        return self.heads([p3, p2, p1])  # [N, num_ws, w_dim]

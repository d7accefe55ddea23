"""What the inputs of a task show of the faces: `psp_hub.refinement` compares the faces that are drawn with it."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.config import ENCODER_SIZE
from psp_hub.tasks import TASKS


class Wanted(NamedTuple):
    """What faces are compared with; the names are those of `psp_hub.refinement.refine`."""

    targets: Tensor
    mask: Tensor | None = None
    reduction: Callable[[Tensor], Tensor] | None = None


def check_refinable(task: str) -> None:
    """Raise ValueError for a task whose inputs cannot be compared with the faces."""
    if task not in TASKS or TASKS[task].shown is None:
        known = ", ".join(name for name, row in TASKS.items() if row.shown)
        raise ValueError(f"{task} cannot be refined: what it starts from is no picture of the face; expected {known}")


def find_wanted(
    task: str, inputs: Tensor, sizes: Sequence[tuple[int, int]] | None = None, factor: int | None = None
) -> Wanted:
    """What the encoder's inputs show of the faces.

    Args:
        task: name, a key of `psp_hub.tasks.TASKS`.
        inputs: [N, C, 256, 256].
        sizes: height and width of each picture before it became an input, for super-resolution, or ...
        factor: ... how many times smaller than 256 px all of them were.

    Raises:
        ValueError: a task whose inputs cannot be compared, inputs of another shape, or an unknown size.
    """
    check_refinable(task)
    shown = TASKS[task].shown
    channels = TASKS[task].in_channels
    if inputs.ndim != 4 or inputs.shape[1:] != (channels, ENCODER_SIZE, ENCODER_SIZE):
        shape = f"[N, {channels}, {ENCODER_SIZE}, {ENCODER_SIZE}]"
        raise ValueError(f"pictures to refine have shape {tuple(inputs.shape)}, expected {shape}")
    if shown == "known":
        return Wanted(inputs[:, :3], mask=1 - inputs[:, 3:])
    if shown == "small":
        return Wanted(inputs, reduction=partial(make_small_and_large, sizes=sizes_at(sizes, factor, len(inputs))))
    return Wanted(inputs)


def sizes_at(sizes: Sequence[tuple[int, int]] | None, factor: int | None, count: int) -> list[tuple[int, int]]:
    """How small each of `count` pictures was, when 256 px is the whole: by the factor, if there is one."""
    if factor is not None:
        if not 1 <= factor <= ENCODER_SIZE:
            raise ValueError(f"factor is {factor}, expected 1 to {ENCODER_SIZE}")
        return [(ENCODER_SIZE // factor,) * 2] * count
    if sizes is None:
        raise ValueError("how small the pictures were cannot be seen: factor is None, expected a number")
    return [(min(height, ENCODER_SIZE), min(width, ENCODER_SIZE)) for height, width in sizes]


def make_small_and_large(images: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
    """Pictures [N, 3, 256, 256] as each would look from a file of its size: with Pillow's filters, and gradients."""
    rows = []
    for image, size in zip(images.split(1), sizes, strict=True):
        small = F.interpolate(image, size, mode="bicubic", antialias=True)
        rows.append(F.interpolate(small, image.shape[2:], mode="bilinear"))
    return torch.cat(rows)  # [N, 3, 256, 256]

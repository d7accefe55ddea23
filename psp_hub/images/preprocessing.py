"""Pictures to tensors and back: what each kind of input becomes for the encoder, and what the generator paints.

How files are opened is told in `pictures`, how drawings are cleaned in `line_drawings`, and how label maps are read in
`label_maps`; what others need of these is found here, too.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from psp_hub.config import ENCODER_SIZE
from psp_hub.images.colours import to_srgb
from psp_hub.images.face_classes import CLASS_NAMES, NUM_CLASSES, PALETTE
from psp_hub.images.formats import FORMATS
from psp_hub.images.label_maps import labels_to_image, read_labels, resize_labels
from psp_hub.images.line_drawings import prepare_drawing
from psp_hub.images.pictures import BROKEN, MAX_PIXELS, MIN_SIDE, Source, flatten, open_image

__all__ = [
    "BROKEN",
    "CLASS_NAMES",
    "ENCODER_SIZE",
    "FORMATS",
    "MAX_PIXELS",
    "MIN_SIDE",
    "NUM_CLASSES",
    "PALETTE",
    "PREPARATIONS",
    "drawings_to_tensor",
    "images_to_tensor",
    "labels_to_image",
    "labels_to_tensor",
    "masked_to_tensor",
    "open_image",
    "prepare",
    "prepare_drawing",
    "prepare_labels",
    "prepare_masked",
    "prepare_tensor",
    "read_labels",
    "resize_labels",
    "tensor_to_images",
]

ROWS = 64  # of a picture, which are turned into bytes at once


def drawings_to_tensor(drawings: list[Image.Image]) -> Tensor:
    """Pictures of one size (taken as "L") -> [N, 1, H, W] in [0, 1] (1 is paper): pSp's convention."""
    arrays = np.stack([np.asarray(drawing.convert("L")) for drawing in drawings])  # [N, H, W]
    return torch.from_numpy(arrays)[:, None].float() / 255


def prepare(source: Source, input_kind: str) -> tuple[Image.Image, Tensor]:
    """One picture of any size -> as the encoder sees it, for people, and for the encoder, [1, C, 256, 256].

    Args:
        source: what a person gives, as `open_image` takes it.
        input_kind: a key of `PREPARATIONS`.

    Raises:
        ValueError: unknown kind, or a picture that cannot be used.
    """
    if input_kind not in PREPARATIONS:
        raise ValueError(f"input_kind is {input_kind!r}, expected one of {', '.join(PREPARATIONS)}")
    clean, to_tensor = PREPARATIONS[input_kind]
    seen = clean(open_image(source, keep_mode=True))
    return seen, to_tensor(seen)


def prepare_tensor(image: Source, input_kind: str) -> Tensor:
    """The second of what `prepare` answers."""
    return prepare(image, input_kind)[1]


def prepare_photo(image: Image.Image) -> Image.Image:
    """Any picture -> RGB, 256 x 256; as in the original, its sides are stretched to a square."""
    return flatten(image).resize((ENCODER_SIZE, ENCODER_SIZE), Image.Resampling.BILINEAR)


def prepare_labels(image: Image.Image, label_order: str | None = None) -> Image.Image:
    """Any picture of a label map -> palette picture of the official numbers, 256 x 256; stretched, as photos are.

    Args:
        image: numbers or colours, see `read_labels`.
        label_order: what the numbers mean, a key of `psp_hub.images.label_maps.LABEL_ORDERS`; None is the official
            order.

    Raises:
        ValueError: not a label map, or one that says nothing (see `read_labels`).
    """
    return labels_to_image(resize_labels(read_labels(image, label_order), ENCODER_SIZE))


def labels_to_tensor(labels: Image.Image) -> Tensor:
    """A picture that `prepare_labels` made -> one-hot [1, 19, 256, 256].

    Resized without mixing neighbours (the original interpolated the numbers, and got classes that were not there).
    """
    numbers = torch.from_numpy(np.array(labels, np.int64))
    one_hot = torch.nn.functional.one_hot(numbers, NUM_CLASSES)  # [256, 256, 19]
    return one_hot.permute(2, 0, 1)[None].float()


def prepare_masked(image: Image.Image) -> Image.Image:
    """A photo whose transparent part is missing -> RGBA, 256 x 256; stretched, as photos are."""
    return to_srgb(image).convert("RGBA").resize((ENCODER_SIZE, ENCODER_SIZE), Image.Resampling.BILINEAR)


def masked_to_tensor(photo: Image.Image) -> Tensor:
    """A picture that `prepare_masked` made -> [1, 4, 256, 256].

    Returns:
        RGB in [-1, 1], 0 where it is missing, and the mask: 1 is missing, 0 is there.

    Raises:
        ValueError: nothing is missing, or everything is.
    """
    missing = torch.from_numpy(np.array(photo.getchannel("A"))) < 128  # [256, 256]
    if missing.all() or not missing.any():
        share = "all" if missing.all() else "nothing"
        raise ValueError(
            f"The part to fill in is what is transparent: {share} of this picture, expected a part of it."
        )
    return torch.cat([images_to_tensor([photo]) * ~missing, missing[None, None].float()], dim=1)


class Preparation(NamedTuple):
    """How a kind of picture is prepared."""

    clean: Callable[[Image.Image], Image.Image]  # in the mode that it was saved in -> as the encoder sees it
    to_tensor: Callable[[Image.Image], Tensor]  # that -> [1, C, 256, 256]


PREPARATIONS = {
    "drawing": Preparation(prepare_drawing, lambda drawing: drawings_to_tensor([drawing])),
    "photo": Preparation(prepare_photo, lambda photo: images_to_tensor([photo])),
    "labels": Preparation(prepare_labels, labels_to_tensor),
    "masked": Preparation(prepare_masked, masked_to_tensor),
}


def images_to_tensor(images: list[Image.Image]) -> Tensor:
    """RGB pictures of one size -> [N, 3, H, W] in [-1, 1]."""
    arrays = np.stack([np.asarray(image.convert("RGB")) for image in images])  # [N, H, W, 3]
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 127.5 - 1


def tensor_to_images(images: Tensor) -> list[Image.Image]:
    """[N, 3, H, W] in [-1, 1] (values outside are clamped) -> RGB pictures."""
    planes = torch.empty(images.shape, dtype=torch.uint8)  # of bytes: quicker to interleave than numbers
    for first in range(0, images.shape[2], ROWS):  # so few that what is computed stays in the processor's caches
        rows = images[:, :, first : first + ROWS].detach().to("cpu", torch.float32, copy=True)
        planes[:, :, first : first + ROWS] = rows.clamp_(-1, 1).add_(1).mul_(127.5).round_()
    return [Image.fromarray(array) for array in torch.stack(planes.unbind(1), dim=-1).numpy()]

"""Stored sources and their targets: two pictures of one face, brought to the encoder's size in one geometry.

What is at one place of the source stays at the same place of the target. So the freedom that people's single drawings
get in use, to be enlarged where they are small, is not taken here.
"""

import numpy as np
from PIL import Image
from torch import Tensor

from psp_hub.images.line_drawings import clean_drawing, fit_square
from psp_hub.images.preprocessing import ENCODER_SIZE, drawings_to_tensor, open_image, prepare_tensor
from training.data.folders import File, Pictures, photo_to_tensor, read, read_labels

MAX_DIFFERENCE = 0.02  # how much the proportions of two pictures of one face may differ


def read_pair(targets: Pictures, sources: Pictures, row: tuple[int, int], input_kind: str) -> tuple[Tensor, Tensor]:
    """One target and its source.

    Photos and label maps that are not square are stretched, as photos without sources are. Drawings keep their
    proportions on white paper, as in use, and so does the photo of a drawing, which is continued by its mirror image.

    Args:
        row: positions in `targets` and `sources`.
        input_kind: of the task.

    Returns:
        The target [3, 256, 256] in [-1, 1], and the source: label maps as classes [256, 256], uint8, the rest as the
        encoder's input [C, 256, 256].

    Raises:
        ValueError: one that cannot be read, or two of different proportions; the message begins with a name.
    """
    target, source = row
    photo = read(targets, target, open_image)
    picture = read(sources, source, lambda file: open_image(file, keep_mode=True))
    (width, height), (other_width, other_height) = picture.size, photo.size
    if abs(width * other_height / (height * other_width) - 1) > MAX_DIFFERENCE:
        raise ValueError(
            f"{sources.name(source)} has {width} x {height} pixels, but {targets.name(target)} has {other_width} x "
            f"{other_height}: expected the same proportions, so that both show the same part of one face"
        )
    stored = read(sources, source, lambda _: source_to_tensor(picture, input_kind))
    return photo_to_tensor(frame_photo(photo) if input_kind == "drawing" else photo), stored


def read_source(file: File, input_kind: str) -> Tensor:
    """A source alone, as `read_pair` gives it."""
    return source_to_tensor(open_image(file, keep_mode=True), input_kind)


def source_to_tensor(picture: Image.Image, input_kind: str) -> Tensor:
    if input_kind == "labels":
        return read_labels(picture)
    if input_kind == "drawing":
        return drawings_to_tensor([clean_drawing(picture)])[0]
    return prepare_tensor(picture, input_kind)[0]


def frame_photo(photo: Image.Image) -> Image.Image:
    """Fit a photo into a square as `clean_drawing` fits a drawing, and continue it by its mirror image."""
    size, (left, top) = fit_square(photo.size, ENCODER_SIZE)
    if size == (ENCODER_SIZE, ENCODER_SIZE):
        return photo
    pixels = np.asarray(photo.convert("RGB").resize(size, Image.Resampling.BICUBIC))  # [h, w, 3]
    right, bottom = ENCODER_SIZE - size[0] - left, ENCODER_SIZE - size[1] - top
    return Image.fromarray(np.pad(pixels, ((top, bottom), (left, right), (0, 0)), "symmetric"))

"""How training makes the input of a task from its target: one function each, named in the rows of `psp_hub.tasks`.

Every function takes

    image: the target, [3, H, W] in [-1, 1].
    rng: source of every random choice.
    hint: what is stored of this target: ink [1, H, W] in [0, 1] or `Facts` for drawings, classes [H, W] uint8 for
        label maps.
    gentle: an easy input, for the first steps of training; sources without easy inputs make no difference.

and the options of the row, and returns the encoder's input [C, H, W].
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from psp_hub.images.preprocessing import images_to_tensor, tensor_to_images
from training.data.drawings import draw_gently, draw_photo
from training.data.painted_maps import one_hot, paint
from training.settings.data import LINE_ART_SHARE
from training.strokes import Facts, write_drawing

MAX_SHAPES = 5
MAX_MISSING = 0.6  # of the pixels; no shape alone is larger


def identity(image: Tensor, rng: np.random.Generator, hint: Tensor | None = None, gentle: bool = False) -> Tensor:
    """The target itself (inversion)."""
    return image


def flip(image: Tensor, rng: np.random.Generator, hint: Tensor | None = None, gentle: bool = False) -> Tensor:
    """The target or its mirror image, with equal chances (frontalization).

    With targets that are mirrored by chance themselves, input and target are mirrored independently of each other.
    """
    return image.flip(-1) if rng.random() < 0.5 else image


def drawing(
    image: Tensor,
    rng: np.random.Generator,
    hint: Tensor | Facts | None = None,
    gentle: bool = False,
    line_art_share: float = LINE_ART_SHARE,
    of_heads: bool = True,
) -> Tensor:
    """A drawing of the target, [1, H, W] in [0, 1]: strokes, where `hint` says the facts, else made of its pixels.

    Line art in `hint` is used with the chance `line_art_share`.
    """
    if isinstance(hint, Facts):
        return write_drawing(hint, rng)
    return (draw_gently if gentle else draw_photo)(image, rng, hint, line_art_share=line_art_share, of_heads=of_heads)


def labels(image: Tensor, rng: np.random.Generator, hint: Tensor | None = None, gentle: bool = False) -> Tensor:
    """The stored label map, one-hot [19, H, W] uint8: as a person might paint it, or exactly (`gentle`).

    Raises:
        ValueError: no label map is stored.
    """
    if hint is None:
        raise ValueError("the source 'labels' needs a stored label map of each picture, got none")
    return one_hot(hint if gentle else paint(hint, rng))


def degradation(
    image: Tensor,
    rng: np.random.Generator,
    hint: Tensor | None = None,
    gentle: bool = False,
    factors: Sequence[int] = (1, 2, 4, 8, 16, 32),
    blur_share: float = 0.0,
    jpeg_share: float = 0.0,
) -> Tensor:
    """A smaller picture, enlarged again (super-resolution).

    It is made smaller with the antialiased bicubic filter, as in the original, and larger as
    `psp_hub.images.preprocessing` enlarges what people bring. Factor 1 keeps every pixel, where the original shifts by
    half of one.

    Args:
        factors: how many times smaller; one is drawn.
        blur_share: how often it is out of focus before.
        jpeg_share: how often it is saved as JPEG while it is small.
    """
    (picture,) = tensor_to_images(image[None])
    if rng.random() < blur_share:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 3)))
    factor = int(rng.choice(factors))
    width, height = picture.size
    small = picture.resize((max(1, width // factor), max(1, height // factor)), Image.Resampling.BICUBIC)
    if rng.random() < jpeg_share:
        file = io.BytesIO()
        small.save(file, "JPEG", quality=int(rng.integers(25, 95)))
        small = Image.open(file)
    return images_to_tensor([small.resize((width, height), Image.Resampling.BILINEAR)])[0]


def mask(image: Tensor, rng: np.random.Generator, hint: Tensor | None = None, gentle: bool = False) -> Tensor:
    """The target with a part missing (inpainting), [4, H, W]: it is zero there, and the last channel is 1."""
    missing = missing_part(rng, image.shape[2], image.shape[1])  # [1, H, W]
    return torch.cat([image * (1 - missing), missing])


def missing_part(rng: np.random.Generator, width: int, height: int) -> Tensor:
    """Strokes of a free hand, blocks and triangles, in any mixture; [1, height, width], 1 where it is missing."""
    missing = np.zeros((height, width), bool)
    for _ in range(int(rng.integers(1, MAX_SHAPES + 1))):
        canvas = Image.new("L", (width, height))
        SHAPES[rng.integers(len(SHAPES))](ImageDraw.Draw(canvas), rng, np.array([width, height]))
        larger = missing | (np.asarray(canvas) > 0)
        if larger.mean() <= MAX_MISSING:
            missing = larger
    return torch.from_numpy(missing)[None].float()


def add_stroke(pen: ImageDraw.ImageDraw, rng: np.random.Generator, size: np.ndarray) -> None:
    """A broken line of up to five pieces, each turning a little, with round joints."""
    width = int(rng.uniform(0.03, 0.12) * size.min())
    point, angle = rng.uniform(0.1, 0.9, 2) * size, rng.uniform(0, 2 * np.pi)
    for _ in range(int(rng.integers(1, 6))):
        end = point + rng.uniform(0.1, 0.35) * size * (np.cos(angle), np.sin(angle))
        pen.line([*point, *end], fill=255, width=width)
        for x, y in (point, end):
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
        point, angle = end, angle + rng.normal(0, 0.8)


def add_block(pen: ImageDraw.ImageDraw, rng: np.random.Generator, size: np.ndarray) -> None:
    sides = rng.uniform(0.1, 0.6, 2) * size
    corner = rng.uniform(0, 1, 2) * (size - sides)
    pen.rectangle((*corner, *(corner + sides)), fill=255)


def add_triangle(pen: ImageDraw.ImageDraw, rng: np.random.Generator, size: np.ndarray) -> None:
    """Any; half of the picture from a corner on is the case of the paper."""
    if rng.random() < 0.3:
        corners = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
        points = np.delete(corners, rng.integers(4), axis=0) * size
    else:
        points = rng.uniform(0, 1, (3, 2)) * size
    pen.polygon([tuple(point) for point in points.tolist()], fill=255)


SHAPES = (add_stroke, add_block, add_triangle)

SOURCES: dict[str, Callable[..., Tensor]] = {
    "identity": identity,
    "flip": flip,
    "drawing": drawing,
    "labels": labels,
    "degradation": degradation,
    "mask": mask,
}

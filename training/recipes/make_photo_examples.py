"""Make the examples of the tasks that take photos: faces of the built-in generator, whole, small, cut or turned.

python training/recipes/make_photo_examples.py --output_dir psp_hub/starters
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from psp_hub.directions import apply_directions, load_directions
from psp_hub.generators import load_generator
from psp_hub.images.preprocessing import ENCODER_SIZE, tensor_to_images
from psp_hub.latents import random_z
from training.settings.flags import parse

TRUNCATION_PSI = 0.7
# Seeds by name, looked for by eye: different people, nothing odd in the picture.
WHOLE = {"child": 0, "man-with-glasses": 2, "woman": 5, "young-woman": 13}
SMALL = {"woman-16px": (1, 16), "man-32px": (6, 32), "man-with-beard-32px": (10, 32), "girl-64px": (7, 64)}
# And how far each is turned, in steps of the direction `turn`.
TURNED = {
    "dark-haired-man": (20, 2.2),
    "grey-haired-man": (3, -2.2),
    "laughing-woman": (21, -2.2),
    "man-with-glasses": (9, -2.2),
}
# What is missing, in parts of the side: lines as (width, points), or a polygon.
GAPS = {
    "man-mouth": (3, [(0.18, [(0.36, 0.72), (0.64, 0.72)])]),
    "woman-eyes": (15, [(0.16, [(0.3, 0.47), (0.7, 0.47)])]),
    "baby-half": (18, [[(0.52, 0), (1, 0), (1, 1), (0.52, 1)]]),
    "man-scratches": (14, [(0.07, [(0.1, 0.15), (0.6, 0.5), (0.3, 0.95)]), (0.07, [(0.8, 0.05), (0.55, 0.8)])]),
}


@dataclass(frozen=True)
class ExampleSettings:
    """Where the examples go, and who paints them."""

    output_dir: Path
    """gets TASK/examples/NAME.png"""
    generator: str = "mobilestylegan-ffhq"
    """name of a generator or a saved folder"""


def parse_args(words: list[str] | None = None) -> ExampleSettings:
    return parse(ExampleSettings, words, __doc__)


def cut_gap(face: Image.Image, shapes: list) -> Image.Image:
    """The face with shapes that are transparent, and grey beneath: nobody knows what was there."""
    gap = Image.new("L", (4 * face.width, 4 * face.height))
    pen, side = ImageDraw.Draw(gap), gap.width
    for shape in shapes:
        width, points = shape if isinstance(shape, tuple) else (None, shape)
        points = [(x * side, y * side) for x, y in points]
        if width is None:
            pen.polygon(points, fill=255)
            continue
        pen.line(points, fill=255, width=round(width * side))
        for x, y in points:
            half = width * side / 2
            pen.ellipse((x - half, y - half, x + half, y + half), fill=255)
    gap = gap.resize(face.size, Image.Resampling.NEAREST)
    face = face.convert("RGBA")
    face.paste((128, 128, 128, 0), mask=gap)
    return face


@torch.no_grad()
def main(settings: ExampleSettings) -> None:
    generator, directions = load_generator(settings.generator), load_directions(settings.generator)

    def face(seed: int, size: int = ENCODER_SIZE, turn: float = 0.0) -> Image.Image:
        w = generator.mapping(random_z(1, generator.w_dim, seed), truncation_psi=TRUNCATION_PSI)
        ws = apply_directions(w[:, None].expand(-1, generator.num_ws, -1), {"turn": turn}, directions)
        image = tensor_to_images(generator.synthesis(ws))[0]
        return image.resize((size, size), Image.Resampling.BICUBIC)

    pictures = {
        "inversion": {name: face(seed) for name, seed in WHOLE.items()},
        "super-resolution": {name: face(seed, size) for name, (seed, size) in SMALL.items()},
        "frontalization": {name: face(seed, turn=turn) for name, (seed, turn) in TURNED.items()},
        "inpainting": {name: cut_gap(face(seed), shapes) for name, (seed, shapes) in GAPS.items()},
    }
    for task, images in pictures.items():
        folder = settings.output_dir / task / "examples"
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            image.save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(parse_args())

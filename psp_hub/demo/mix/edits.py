"""What the tab Mix & edit computes: new recipes from what a person did, and pictures and files of recipes."""

import html
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from psp_hub.config import MAX_SEED
from psp_hub.demo.mix.recipes import GROUPS, MAX_TEXT, Painter, Recipe, Source, from_json, to_json, to_link
from psp_hub.demo.photo.crops import read_crop
from psp_hub.demo.problems import Problem, problems
from psp_hub.demo.settings import whole_number
from psp_hub.demo.space import on_gpu
from psp_hub.directions import Direction
from psp_hub.generators.base import Generator
from psp_hub.images.png import save_png
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.latents_file import load_latents, save_latents
from psp_hub.model import PSPModel

COLUMNS = 4  # faces to mix with, in a row of the gallery
THUMBNAIL = 256
STRIP = 6  # pictures on the way between two faces
FRAMES, FRAME_SIDE, FRAME_MS = 16, 512, 80  # of the film, drawn once and shown forwards and backwards
ROLLED = 1_000_000  # dice give numbers below, which are easy to pass on

GROUP_NAMES = {"coarse": "Pose and shape", "medium": "Features and hair", "fine": "Colours and light"}


@on_gpu
@torch.no_grad()
def render_recipes(
    generator: Generator, directions: Mapping[str, Direction], recipes: Sequence[Recipe], side: int | None = None
) -> Iterator[tuple[Image.Image, np.ndarray]]:
    """Yields picture and styles [num_ws, w_dim] of each recipe; `side`: of smaller pictures."""
    for recipe in recipes:
        ws = recipe.ws(generator, directions)
        if side and 4 * side <= generator.resolution:
            images = generator.synthesis.preview(ws, side)
        else:
            images = generator.synthesis(ws)
        (image,) = tensor_to_images(images)
        if side and side < image.width:
            image = image.resize((side, side), Image.Resampling.BOX)
        yield image, ws[0].float().cpu().numpy()


@on_gpu
@torch.no_grad()
def edit_styles(
    generator: Generator, directions: Mapping[str, Direction], recipes: Sequence[Recipe]
) -> list[np.ndarray]:
    """The styles [num_ws, w_dim] of each recipe, without pictures."""
    return [recipe.ws(generator, directions)[0].float().cpu().numpy() for recipe in recipes]


def draw_recipes(
    painter: Painter, recipes: Sequence[Recipe], side: int | None = None
) -> Iterator[tuple[Image.Image, np.ndarray]]:
    """As `render_recipes`, for the page.

    Raises:
        Problem: a recipe for another painter.
    """
    with problems():
        yield from render_recipes(painter.generator, painter.directions, recipes, side)


def roll(recipe: Recipe, locked: Collection[str], seed: int) -> Recipe:
    """Another face; the locked groups stay as they are.

    Raises:
        Problem: everything is locked.
    """
    if not locked:
        return replace(recipe, start=seed, parts={}, strengths={})
    free = [group for group in GROUPS if group not in locked]
    if not free:
        raise Problem("Everything is locked. Unlock a part of the face, so that there is something to change.")
    return replace(
        recipe,
        parts={**recipe.parts, **dict.fromkeys(free, seed)},
        strengths={group: value for group, value in recipe.strengths.items() if group not in free},
    )


def roll_seed() -> int:
    return random.randrange(ROLLED)


def face_number(value: float | None) -> int:
    """Check a number that a person typed.

    Raises:
        Problem: not a whole number, or out of range.
    """
    with problems():
        return whole_number(value, "The number of the face", 0, MAX_SEED)


def describe(recipe: Recipe) -> str:
    """In words, what is seen."""

    def name(source: Source) -> str:
        return f"face {source}" if isinstance(source, int) else "a face without a number"

    words = [name(recipe.start).capitalize()]
    for group in GROUPS:
        if group in recipe.parts and (strength := recipe.strengths.get(group, 1.0)):
            share = "" if strength == 1 else f" ({strength:.0%})"
            words.append(f"{GROUP_NAMES[group].lower()} of {name(recipe.parts[group])}{share}")
    return ", with ".join(words[:2]) + "".join(f", {word}" for word in words[2:]) + "."


def link_to(recipe: Recipe, painter: Painter) -> str:
    """HTML: a link to this page that shows the face, or why there is none."""
    if link := to_link(recipe, painter):
        return f'<a href="?face={html.escape(link)}" target="_blank">Link to this face</a>: copy it, or open it.'
    return "Only faces that are made of numbered faces fit into a link. Send the recipe instead."


@dataclass(frozen=True)
class Files:
    """A face on the disk: PNG, recipe, styles; people download them under these names."""

    face: str
    recipe: str
    latents: str


def save_face(folder: str, image: Image.Image, ws: np.ndarray, recipe: Recipe, painter: Painter) -> Files:
    name = f"face-{recipe.start}" if isinstance(recipe.start, int) else "face"
    paths = [Path(folder, name).with_suffix(end) for end in (".png", ".json", ".safetensors")]
    save_png(image, paths[0])
    paths[1].write_text(to_json(recipe, painter), encoding="utf-8")
    save_latents(paths[2], torch.from_numpy(ws), generator=painter.name, task=None, w_avg=painter.w_avg)
    return Files(*map(str, paths))


@on_gpu
@torch.no_grad()
def encode_photo(model: PSPModel, photo: Image.Image) -> np.ndarray:
    """The styles [num_ws, w_dim] of a photo."""
    return model.encode(photo)[0].float().cpu().numpy()


@dataclass(frozen=True)
class Reader:
    """Reads the files that a face can come from: recipes, styles, and photos where there is a model for them."""

    painter: Painter
    inversion: PSPModel | None = None

    @property
    def file_types(self) -> list[str]:
        return [".json", ".safetensors", *(["image"] if self.inversion else [])]

    def read(self, path: str) -> Recipe:
        """The face in a file.

        Raises:
            Problem: a file that cannot be used, or a photo without a face.
        """
        with problems():
            with open(path, "rb") as file:
                start = file.read(MAX_TEXT + 1)
            if path.lower().endswith(".safetensors"):
                return Recipe(load_latents(path, self.painter).ws[0].numpy())
            if self.inversion and not start.lstrip().startswith(b"{"):
                return Recipe(encode_photo(self.inversion, read_crop(path, "inversion").image))
            return from_json(start, self.painter)

    def read_source(self, path: str) -> Source:
        """As `read`, for a face that another recipe uses: what was done to it is done already."""
        recipe = self.read(path)
        if recipe.is_plain:
            return recipe.start
        _, ws = next(draw_recipes(self.painter, [recipe], THUMBNAIL))
        return ws


def mixes(recipe: Recipe, first: int) -> list[Recipe]:
    """The gallery: row by row, each group taken over from the faces `first`, `first` + 1, ..."""
    return [recipe.with_part(group, first + i) for group in GROUPS for i in range(COLUMNS)]


def between(start: np.ndarray, end: np.ndarray, count: int) -> list[Recipe]:
    """`count` faces on the straight line from one to the other; both are [num_ws, w_dim]."""
    return [Recipe(start + np.float32(t) * (end - start)) for t in np.linspace(0, 1, count)]


def save_film(path: str, frames: Sequence[Image.Image]) -> None:
    """An animated WEBP that loops: forwards, then backwards."""
    there_and_back = [*frames, *frames[-2:0:-1]]
    there_and_back[0].save(
        path, save_all=True, append_images=there_and_back[1:], duration=FRAME_MS, loop=0, quality=80, method=2
    )

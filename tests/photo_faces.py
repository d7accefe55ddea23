"""Photos among the examples, and faces made of crops."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
from PIL import Image

from psp_hub import PSPModel
from psp_hub.demo.photo.crops import Crop
from psp_hub.demo.photo.portraits import Painting, Portrait, paint_portrait
from psp_hub.demo.problems import problems
from psp_hub.demo.settings import Settings
from psp_hub.model_names import STARTERS

CHILD = STARTERS / "inversion" / "examples" / "child.png"

TINY = STARTERS / "super-resolution" / "examples" / "woman-16px.png"

GAPPED = STARTERS / "inpainting" / "examples" / "woman-eyes.png"

KINDS = {
    "inversion": ("photo", 3),
    "super-resolution": ("photo", 3),
    "inpainting": ("masked", 4),
    "frontalization": ("photo", 3),
}


def paint(model: PSPModel, portrait: Portrait, **settings: float) -> Iterator[tuple[Painting, list[bytes]] | None]:
    """What is painted, and the files of the face and its variations."""
    with tempfile.TemporaryDirectory() as folder, problems():
        for painting in paint_portrait(model, portrait, Settings.checked(**settings), folder, gr.Progress()):
            if painting is None:
                yield None
            else:
                paths = [painting.face, *(path for path, _ in painting.gallery)]
                yield painting, [Path(path).read_bytes() for path in paths]


def make(model: PSPModel, crop: Crop, **settings: float) -> tuple[np.ndarray, list[bytes], list[str]]:
    """The styles of the face, the files of it and its variations, and the captions."""
    *_, (painting, files) = paint(model, Portrait(model.config.task, None, crop), **settings)
    return painting.ws, files, [caption for _, caption in painting.gallery]


def difference(a: Image.Image, b: Image.Image) -> float:
    a, b = (np.asarray(image.convert("RGB").resize((128, 128), Image.Resampling.BICUBIC), float) for image in (a, b))
    return float(np.abs(a - b).mean())


def scene(path: Path, *faces: tuple[int, int, int], angle: float = 0) -> Image.Image:
    """The child of the examples on a plain ground: (size, left, top) each; the whole turned."""
    picture = Image.new("RGB", (900, 640), (60, 90, 80))
    for size, left, top in faces:
        with Image.open(CHILD) as face:
            picture.paste(face.resize((size, size), Image.Resampling.BICUBIC), (left, top))
    picture = picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=(60, 90, 80))
    picture.save(path)
    return picture

"""Faces while somebody draws: one after each stroke, and again when a setting changes."""

import tempfile
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from psp_hub.demo.faces import Painted, face_path, latents_of, save_input
from psp_hub.demo.problems import Problem
from psp_hub.demo.settings import Settings
from psp_hub.demo.sketch.handlers import read_pad
from psp_hub.demo.space import on_gpu
from psp_hub.generators.base import Generator
from psp_hub.images.png import save_png
from psp_hub.images.preprocessing import PREPARATIONS, prepare, tensor_to_images
from psp_hub.model import PSPModel

# Updates of the face, of the drawing as the encoder gets it, and of what the page remembers of the face.
Update = tuple[Any, Any, Any]
NOTHING = (gr.skip(),) * 3
# The same, and the settings of the face, or None if there is none.
StrokeUpdate = tuple[Any, Any, Any, Any]
NO_STROKE = (*NOTHING, None)


def follow_stroke(
    model: PSPModel,
    live: bool,
    pad: str | None,
    painted: Painted | None,
    seed: float | None,
    strength: float,
    likeness: float,
) -> Iterator[StrokeUpdate]:
    """The face of what is on the pad: first a preview, which is there at once, then the PNG that can be kept.

    Both have as many pixels, so that nothing on the page moves. A drawing with too little on it to be one is no error
    yet: nothing changes. Nor if `painted` is this face already: the button was quicker than the stroke before it.

    Raises:
        Problem: the seed is out of range.
    """
    drawing = read_pad(pad)
    if not live or drawing is None:
        yield NO_STROKE
        return
    try:
        seen, _ = prepare(drawing, model.config.input_kind)
    except ValueError:
        yield NO_STROKE
        return
    settings = Settings.checked(seed, strength=strength, likeness=likeness)
    if painted is not None and painted.answers(seen, settings):
        yield NO_STROKE
        return
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder:
        for face, painted in paint_live(model, seen, settings):
            if painted is None:
                path = face_path(folder, settings.seed, ".jpg")
                face.save(path, quality=90)
                yield path, gr.skip(), gr.skip(), gr.skip()
            else:
                path = face_path(folder, settings.seed)
                save_png(face, path)
                yield path, save_input(seen, folder), painted, settings


def follow_settings(
    model: PSPModel, live: bool, painted: Painted | None, seed: float | None, strength: float, likeness: float
) -> Iterator[Update]:
    """The face that is shown, painted anew with other settings. A number that is half typed is no error.

    `painted` is that face when its turn comes, as the page's server remembers it: what the browser shows when the
    setting is changed may be the face of the stroke before.
    """
    settings = typed_settings(seed, strength, likeness)
    if not live or painted is None or settings is None or painted.settings.give_the_same_face(settings):
        yield NOTHING
    else:
        yield from repaint(model, painted, settings)


def follow_up(
    model: PSPModel,
    live: bool,
    painted: Painted | None,
    stroked: Settings | None,
    seed: float | None,
    strength: float,
    likeness: float,
) -> Iterator[Update]:
    """After a stroke, the face with the settings that changed meanwhile, even if it was painted already.

    The server may get a setting before the stroke that came first, and the stroke's face still has the old one. Or it
    paints both in turn, and the browser shows them in the other order: gradio waits for no answer of another event.

    Args:
        stroked: the settings of the stroke's face; None if there was none.
    """
    settings = typed_settings(seed, strength, likeness)
    if not live or painted is None or stroked is None or settings is None or stroked.give_the_same_face(settings):
        yield NOTHING
    else:
        yield from repaint(model, painted, settings)


def typed_settings(seed: float | None, strength: float, likeness: float) -> Settings | None:
    """What is set, or None while a number is half typed."""
    try:
        return Settings.checked(seed, strength=strength, likeness=likeness)
    except Problem:
        return None


def repaint(model: PSPModel, painted: Painted, settings: Settings) -> Iterator[Update]:
    """The face of the same drawing with other settings."""
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder:
        *_, (face, anew) = paint_live(model, Image.fromarray(painted.seen), settings, quick=False)
        path = face_path(folder, settings.seed)
        save_png(face, path)
        yield path, gr.skip(), anew


@on_gpu
@torch.no_grad()
def paint_live(
    model: PSPModel, seen: Image.Image, settings: Settings, quick: bool = True
) -> Iterator[tuple[Image.Image, Painted | None]]:
    """A cleaned drawing -> the face, and what to remember; with `quick`, first a blurred preview of it, and None."""
    inputs = PREPARATIONS[model.config.input_kind].to_tensor(seen)
    ws = model.encode(inputs, truncation_psi=settings.likeness)
    ws = model.mix(ws, seed=settings.seed, strength=settings.strength)
    if quick and model.generator.synthesis.quick_preview:
        yield paint_preview(model.generator, ws), None
    yield tensor_to_images(model.decode(ws))[0], Painted(latents_of(ws), np.asarray(seen), settings)


def paint_preview(generator: Generator, ws: Tensor) -> Image.Image:
    """The face `ws` [1, num_ws, w_dim] from a sixteenth of its pixels, enlarged."""
    side = generator.resolution
    (preview,) = tensor_to_images(generator.synthesis.preview(ws.to(generator.w_avg), side // 4, rough=True))
    return preview.resize((side, side), Image.Resampling.BICUBIC)

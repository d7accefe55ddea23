"""Faces while somebody draws: one after each stroke, and again when a setting changes."""

import tempfile
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from psp_hub.config import MAX_SEED
from psp_hub.demo.faces import Painted, Problem, fill_in, latents_of, save_face, save_input, whole_number
from psp_hub.demo.sketch.pad import read_drawing
from psp_hub.demo.space import on_gpu
from psp_hub.generators.base import Generator
from psp_hub.images.preprocessing import drawings_to_tensor, prepare_drawing, tensor_to_images
from psp_hub.model import PSPModel

# Updates of the face, of the drawing as the encoder gets it, and of what the page remembers of the face.
Update = tuple[Any, Any, Any]
NOTHING = (gr.skip(),) * 3


def follow_stroke(
    model: PSPModel,
    live: bool,
    pad: str | None,
    painted: Painted | None,
    seed: float | None,
    strength: float,
    likeness: float,
) -> Iterator[Update]:
    """The face of what is on the pad: first a preview, which is there in a wink, then the PNG that can be kept.

    Both have as many pixels, so that nothing on the page moves. A drawing with too little on it to be one is no error
    yet: nothing changes. Nor if `painted` is this face already: the button was quicker than the stroke before it.

    Raises:
        Problem: the seed is out of range.
    """
    drawing = read_drawing(pad)
    if not live or drawing is None:
        yield NOTHING
        return
    try:
        seen = prepare_drawing(drawing)
    except ValueError:
        yield NOTHING
        return
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder:
        try:
            number = whole_number(seed, "The seed", 0, MAX_SEED)
        except ValueError as error:
            raise Problem(str(error)) from error
        if painted is not None and painted.answers(seen, number, strength, likeness):
            yield NOTHING
            return
        for face, painted in paint_live(model, seen, number, strength, likeness):
            if painted is None:
                yield save_face(face, folder, number, ".jpg"), gr.skip(), gr.skip()
            else:
                yield save_face(face, folder, number), save_input(seen, folder), painted


def follow_settings(
    model: PSPModel, live: bool, painted: Painted | None, seed: float | None, strength: float, likeness: float
) -> Iterator[Update]:
    """The face that is shown, painted anew with other settings. A number that is half typed is no error.

    `painted` is that face when its turn comes, as the page's server remembers it: what the browser shows when the
    setting is changed may be the face of the stroke before.
    """
    try:
        number = whole_number(seed, "The seed", 0, MAX_SEED)
    except ValueError:
        number = None
    if not live or painted is None or number is None:
        yield NOTHING
        return
    seen = Image.fromarray(painted.seen)
    if painted.answers(seen, number, strength, likeness):
        yield NOTHING
        return
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder:
        *_, (face, painted) = paint_live(model, seen, number, strength, likeness, quick=False)
        yield save_face(face, folder, number), gr.skip(), painted


@on_gpu
@torch.no_grad()
def paint_live(
    model: PSPModel, seen: Image.Image, seed: int, strength: float, likeness: float, quick: bool = True
) -> Iterator[tuple[Image.Image, Painted | None]]:
    """A cleaned drawing -> the face, and what to remember; with `quick`, first a blurred preview of it, and None."""
    ws = fill_in(model, model.encode(drawings_to_tensor([seen]), truncation_psi=likeness), seed, strength)
    if quick and model.generator.synthesis.quick_preview:
        yield paint_preview(model.generator, ws), None
    yield tensor_to_images(model.decode(ws))[0], Painted(latents_of(ws), np.asarray(seen), (seed, strength, likeness))


def paint_preview(generator: Generator, ws: Tensor) -> Image.Image:
    """The face `ws` [1, num_ws, w_dim] from a sixteenth of its pixels, enlarged."""
    side = generator.resolution
    (preview,) = tensor_to_images(generator.synthesis.preview(ws.to(generator.w_avg), side // 4, rough=True))
    return preview.resize((side, side), Image.Resampling.BICUBIC)

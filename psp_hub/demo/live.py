"""Faces while somebody draws: one after each stroke, and again when a setting changes."""

import tempfile
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from psp_hub.demo.faces import Problem, fill_in, latents_of, save_face, save_input, whole_number
from psp_hub.demo.pad import read_drawing
from psp_hub.demo.space import on_gpu
from psp_hub.generators.base import Generator
from psp_hub.latents import MAX_SEED
from psp_hub.model import PSPModel
from psp_hub.preprocessing import drawings_to_tensor, prepare_drawing, tensor_to_images

# Updates of the face, of the drawing as the encoder gets it, and of the face's styles.
Update = tuple[Any, Any, Any]
NOTHING = (gr.skip(),) * 3


def follow_stroke(
    model: PSPModel, live: bool, pad: str | None, seed: float | None, strength: float, likeness: float
) -> Iterator[Update]:
    """The face of what is on the pad: first a preview, which is there in a wink, then the PNG that can be kept.

    Both have as many pixels, so that nothing on the page moves. A drawing with too little on it to be one is no error
    yet: nothing changes.

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
        for face, latents in paint_live(model, seen, number, strength, likeness):
            if latents is None:
                yield save_face(face, folder, number, ".jpg"), gr.skip(), gr.skip()
            else:
                yield save_face(face, folder, number), save_input(seen, folder), latents


def follow_settings(
    model: PSPModel, live: bool, seen: np.ndarray | None, seed: float | None, strength: float, likeness: float
) -> Iterator[Update]:
    """The face that is shown, painted anew with other settings; `seen` is its drawing as the encoder gets it.

    `seen` is what gradio makes of a picture, [H, W, 3]. A number that is half typed is no error: nothing changes.
    """
    try:
        number = whole_number(seed, "The seed", 0, MAX_SEED)
    except ValueError:
        number = None
    if not live or seen is None or number is None:
        yield NOTHING
        return
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder:
        *_, (face, latents) = paint_live(model, Image.fromarray(seen), number, strength, likeness, quick=False)
        yield save_face(face, folder, number), gr.skip(), latents


@on_gpu
@torch.no_grad()
def paint_live(
    model: PSPModel, seen: Image.Image, seed: int, strength: float, likeness: float, quick: bool = True
) -> Iterator[tuple[Image.Image, np.ndarray | None]]:
    """A cleaned drawing -> the face, and its styles; with `quick`, first a blurred preview of it, and None."""
    ws = fill_in(model, model.encode(drawings_to_tensor([seen]), truncation_psi=likeness), seed, strength)
    if quick and hasattr(model.generator.synthesis, "preview"):
        yield paint_preview(model.generator, ws), None
    yield tensor_to_images(model.decode(ws))[0], latents_of(ws)


def paint_preview(generator: Generator, ws: Tensor) -> Image.Image:
    """The face `ws` [1, num_ws, w_dim] from a sixteenth of its pixels, enlarged."""
    side = generator.resolution
    (preview,) = tensor_to_images(generator.synthesis.preview(ws.to(generator.w_avg), side // 4, rough=True))
    return preview.resize((side, side), Image.Resampling.BICUBIC)

"""Faces while somebody draws: one after each stroke, and again when a setting changes."""

import tempfile
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import torch
from PIL import Image

from psp_hub.demo.faces import Problem, paint, save_face, save_input, whole_number
from psp_hub.demo.pad import read_drawing
from psp_hub.demo.space import on_gpu
from psp_hub.latents import MAX_SEED
from psp_hub.model import PSPModel
from psp_hub.preprocessing import drawings_to_tensor, prepare_drawing

# Updates of the face, of the drawing as the encoder gets it, and of the face's styles.
Update = tuple[Any, Any, Any]
NOTHING = (gr.skip(),) * 3


def follow_stroke(
    model: PSPModel, live: bool, pad: str | None, seed: float | None, strength: float, likeness: float
) -> Iterator[Update]:
    """The face of what is on the pad: first as a JPEG, which is there in a wink, then as the PNG that can be kept.

    Both have all pixels. A drawing with too little on it to be one is no error yet: nothing changes.

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
            face, latents = paint_live(model, seen, number, strength, likeness)
        except ValueError as error:
            raise Problem(str(error)) from error
        yield save_face(face, folder, number, ".jpg"), gr.skip(), latents
        yield save_face(face, folder, number), save_input(seen, folder), gr.skip()


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
        face, latents = paint_live(model, Image.fromarray(seen), number, strength, likeness)
        yield save_face(face, folder, number), gr.skip(), latents


@on_gpu
@torch.no_grad()
def paint_live(
    model: PSPModel, seen: Image.Image, seed: int, strength: float, likeness: float
) -> tuple[Image.Image, np.ndarray]:
    """A cleaned drawing -> the face, and its styles."""
    return paint(model, model.encode(drawings_to_tensor([seen]), truncation_psi=likeness), seed, strength)

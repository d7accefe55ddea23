"""From a person's picture and settings to faces: what every tab of the demo does when its button is pressed."""

import html
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from psp_hub.config import MAX_SEED
from psp_hub.demo.space import on_gpu
from psp_hub.images.png import save_png
from psp_hub.images.preprocessing import (
    drawings_to_tensor,
    labels_to_tensor,
    open_image,
    prepare_drawing,
    prepare_labels,
    tensor_to_images,
)
from psp_hub.model import PSPModel

MAX_VARIATIONS = 8


class Painted(NamedTuple):
    """What the page remembers of the face that it shows; arrays, which a page on ZeroGPU takes like any other."""

    ws: np.ndarray  # its styles, float32 [num_ws, w_dim]
    seen: np.ndarray  # its picture as the encoder gets it, uint8 [H, W] or [H, W, 3]
    settings: tuple[int, float, float]  # seed, strength, likeness

    def answers(self, seen: Image.Image, *settings: float) -> bool:
        """Whether a face made of `seen` with these settings would be this one."""
        return self.settings == settings and np.array_equal(self.seen, np.asarray(seen))


# Face (a file), its variations so far with captions, the picture as the encoder gets it (a file), what to remember.
Answer = tuple[str, list[tuple[str, str]], str, Painted]

# How each kind of picture is cleaned, and how the encoder takes it then.
INPUTS: dict[str, tuple[Callable[[Image.Image], Image.Image], Callable[[Image.Image], Tensor]]] = {
    "drawing": (prepare_drawing, lambda drawing: drawings_to_tensor([drawing])),
    "labels": (prepare_labels, labels_to_tensor),
}


class Problem(gr.Error):
    """A plain message for the person at the page, where earlier results stay as they are."""

    def __init__(self, message: str):
        # gradio shows messages as HTML, and ours may quote a file's name.
        super().__init__(html.escape(message, quote=False), print_exception=False)


def whole_number(value: float | None, name: str, low: int, high: int) -> int:
    """Check a number that a person typed.

    Raises:
        ValueError: no number, not a whole one, or out of range.
    """
    if value is None or not float(value).is_integer() or not low <= value <= high:
        got = "nothing" if value is None else f"{value:.15g}"
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {got}.")
    return int(value)


def fill_in(model: PSPModel, ws: Tensor, seed: int, strength: float) -> Tensor:
    """Styles [1, num_ws, w_dim] with what the input leaves open taken from `seed`."""
    return model.mix(ws, seed=seed, strength=strength)


@torch.no_grad()
def paint(model: PSPModel, ws: Tensor, seed: int, strength: float) -> tuple[Image.Image, np.ndarray]:
    """Paint the face `ws` with what the input leaves open taken from `seed`; returns it with its styles."""
    mixed = fill_in(model, ws, seed, strength)
    return tensor_to_images(model.decode(mixed))[0], latents_of(mixed)


def latents_of(ws: Tensor) -> np.ndarray:
    """Styles [1, num_ws, w_dim] of one face as the page keeps them."""
    return ws[0].float().cpu().numpy()


def save_face(face: Image.Image, folder: str, seed: int, suffix: str = ".png") -> str:
    """Write a face as a file that people download under its name; returns the path."""
    path = Path(folder, f"face-seed-{seed}{suffix}")
    if suffix == ".png":
        save_png(face, path)
    else:
        face.save(path, quality=90)
    return str(path)


def save_input(seen: Image.Image, folder: str) -> str:
    """Write a picture as the encoder gets it; returns the path."""
    path = Path(folder, "input.png")
    seen.save(path)
    return str(path)


def make_faces(
    model: PSPModel,
    picture: str | Image.Image,
    seed: float | None,
    variations: int,
    strength: float,
    likeness: float,
    progress: gr.Progress,
) -> Iterator[Answer]:
    """Yields the face with its variations so far, first with none.

    The face of seed s is painted with seed s, variation i with seed s + i. The files last until the next item is asked
    for: gradio copies them into its cache.

    Raises:
        Problem: the picture cannot be used, or a number is out of range.
    """
    # Files, because gradio encodes pictures anew each time they are yielded, and writes them over the equal ones of
    # others, who may be reading them. Files it copies in one step, and once.
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder:
        yield from paint_faces(model, picture, seed, variations, strength, likeness, folder, progress)


@on_gpu
def paint_faces(
    model: PSPModel,
    picture: str | Image.Image,
    seed: float | None,
    variations: int,
    strength: float,
    likeness: float,
    folder: str,
    progress: gr.Progress,
) -> Iterator[Answer]:
    """As `make_faces`, into a folder of the caller's."""
    prepare, to_tensor = INPUTS[model.config.input_kind]
    try:
        seed = whole_number(seed, "The seed", 0, MAX_SEED)
        variations = whole_number(variations, "The number of variations", 1, MAX_VARIATIONS)
        progress(0, desc="Reading the picture")
        seen = prepare(open_image(picture, keep_mode=True))
        with torch.no_grad():
            ws = model.encode(to_tensor(seen), truncation_psi=likeness)
        progress((0, variations + 1), desc="Painting the face", unit="faces")
        face, latents = paint(model, ws, seed, strength)
    except ValueError as error:
        raise Problem(str(error)) from error
    gallery: list[tuple[str, str]] = []
    file, shown = save_face(face, folder, seed), save_input(seen, folder)
    painted = Painted(latents, np.asarray(seen), (seed, strength, likeness))
    yield file, gallery, shown, painted
    for i in range(1, variations + 1):
        progress((i, variations + 1), desc=f"Painting variation {i} of {variations}", unit="faces")
        variation, _ = paint(model, ws, seed + i, strength)
        gallery.append((save_face(variation, folder, seed + i), f"seed {seed + i}"))
        yield file, gallery, shown, painted

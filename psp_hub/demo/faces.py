"""From a drawing or a map to faces: what a tab does when its button is pressed."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from psp_hub.demo.problems import problems
from psp_hub.demo.settings import Settings
from psp_hub.demo.space import on_gpu
from psp_hub.images.pictures import Source
from psp_hub.images.png import save_png
from psp_hub.images.preprocessing import prepare, tensor_to_images
from psp_hub.mixing import vary
from psp_hub.model import PSPModel
from psp_hub.tasks import mixed_groups


class Painted(NamedTuple):
    """What the page remembers of the face that it shows; arrays, which a page on ZeroGPU takes like any other."""

    ws: np.ndarray  # its styles, float32 [num_ws, w_dim]
    seen: np.ndarray  # its picture as the encoder gets it, uint8 [H, W] or [H, W, 3]
    settings: Settings

    def answers(self, seen: Image.Image, settings: Settings) -> bool:
        """Whether a face made of `seen` with these settings would be this one."""
        return self.settings.give_the_same_face(settings) and np.array_equal(self.seen, np.asarray(seen))


# Face (a file), its variations so far with captions, the picture as the encoder gets it (a file), what to remember.
Answer = tuple[str, list[tuple[str, str]], str, Painted]


def make_faces(model: PSPModel, picture: Source, settings: Settings, progress: gr.Progress) -> Iterator[Answer]:
    """Yields the face with its variations so far, first with none.

    The face of seed s is painted with seed s, variation i with seed s + i. The files last until the next item is asked
    for: gradio copies them into its cache.

    Args:
        progress: made by the handler; gradio knows from the context which event it is for.

    Raises:
        Problem: the picture cannot be used, or a number is out of range.
    """
    # Files, because gradio encodes pictures anew each time they are yielded, and writes them over the equal ones of
    # others, who may be reading them. Files it copies in one step, and once.
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder, problems():
        yield from paint_faces(model, picture, settings, folder, progress)


@on_gpu
@torch.no_grad()
def paint_faces(
    model: PSPModel, picture: Source, settings: Settings, folder: str, progress: gr.Progress
) -> Iterator[Answer]:
    """As `make_faces`, into a folder of the caller's, and with ValueErrors."""
    progress(0, desc="Reading the picture")
    seen, inputs = prepare(picture, model.config.input_kind)
    ws = model.encode(inputs, truncation_psi=settings.likeness)  # [1, num_ws, w_dim]
    groups, count = mixed_groups(model.config.task), settings.variations
    files: list[tuple[str, str]] = []
    for i in range(count + 1):
        text = f"Painting variation {i} of {count}" if i else "Painting the face"
        progress((i, count + 1), desc=text, unit="faces")
        mixed = vary(model.generator, ws, settings.seed + i, groups, settings.strength)
        path = face_path(folder, settings.seed + i)
        save_png(tensor_to_images(model.generator.synthesis(mixed))[0], path)
        files.append((path, f"seed {settings.seed + i}"))
        if i == 0:
            shown = save_input(seen, folder)
            painted = Painted(latents_of(mixed), np.asarray(seen), settings)
        yield files[0][0], files[1:], shown, painted


def latents_of(ws: Tensor) -> np.ndarray:
    """Styles [1, num_ws, w_dim] of one face as the page keeps them."""
    return ws[0].float().cpu().numpy()


def face_path(folder: str, seed: int, suffix: str = ".png") -> str:
    """The file of a face; people download it under its name."""
    return str(Path(folder, f"face-seed-{seed}{suffix}"))


def save_input(seen: Image.Image, folder: str) -> str:
    """Write a picture as the encoder gets it; returns the path."""
    path = Path(folder, "input.png")
    seen.save(path)
    return str(path)

"""From a crop of a photo to faces: encode, refine, paint, vary."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from psp_hub.alignment.cut_out import check_number
from psp_hub.demo.mix.recipes import Recipe
from psp_hub.demo.parts import Repeat
from psp_hub.demo.photo.crops import Crop, blend, in_photo
from psp_hub.demo.problems import Problem, problems
from psp_hub.demo.settings import Settings
from psp_hub.demo.space import on_gpu
from psp_hub.images.pictures import open_image
from psp_hub.images.png import save_png
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.latents_file import load_latents, save_latents
from psp_hub.model import PSPModel

ALL_GO_BACK = "All faces of a photo are shown in it: put them back in the photo, or choose one of them."
NOT_OF_PHOTO = (
    "All faces of the photo are edited as the first one is, but what you edit now is another face. "
    'Press "Edit this face" on the tab Photo, or choose one face there.'
)


@dataclass(frozen=True)
class Portrait:
    """What is remembered of a face, or of all those of a photo, so that it can be painted again.

    Args:
        task: of the model that it comes from.
        ws: [num_ws, w_dim], float32; None until the crop is encoded. An array, for ZeroGPU pickles it.
        crop: of the photo; None for a face that came from a file.
        others: styles of the crop's others, as `ws`; none until they are encoded.
        unedited: styles of all of them, before they were edited.
    """

    task: str
    ws: np.ndarray | None
    crop: Crop | None
    others: tuple[np.ndarray, ...] = ()
    unedited: tuple[np.ndarray, ...] = ()

    @property
    def faces(self) -> list[tuple[np.ndarray | None, Crop | None]]:
        """Styles and crop of each face that is painted."""
        crops = self.crop.others if self.crop else ()
        return [(self.ws, self.crop), *zip(self.others or [None] * len(crops), crops, strict=True)]


class Painting(NamedTuple):
    """Files that last until the next one is asked for, and the styles of the face; an array [num_ws, w_dim].

    `others` are those of the other faces in the photo.
    """

    before: str | None  # the photo as the network saw it
    face: str
    gallery: list[tuple[str, str]]
    latents: str
    ws: np.ndarray
    others: tuple[np.ndarray, ...] = ()


@on_gpu
@torch.no_grad()
def paint_portrait(
    model: PSPModel, portrait: Portrait, settings: Settings, folder: str, progress: gr.Progress
) -> Iterator[Painting | None]:
    """Encode the crop unless the face is there already, refine the answer if that is wished for, and paint it.

    All faces of a photo are done so one by one, with the same settings, and put back into it.

    Args:
        folder: for the files, which are for the caller to delete.

    Yields:
        None after each step of the refinement, and between faces: there it can be stopped. Then the face with its
        variations so far.

    Raises:
        ValueError: nothing to fill in, or everything; no face where one is to be put back; all faces, which are not.
    """
    faces, styles = portrait.faces, []
    if len(faces) > 1 and not settings.paste:
        raise ValueError(ALL_GO_BACK)
    for i, (known, crop) in enumerate(faces, start=1):
        if i > 1:
            yield None
        which = f"Face {i} of {len(faces)}: " if len(faces) > 1 else ""
        styles.append((yield from find_styles(model, known, crop, settings, progress, which)))
    count, files = settings.variations, []
    for i in range(count + 1):
        text = f"Painting variation {i} of {count}" if i else f"Painting {'all faces' if faces[1:] else 'the face'}"
        progress((i, count + 1), desc=text, unit="faces")
        seed = settings.seed + i - 1
        mixed = (model.mix(ws, seed=seed, strength=settings.strength) if i else ws for ws in styles)
        answers = (tensor_to_images(model.generator.synthesis(ws))[0] for ws in mixed)
        path = Path(folder, f"face-seed-{seed}.png" if i else "face.png")
        save_png(in_its_place(answers, portrait.crop, settings), path)
        files.append((str(path), f"seed {seed}"))
        if i == 0:
            before = save_photo(portrait, settings.paste, folder)
            latents = save_numbers(model, torch.cat(styles), folder)
            first, *others = (ws[0].float().cpu().numpy() for ws in styles)
        yield Painting(before, files[0][0], files[1:], latents, first, tuple(others))


def find_styles(
    model: PSPModel,
    known: np.ndarray | None,
    crop: Crop | None,
    settings: Settings,
    progress: gr.Progress,
    which: str,
) -> Generator[None, None, Tensor]:
    """Encode a crop unless its styles are known, and refine them if that is wished for; yields after each step.

    Args:
        known: [num_ws, w_dim].
        which: a word before what is said of the progress.

    Returns:
        [1, num_ws, w_dim].
    """
    if known is not None:
        ws = torch.from_numpy(known)[None].to(model.generator.w_avg)
    elif crop is not None:
        progress(0, desc=f"{which}Reading the photo")
        seen = crop.seen if crop.prepared is None else torch.from_numpy(crop.prepared)
        ws = model.encode(seen, truncation_psi=settings.likeness)
    else:
        raise ValueError("a portrait has styles, a crop, or both; got neither")
    if settings.steps and crop is not None:
        ws = yield from refine_in_steps(model, ws, crop, settings.steps, progress, which)
    return ws


def in_its_place(answers: Iterable[Image.Image], crop: Crop | None, settings: Settings) -> Image.Image:
    """The answer, alone or where it belongs: in the photo, as all of them do, or in the known part of the crop.

    Args:
        answers: one for each of `crop.all`; drawn one at a time, when it is its turn to be put back.
    """
    if settings.paste and crop is not None:
        return in_photo(answers, crop)
    (face,) = answers
    return blend(face, crop) if settings.keep and crop is not None and crop.missing is not None else face


def save_photo(portrait: Portrait, whole: bool, folder: str) -> str | None:
    """Write the photo, or the part of it that was cut out, as people see it beside its face; returns the path."""
    crop, path = portrait.crop, Path(folder, "photo.jpg")
    if crop is None:
        return None
    picture = open_image(crop.path).convert("RGB") if whole and crop.path else crop.shown
    picture.save(path, quality=95)
    return str(path)


def save_numbers(model: PSPModel, ws: Tensor, folder: str) -> str:
    """Write the styles [N, num_ws, w_dim] of a face, or of those of a photo, from left to right; returns the path."""
    path = Path(folder, "face.safetensors")
    generator = str(model.config.base_generator) if model.config.base_generator else None
    save_latents(path, ws, generator=generator, task=model.config.task, w_avg=model.generator.w_avg)
    return str(path)


def refine_in_steps(
    model: PSPModel, ws: Tensor, crop: Crop, steps: int, progress: gr.Progress, which: str = ""
) -> Generator[None, None, Tensor]:
    """Bring a face [1, num_ws, w_dim] closer to its photo; yields after each step, so that it can be stopped."""
    started = time.monotonic()
    progress((0, steps), desc=f"{which}Comparing with the photo", unit="steps")
    walk = stoppable(lambda tell: model.refine(crop.seen, ws, steps, progress=lambda step, losses: tell(step)))
    while True:
        try:
            step = next(walk)
        except StopIteration as end:
            return end.value
        left = (time.monotonic() - started) / step * (steps - step)
        progress((step, steps), desc=f"{which}Step {step} of {steps}, about {left:.0f} seconds left", unit="steps")
        yield


def stoppable(work: Callable[[Callable[[int], None]], Tensor]) -> Generator[int, None, Tensor]:
    """Do long work in a thread; closing this generator stops it.

    Args:
        work: gets a function to be called with the number of each step.

    Yields:
        These numbers.

    Returns:
        What `work` returns.
    """
    numbers: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    stop = threading.Event()

    def tell(step: int) -> None:
        if stop.is_set():
            raise CancelledError
        numbers.put(step)

    with ThreadPoolExecutor(max_workers=1) as pool:
        answer = pool.submit(work, tell)
        answer.add_done_callback(lambda _: numbers.put(None))
        try:
            while (step := numbers.get()) is not None:
                yield step
        finally:
            stop.set()
        return answer.result()


def load_portrait(model: PSPModel, path: str, crop: Crop | None) -> tuple[Portrait, str]:
    """A face from a file of latents, and what should be said about it; or all of them, for all of a photo.

    Args:
        crop: what it is compared with.

    Raises:
        Problem: not such a file, or one for another generator, or not as many faces as are wanted.
    """
    with problems():
        latents = load_latents(path, model.generator)
        if crop is not None and crop.others:
            check_number(len(latents.ws), crop.all)
            first, *others = latents.ws.numpy()
            return Portrait(model.config.task, first, crop, tuple(others)), ""
    more = len(latents.ws) - 1
    note = f"There are {more + 1} faces in this file: the first one is shown." if more else ""
    return Portrait(model.config.task, latents.ws[0].numpy(), crop), note


def edit_alike(portrait: Portrait, recipe: Recipe, repeat: Repeat) -> Portrait:
    """All faces of a photo, edited as the first one was: from what they were when that began, not once more.

    Raises:
        Problem: the recipe is that of another face.
    """
    now = () if portrait.ws is None else (portrait.ws, *portrait.others)
    for faces in (now, portrait.unedited):
        if faces and isinstance(recipe.start, np.ndarray) and np.array_equal(recipe.start, faces[0]):
            first, *others = repeat(recipe, faces)
            return replace(portrait, ws=first, others=tuple(others), unedited=faces)
    raise Problem(NOT_OF_PHOTO)

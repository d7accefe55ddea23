"""From a crop of a photo to faces: encode, refine, paint, vary."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np
import torch
from torch import Tensor

from psp_hub.demo.photo.crops import Crop, blend, put_back
from psp_hub.demo.problems import problems
from psp_hub.demo.settings import Settings
from psp_hub.demo.space import on_gpu
from psp_hub.images.pictures import open_image
from psp_hub.images.png import save_png
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.latents_file import load_latents, save_latents
from psp_hub.model import PSPModel


@dataclass(frozen=True)
class Portrait:
    """What is remembered of a face, so that it can be painted again.

    Args:
        task: of the model that it comes from.
        ws: [num_ws, w_dim], float32; None until the crop is encoded. An array, for ZeroGPU pickles it.
        crop: of the photo; None for a face that came from a file.
    """

    task: str
    ws: np.ndarray | None
    crop: Crop | None


class Painting(NamedTuple):
    """Files that last until the next one is asked for, and the styles of the face; an array [num_ws, w_dim]."""

    before: str | None  # the photo as the network saw it
    face: str
    gallery: list[tuple[str, str]]
    latents: str
    ws: np.ndarray


@on_gpu
@torch.no_grad()
def paint_portrait(
    model: PSPModel, portrait: Portrait, settings: Settings, folder: str, progress: gr.Progress
) -> Iterator[Painting | None]:
    """Encode the crop unless the face is there already, refine the answer if that is wished for, and paint it.

    Args:
        folder: for the files, which are for the caller to delete.

    Yields:
        None after each step of the refinement: there it can be stopped. Then the face with its variations so far.

    Raises:
        ValueError: nothing to fill in, or everything; no face where one is to be put back.
    """
    crop = portrait.crop
    if portrait.ws is not None:
        ws = torch.from_numpy(portrait.ws)[None].to(model.generator.w_avg)
    elif crop is not None:
        progress(0, desc="Reading the photo")
        seen = crop.seen if crop.prepared is None else torch.from_numpy(crop.prepared)
        ws = model.encode(seen, truncation_psi=settings.likeness)
    else:
        raise ValueError("a portrait has styles, a crop, or both; got neither")
    if settings.steps and crop is not None:
        ws = yield from refine_in_steps(model, ws, crop, settings.steps, progress)
    count, files = settings.variations, []
    for i in range(count + 1):
        text = f"Painting variation {i} of {count}" if i else "Painting the face"
        progress((i, count + 1), desc=text, unit="faces")
        seed = settings.seed + i - 1
        mixed = model.mix(ws, seed=seed, strength=settings.strength) if i else ws
        face = tensor_to_images(model.generator.synthesis(mixed))[0]
        if settings.paste and crop is not None:
            face = put_back(face, crop)
        elif settings.keep and crop is not None and crop.missing is not None:
            face = blend(face, crop)
        path = Path(folder, f"face-seed-{seed}.png" if i else "face.png")
        save_png(face, path)
        files.append((str(path), f"seed {seed}"))
        if i == 0:
            before, latents = save_photo(portrait, settings.paste, folder), save_numbers(model, ws, folder)
        yield Painting(before, files[0][0], files[1:], latents, ws[0].float().cpu().numpy())


def save_photo(portrait: Portrait, whole: bool, folder: str) -> str | None:
    """Write the photo, or the part of it that was cut out, as people see it beside its face; returns the path."""
    crop, path = portrait.crop, Path(folder, "photo.jpg")
    if crop is None:
        return None
    picture = open_image(crop.path).convert("RGB") if whole and crop.path else crop.shown
    picture.save(path, quality=95)
    return str(path)


def save_numbers(model: PSPModel, ws: Tensor, folder: str) -> str:
    """Write the styles [1, num_ws, w_dim] of a face; returns the path."""
    path = Path(folder, "face.safetensors")
    generator = str(model.config.base_generator) if model.config.base_generator else None
    save_latents(path, ws, generator=generator, task=model.config.task, w_avg=model.generator.w_avg)
    return str(path)


def refine_in_steps(
    model: PSPModel, ws: Tensor, crop: Crop, steps: int, progress: gr.Progress
) -> Generator[None, None, Tensor]:
    """Bring a face [1, num_ws, w_dim] closer to its photo; yields after each step, so that it can be stopped."""
    started = time.monotonic()
    progress((0, steps), desc="Comparing with the photo", unit="steps")
    walk = stoppable(lambda tell: model.refine(crop.seen, ws, steps, progress=lambda step, losses: tell(step)))
    while True:
        try:
            step = next(walk)
        except StopIteration as end:
            return end.value
        left = (time.monotonic() - started) / step * (steps - step)
        progress((step, steps), desc=f"Step {step} of {steps}, about {left:.0f} seconds left", unit="steps")
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
    """A face from a file of latents, and what should be said about it.

    Args:
        crop: what it is compared with.

    Raises:
        Problem: not such a file, or one for another generator.
    """
    with problems():
        latents = load_latents(path, model.generator)
    more = len(latents.ws) - 1
    note = f"There are {more + 1} faces in this file: the first one is shown." if more else ""
    return Portrait(model.config.task, latents.ws[0].numpy(), crop), note

"""From a crop of a photo to faces: encode, refine, paint, vary. What the buttons of the photo tab do."""

import queue
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np
import torch
from torch import Tensor

from psp_hub.config import MAX_SEED
from psp_hub.demo.faces import MAX_VARIATIONS, Problem, whole_number
from psp_hub.demo.photo.crops import Crop, blend
from psp_hub.demo.space import on_gpu
from psp_hub.images.png import save_png
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.latents_file import load_latents, save_latents
from psp_hub.model import PSPModel

MAX_STEPS = 100


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


@dataclass(frozen=True)
class Wishes:
    """What a person has set; see the parameters of the endpoints in `psp_hub.demo.photo.tab`."""

    seed: float | None = 1
    variations: float | None = 0
    strength: float = 0.5
    likeness: float = 1.0
    steps: float | None = 0
    keep: bool = True

    def checked(self) -> "Wishes":
        """With whole numbers.

        Raises:
            ValueError: a number out of range.
        """
        return replace(
            self,
            seed=whole_number(self.seed, "The seed", 0, MAX_SEED),
            variations=whole_number(self.variations, "The number of variations", 0, MAX_VARIATIONS),
            steps=whole_number(self.steps, "The number of steps", 0, MAX_STEPS),
        )


class Painting(NamedTuple):
    """Files that last until the next one is asked for, and the face itself."""

    before: str | None  # the photo as the network saw it
    face: str
    gallery: list[tuple[str, str]]
    latents: str
    portrait: Portrait


def make_portrait(model: PSPModel, crop: Crop, wishes: Wishes, progress: gr.Progress) -> Iterator[Painting | None]:
    """Encode a crop, refine the answer if that is wished for, and paint it.

    Yields:
        None after each step of the refinement: there it can be stopped. Then the face with its variations so far.

    Raises:
        Problem: a number out of range, nothing to fill in, or everything.
    """
    yield from paint_portrait(model, Portrait(model.config.task, None, crop), wishes, progress)


def paint_portrait(
    model: PSPModel, portrait: Portrait, wishes: Wishes, progress: gr.Progress
) -> Iterator[Painting | None]:
    """As `make_portrait`, from a face that is there."""
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder, problems():
        wishes, before = wishes.checked(), None
        if portrait.crop is not None:
            before = str(Path(folder, "photo.jpg"))
            portrait.crop.shown.save(before, quality=95)
        for painted in work(model, portrait, wishes, folder, progress):
            if painted is None:
                yield None
                continue
            face, gallery, ws = painted
            yield Painting(before, face, gallery, str(latents_path(folder)), replace(portrait, ws=ws))


def latents_path(folder: str) -> Path:
    """Of the file that keeps the styles of a face."""
    return Path(folder, "face.safetensors")


@on_gpu
def work(
    model: PSPModel, portrait: Portrait, wishes: Wishes, folder: str, progress: gr.Progress
) -> Iterator[tuple[str, list[tuple[str, str]], np.ndarray] | None]:
    """What needs the model: files of the face, its styles and its variations in `folder`; and the styles."""
    crop, num = portrait.crop, wishes.variations
    if portrait.ws is None:
        progress(0, desc="Reading the photo")
        with torch.no_grad():
            ws = model.encode(crop.seen, truncation_psi=wishes.likeness)
    else:
        ws = torch.from_numpy(portrait.ws)[None].to(model.generator.w_avg)
    if wishes.steps:
        ws = yield from refine(model, ws, crop, wishes.steps, progress)
    progress((0, num + 1), desc="Painting the face", unit="faces")
    face, gallery = paint(model, ws, portrait, wishes.keep, Path(folder, "face.png")), []
    styles = ws[0].float().cpu().numpy()
    generator = str(model.config.base_generator) if model.config.base_generator else None
    save_latents(latents_path(folder), ws, generator=generator, task=portrait.task, w_avg=model.generator.w_avg)
    yield face, gallery, styles
    for i in range(1, num + 1):
        progress((i, num + 1), desc=f"Painting variation {i} of {num}", unit="faces")
        seed = wishes.seed + i - 1
        mixed = model.mix(ws, seed=seed, strength=wishes.strength)
        path = paint(model, mixed, portrait, wishes.keep, Path(folder, f"face-seed-{seed}.png"))
        gallery = [*gallery, (path, f"seed {seed}")]
        yield face, gallery, styles


@torch.no_grad()
def paint(model: PSPModel, ws: Tensor, portrait: Portrait, keep: bool, path: Path) -> str:
    """Paint styles [1, num_ws, w_dim] to a file; with `keep`, around what was filled in the photo stays as it is."""
    image = tensor_to_images(model.decode(ws))[0]
    if keep and portrait.crop is not None and portrait.crop.missing is not None:
        image = blend(image, portrait.crop)
    save_png(image, path)
    return str(path)


def refine(
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


@contextmanager
def problems() -> Iterator[None]:
    """What people did wrong becomes a message on the page."""
    try:
        yield
    except ValueError as error:
        raise Problem(str(error)) from error

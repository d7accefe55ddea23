"""What the events of the photo tab call: a photo comes in, something else is chosen, a button is pressed."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import numpy as np

from psp_hub.alignment.cut_out import Which
from psp_hub.demo.mix.recipes import Recipe
from psp_hub.demo.parts import PAD_SIDE, Repeat
from psp_hub.demo.photo.comparison import compared
from psp_hub.demo.photo.crops import Crop, add_painted, read_crop, ready, side_by_side
from psp_hub.demo.photo.portraits import Portrait, edit_alike, load_portrait, paint_portrait
from psp_hub.demo.problems import Problem, problems
from psp_hub.demo.settings import Settings
from psp_hub.model import PSPModel
from psp_hub.tasks import get_task

TIP = "Move the line to compare. Your photo stays on the computer that runs this page."
NO_FACE = "There is no face yet. Make one first."
ALL_FACES = ("All faces", "all")
ALL = "All {count} faces go back into the photo; everything else in it stays as it is."
ALL_DONE = "All {count} faces are back in the photo; everything else in it is as it was."
ALL_GAPS = "What is transparent is filled in. To paint over a part of a face, choose that one."


@dataclass(frozen=True)
class Mode:
    """One thing to do with a photo; its texts."""

    name: str
    hint: str
    button: str
    examples: str


# By task, in the order of the choice.
MODES = {
    "inversion": Mode(
        "Reconstruct",
        "Upload a photo of a face, large and from the front. It is painted anew, as well as the painter "
        "can; then you can change it in *Mix & edit*.",
        "Rebuild the face",
        "Or click an example",
    ),
    "super-resolution": Mode(
        "Upscale",
        "A tiny or blurred picture of a face becomes a large, sharp one. The details are made up: they fit your "
        "picture, but so do others.",
        "Make it sharp",
        "Or click an example (16 to 64 pixels wide)",
    ),
    "inpainting": Mode(
        "Fill in",
        "Upload a photo of a face, paint over what is missing or should go, and it is filled in.",
        "Fill in",
        "Or click an example",
    ),
    "frontalization": Mode(
        "Turn to the front",
        "A face that looks to the side is painted as it looks straight ahead. What cannot be seen is made up.",
        "Turn to the front",
        "Or click an example",
    ),
}
WHOLE_FACES = ("inversion", "frontalization")  # tasks whose photos show the features, and the colours
MISSING = """**There is no model for this yet.** Start the page with one: `python app.py --model NAME`, where NAME is a
folder that `training/train.py --task {task}` has saved, or `owner/name` on the Hugging Face Hub."""


def with_painting(crop: Crop, pad: dict[str, Any] | None) -> Crop:
    """The crop without what is painted over.

    Raises:
        Problem: nothing is missing, or everything.
    """
    layers = [layer for layer in (pad or {}).get("layers") or [] if layer is not None]
    missing = add_painted(crop.missing, layers, crop.image.width)
    if missing is None:
        raise Problem("Nothing is painted over yet: paint over the part that is to be filled in.")
    return ready(replace(crop, missing=missing), "inpainting")


def first_settings(
    task: str, keep: bool, paste: bool, seed: float | None, variations: int, strength: float, likeness: float
) -> Settings:
    """Of a face that is made of its photo.

    Raises:
        Problem: a number out of range.
    """
    variations = 0 if task in WHOLE_FACES else variations  # a photo leaves little open: they come when asked for
    return Settings.checked(seed, variations, strength, likeness, get_task(task).refinement_steps, keep, paste)


def can_take_all(crop: Crop, task: str) -> bool:
    """Whether all faces of the photo can be answered: they go back into it, and the pad shows only one of them."""
    return crop.faces > 1 and get_task(task).shown is not None and (task != "inpainting" or crop.missing is not None)


def said_of(crop: Crop | None, task: str, done: bool = False) -> str:
    """What the page says when a photo has come, or when it is `done`."""
    if crop is None or not crop.others:
        return (crop and crop.note) or TIP
    words = [(ALL_DONE if done else ALL).format(count=len(crop.all)), crop.note]
    return " ".join(filter(None, [*words, "" if done or task != "inpainting" else ALL_GAPS]))


class Handlers:
    """What the events of the page call; `models` by task.

    `numbers` are what the page's settings hold: seed, variations, strength, likeness.
    """

    def __init__(self, models: Mapping[str, PSPModel], files: Mapping[str, list[str]]):
        self.models, self.files = models, files

    def choose(self, task: str) -> list[Any]:
        """Another thing to do: [hint, missing, rest, button, preview, pad, keep, paste, closer, *examples]."""
        has_model, paints, is_kept = task in self.models, task == "inpainting", get_task(task).shown is not None
        return [
            MODES[task].hint,
            gr.update(value=MISSING.format(task=task), visible=not has_model),
            gr.update(visible=has_model),
            MODES[task].button,
            gr.update(visible=False),
            gr.update(visible=False),
            gr.update(visible=paints),
            gr.update(visible=True) if is_kept else gr.update(visible=False, value=False),
            gr.update(visible=is_kept),
            *(gr.update(visible=name == task and bool(self.files[name])) for name in self.models),
        ]

    def read_photo(self, path: str | None, task: str, face: Which = None) -> list[Any]:
        """A photo has come, or another face of it is chosen: [path, crop, preview, pad, status, face]."""
        if path is None or task not in self.models:
            return [path, *self.clear()[1:]]
        crop = read_crop(path, task, face=face)
        paints = task == "inpainting" and not crop.others
        choices = [*range(1, crop.faces + 1), *([ALL_FACES] if can_take_all(crop, task) else [])]
        return [
            path,
            crop,
            gr.update(value=None if paints else side_by_side(crop.all, PAD_SIDE), visible=not paints),
            gr.update(value=crop.painted if paints else None, visible=paints),
            said_of(crop, task),
            gr.update(choices=choices, value=face, visible=crop.faces > 1),
        ]

    def reread_photo(self, path: str | None, task: str) -> list[Any]:
        """As `read_photo`, when something else is to be done: what does not suit is remembered, but not shown."""
        try:
            return self.read_photo(path, task)
        except Problem as problem:
            return [path, *self.clear()[1:-2], problem.message, gr.update(visible=False)]

    def clear(self) -> list[Any]:
        """The photo is taken away; the face stays."""
        gone = gr.update(value=None, visible=False)
        return [None, None, gone, gone, TIP, gone]

    def paint(self, portrait: Portrait, settings: Settings) -> Iterator[Any]:
        """[face, gallery, portrait, file of its numbers, status]; what has not changed is not sent again."""
        if settings.paste and portrait.crop is None:
            raise Problem("This face came from a file: upload its photo first, then load it again.")
        model, progress = self.models[portrait.task], gr.Progress()
        with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder, problems():
            for painting in paint_portrait(model, portrait, settings, folder, progress):
                if painting is None:
                    yield gr.skip()
                elif not painting.gallery:
                    face = compared(painting.before or painting.face, painting.face)
                    there = replace(portrait, ws=painting.ws, others=painting.others)
                    said = said_of(portrait.crop, portrait.task, done=True)
                    yield face, gr.update(value=[], visible=False), there, painting.latents, said
                else:
                    yield gr.skip(), gr.update(value=painting.gallery, visible=True), gr.skip(), gr.skip(), gr.skip()

    def make(
        self, task: str, crop: Crop | None, pad: dict[str, Any] | None, keep: bool, paste: bool, *numbers: Any
    ) -> Iterator[Any]:
        """The face of a photo, or all; for inpainting without what is painted over on the pad, where one is shown."""
        if crop is None:
            raise Problem("There is no photo yet. Upload one, or click an example.")
        if task == "inpainting" and not crop.others:
            crop = with_painting(crop, pad)
        settings = first_settings(task, keep, paste, *numbers)
        yield from self.paint(Portrait(task, None, crop), settings)

    def make_from_example(self, task: str, crop: Crop, keep: bool, paste: bool, *numbers: Any) -> Iterator[Any]:
        """Without the pad: what it shows cannot be asked for as soon as it is there."""
        settings = first_settings(task, keep, paste, *numbers)
        yield from self.paint(Portrait(task, None, crop), settings)

    def refine(
        self, portrait: Portrait | None, crop: Crop | None, keep: bool, paste: bool, steps: int
    ) -> Iterator[Any]:
        """Also for a face from a file, if there is a photo on the tab."""
        if portrait is None:
            raise Problem(NO_FACE)
        if portrait.crop is None:
            if crop is None:
                raise Problem("This face came from a file: upload its photo first.")
            if crop.others:
                raise Problem("This face came from a file: choose which face of the photo it is.")
            portrait = replace(portrait, crop=crop)
        yield from self.paint(portrait, Settings.checked(steps=steps, keep=keep, paste=paste))

    def vary(self, portrait: Portrait | None, keep: bool, paste: bool, *numbers: Any) -> Iterator[Any]:
        """New variations of the face that is there; how much it is like the photo has been decided."""
        if portrait is None:
            raise Problem(NO_FACE)
        seed, variations, strength, _ = numbers
        yield from self.paint(portrait, Settings.checked(seed, variations, strength, keep=keep, paste=paste))

    def repaint(self, portrait: Portrait | None, *settings: Any) -> Iterator[Any]:
        """With the rest of the photo as it is, or as it was painted."""
        if portrait is None or portrait.crop is None or portrait.crop.missing is None:
            yield gr.skip()
        else:
            yield from self.vary(portrait, *settings)

    def show(self, portrait: Portrait | None, keep: bool, paste: bool) -> Iterator[Any]:
        """The face that is there, alone in its square, or in its photo."""
        if portrait is None:
            yield gr.skip()
        else:
            yield from self.paint(portrait, Settings(keep=keep, paste=paste))

    def take_back(
        self,
        portrait: Portrait | None,
        ws: np.ndarray | None,
        recipe: Recipe | None = None,
        repeat: Repeat | None = None,
    ) -> list[Any]:
        """A face comes back from where it was edited, to go into its photo: [portrait, paste, tabs].

        Args:
            ws: its styles, [num_ws, w_dim]; None if nothing was edited yet.
            recipe: how it was edited. If all faces of the photo were made, all are edited so.
            repeat: does that.
        """
        if portrait is None or portrait.crop is None or portrait.crop.path is None:
            raise Problem("There is no photo to put this face into: make a face of one on the tab Photo first.")
        if ws is not None and recipe is not None and repeat is not None and portrait.others:
            portrait = edit_alike(portrait, recipe, repeat)
        elif ws is not None:
            portrait = replace(portrait, ws=ws)
        return [portrait, True, gr.Tabs(selected="photo")]

    def load(self, path: str, task: str, crop: Crop | None, keep: bool, paste: bool) -> Iterator[Any]:
        """A face from a file, beside the photo on the tab."""
        model = self.models.get(task) or next(iter(self.models.values()))
        portrait, note = load_portrait(model, path, crop)
        if note:
            gr.Info(note)
        yield from self.paint(portrait, Settings(keep=keep, paste=paste))

"""What programs can ask of the photo tab: endpoints with named parameters, one for each task."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gradio as gr

from psp_hub.alignment.cut_out import Which
from psp_hub.alignment.faces import MAX_FACES
from psp_hub.demo.parts import PICTURE, WORK, add_file
from psp_hub.demo.photo.crops import Crop, read_crop
from psp_hub.demo.photo.portraits import Portrait, paint_portrait
from psp_hub.demo.problems import Problem, problems
from psp_hub.demo.settings import MAX_STEPS, MAX_VARIATIONS, Settings, whole_number
from psp_hub.model import PSPModel
from psp_hub.tasks import get_task


def given(photo: str | None) -> str:
    """The file of a photo.

    Raises:
        Problem: no file.
    """
    if photo is None:
        raise Problem("There is no photo yet. Upload one, or click an example.")
    return photo


def chosen(face: float | str | None) -> Which:
    """Which face a program asks for: its number; None for the largest, and "all".

    Raises:
        Problem: another word, not a whole number, or out of range.
    """
    if face == "all":
        return "all"
    if face is not None and not isinstance(face, int | float):
        raise Problem(f'The face is {face!r:.40}, expected its number in the photo, 0 for the largest, or "all".')
    with problems():
        return whole_number(face, "The number of the face in the photo", 0, MAX_FACES) or None


class Endpoints:
    """What makes faces of files; a method whose task has no model cannot be called."""

    def __init__(self, models: Mapping[str, PSPModel]):
        self.models = models

    def by_task(self) -> dict[str, Callable[..., Iterator[Any]]]:
        """The method that does a task."""
        return {
            "inversion": self.reconstruct,
            "super-resolution": self.upscale,
            "inpainting": self.fill_in,
            "frontalization": self.turn_to_front,
        }

    def paint(self, task: str, crop: Crop, settings: Settings) -> Iterator[Any]:
        """[face, gallery, crop, file of its numbers]"""
        portrait, progress = Portrait(task, None, crop), gr.Progress()
        with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder, problems():
            for painting in paint_portrait(self.models[task], portrait, settings, folder, progress):
                if painting is None:
                    yield gr.skip()
                else:
                    yield painting.face, painting.gallery, painting.before, painting.latents

    def reconstruct(
        self, photo: str | None, seed: float | None, variations: int, strength: float, likeness: float, steps: int,
        face: float | str, paste_back: bool,
    ) -> Iterator[Any]:  # fmt: skip
        """Paint the face of a photo anew.

        Args:
            photo: picture file with a face. It need not be cut out or upright.
            seed: whole number that decides what the variations change.
            variations: how many faces with other colours, with this seed and the next ones, 0 to 8.
            strength: how much they change, 0 (nothing) to 1.
            likeness: 0.3 (nearly the average face) to 1 (the photo).
            steps: of refinement, 0 (none) to 100. Each brings the face closer to the photo, and takes a while.
            face: of several in the photo, its number from the left; 0 is the largest, and "all", with paste_back, are
                all of them.
            paste_back: whether the face comes back in its photo; otherwise it fills the picture.

        Returns:
            The face, its variations, the part of the photo that was used, and the face's numbers (safetensors).
        """
        settings = Settings.checked(seed, variations, strength, likeness, steps, paste=paste_back)
        yield from self.paint("inversion", read_crop(given(photo), "inversion", face=chosen(face)), settings)

    def upscale(
        self, photo: str | None, seed: float | None, variations: int, strength: float, likeness: float, steps: int,
        face: float | str, paste_back: bool,
    ) -> Iterator[Any]:  # fmt: skip
        """Make a large, sharp picture of a tiny or blurred one of a face. Its details are made up.

        Args:
            photo: picture file with a face; a square picture of at most 128 pixels is used as it is.
            seed: whole number that decides what the variations change.
            variations: how many other answers, with this seed and the next ones, 0 to 8.
            strength: how much they change, 0 (nothing) to 1.
            likeness: 0.3 (nearly the average face) to 1 (the picture).
            steps: of refinement, 0 (none) to 100. Each brings the answer, made small, closer to the picture.
            face: of several in the photo, its number from the left; 0 is the largest, and "all", with paste_back, are
                all of them.
            paste_back: whether the face comes back in its photo; otherwise it fills the picture.

        Returns:
            The face, its variations, the part of the picture that was used, and the face's numbers (safetensors).
        """
        settings = Settings.checked(seed, variations, strength, likeness, steps, paste=paste_back)
        crop = read_crop(given(photo), "super-resolution", face=chosen(face))
        yield from self.paint("super-resolution", crop, settings)

    def fill_in(
        self,
        photo: str | None,
        mask: str | None,
        keep: bool,
        seed: float | None,
        variations: int,
        strength: float,
        likeness: float,
        steps: int,
        face: float | str,
        paste_back: bool,
    ) -> Iterator[Any]:
        """Fill in a part of the photo of a face.

        Args:
            photo: picture file with a face. Without a mask, what is transparent is filled in.
            mask: picture file of the same proportions, white where the photo is to be filled in, or with strokes of
                any colour on a transparent ground; may be left out.
            keep: whether the rest of the photo stays as it is; otherwise all of the face is painted.
            seed: whole number that decides what the variations change.
            variations: how many other answers, with this seed and the next ones, 0 to 8.
            strength: how much they change, 0 (nothing) to 1.
            likeness: 0.3 (nearly the average face) to 1 (the photo).
            steps: of refinement, 0 (none) to 100. Each brings the face closer to what the photo shows.
            face: of several in the photo, its number from the left; 0 is the largest, and "all", with paste_back, are
                all of them.
            paste_back: whether the face comes back in its photo; otherwise it fills the picture.

        Returns:
            The face, its variations, the part of the photo that was used, and the face's numbers (safetensors).
        """
        crop = read_crop(given(photo), "inpainting", mask, chosen(face))
        if crop.missing is None:
            raise Problem("There is nothing to fill in: give a mask, or make a part of the photo transparent.")
        settings = Settings.checked(seed, variations, strength, likeness, steps, keep, paste_back)
        yield from self.paint("inpainting", crop, settings)

    def turn_to_front(
        self,
        photo: str | None,
        seed: float | None,
        variations: int,
        strength: float,
        likeness: float,
        face: float | str,
    ) -> Iterator[Any]:
        """Paint the face of a photo as it looks straight ahead.

        Args:
            photo: picture file with a face, turned to the left or to the right.
            seed: whole number that decides what the variations change.
            variations: how many more of it in other colours, with this seed and the next ones, 0 to 8.
            strength: how much they change, 0 (nothing) to 1.
            likeness: 0.3 (nearly the average face) to 1 (the photo).
            face: of several in the photo, its number from the left; 0 is the largest.

        Returns:
            The face, its variations, the part of the photo that was used, and the face's numbers (safetensors).
        """
        if face == "all":
            raise Problem("Faces that are turned do not go back into the photo: give the number of one.")
        crop = read_crop(given(photo), "frontalization", face=chosen(face))
        yield from self.paint("frontalization", crop, Settings.checked(seed, variations, strength, likeness))


def add_endpoints(models: Mapping[str, PSPModel]) -> None:
    """Name an endpoint for each task that there is a model for; nothing of them is seen on the page."""
    endpoints = Endpoints(models).by_task()
    with gr.Row(visible=False):
        photo, mask, button = add_file(label="Photo"), add_file(label="Mask"), gr.Button()
        keep = gr.Checkbox(True, label="Keep")
        seed = gr.Number(1, label="Seed")
        variations = gr.Slider(0, MAX_VARIATIONS, 0, step=1, label="Number of variations")
        strength = gr.Slider(0, 1, 0.5, label="Strength of variation")
        likeness = gr.Slider(0.3, 1, 1, label="Likeness")
        sliders = {  # by task, for what it starts with is what programs get that leave the parameter out
            task: gr.Slider(0, MAX_STEPS, get_task(task).refinement_steps, step=1, label="Steps of refinement")
            for task in models
        }
        faces = [*range(MAX_FACES + 1), "all"]  # what else is sent, `chosen` refuses
        which = gr.Dropdown(faces, value=0, allow_custom_value=True, label="Which face")
        paste = gr.Checkbox(False, label="Back in the photo")
        face, crop = gr.Image(label="Face", **PICTURE), gr.Image(label="What the network saw", **PICTURE)
        gallery, latents = gr.Gallery(label="Variations", **PICTURE), gr.File(label="Numbers of the face")
    outputs = [face, gallery, crop, latents]
    for task, steps in sliders.items():
        settings = [seed, variations, strength, likeness, steps, which, paste]
        if (
            get_task(task).shown is None
        ):  # nothing to compare with, and no place in the photo for a face that is turned
            settings = [seed, variations, strength, likeness, which]
        inputs = [photo, mask, keep, *settings] if task == "inpainting" else [photo, *settings]
        button.click(endpoints[task], inputs, outputs, api_name=endpoints[task].__name__, **WORK)

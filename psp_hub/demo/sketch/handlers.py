"""What the events of the sketch tab call: the pad is read, an uploaded file is shown, a button is pressed."""

import base64
import io
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from psp_hub.demo.faces import Answer, make_faces
from psp_hub.demo.problems import Problem, problems
from psp_hub.demo.settings import Settings
from psp_hub.images.pictures import open_image
from psp_hub.model import PSPModel

PREFIX = "data:image/png;base64,"
MAX_CHARACTERS = 2_000_000  # of a drawing; the fullest ones have a tenth of that
PREVIEW_SIDE = 1024


def read_pad(value: str | None) -> io.BytesIO | None:
    """The value of a pad -> its PNG, black on white; None if nothing is drawn.

    Raises:
        Problem: not what a pad sends.
    """
    if not value:
        return None
    with problems():
        if not value.startswith(PREFIX) or not len(PREFIX) < len(value) <= MAX_CHARACTERS:
            raise ValueError("This is not a drawing of the pad. Reload the page and draw again.")
        return io.BytesIO(base64.b64decode(value[len(PREFIX) :], validate=True))


def show_upload(path: str | None) -> dict[str, Any]:
    """Check an uploaded file at once, and show it: as PNG, since no browser shows TIFF.

    Raises:
        Problem: not a picture that can be used.
    """
    if path is None:
        return gr.update(value=None, visible=False)
    with problems():
        image = open_image(path)
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return gr.update(value=image, visible=True)


def face_makers(model: PSPModel) -> tuple[Callable[..., Iterator[Answer]], ...]:
    """What makes faces: of a drawing's file, and of what is on the pad."""

    def draw_to_face(
        drawing: str | None, seed: float | None, variations: int, strength: float, likeness: float
    ) -> Iterator[Answer]:
        """Turn a drawing of a face into a photo.

        Args:
            drawing: picture file of a face seen from the front: dark lines on light paper, or the other way round.
            seed: whole number that decides what the drawing leaves open, such as colours.
            variations: how many more faces, with the next seeds, 0 to 8.
            strength: how much the seed changes, 0 (nothing) to 1.
            likeness: 0.3 (nearly the average face) to 1 (the drawing).

        Returns:
            The face, its variations, and the drawing as the network gets it.
        """
        if drawing is None:
            raise Problem("There is no picture yet. Upload one, or click an example.")
        settings = Settings.checked(seed, variations, strength, likeness)
        yield from make_faces(model, drawing, settings, gr.Progress())

    def draw_from_pad(pad: str | None, uploaded: str | None, *numbers: Any) -> Iterator[Answer]:
        drawing = read_pad(pad) or uploaded
        if drawing is None:
            raise Problem("There is no drawing yet. Draw a face first, or click an example.")
        yield from make_faces(model, drawing, Settings.checked(*numbers), gr.Progress())

    return draw_to_face, draw_from_pad

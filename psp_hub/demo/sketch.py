"""The tab on which a drawing becomes a face."""

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from PIL import Image

from psp_hub.demo.faces import Answer, Problem, make_faces
from psp_hub.demo.parts import (
    HIDDEN,
    PAD_SIDE,
    PICTURE,
    QUICK,
    Results,
    add_examples,
    add_results,
    add_settings,
    example_files,
    show_result,
    take_brush,
)
from psp_hub.model import PSPModel
from psp_hub.preprocessing import open_image

TITLE = "Sketch"
PREVIEW_SIDE = 1024
TIP = "From the front, large, in the middle: hair, eyes, nose and mouth."
SEED_HINT = "A drawing has no colours; this number picks them."
VARIATIONS_TIP = "The same drawing with the next seeds. Click one to see it large."


def drawn_on(pad: dict | None) -> Image.Image | None:
    """The picture on the pad, None if nothing is drawn."""
    image = pad["composite"] if pad else None
    return None if image is None or image.getextrema() == (255, 255) else image


def show_upload(path: str | None) -> dict[str, Any]:
    """Check an uploaded file at once, and show it: as PNG, since no browser shows TIFF.

    Raises:
        Problem: not a picture that can be used.
    """
    if path is None:
        return gr.update(value=None, visible=False)
    try:
        image = open_image(path)
    except ValueError as error:
        raise Problem(str(error)) from error
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return gr.update(value=image, visible=True)


def add_pad() -> gr.Sketchpad:
    return gr.Sketchpad(
        show_label=False,
        type="pil",
        image_mode="L",
        canvas_size=(PAD_SIDE, PAD_SIDE),
        fixed_canvas=True,
        layers=False,
        transforms=(),
        brush=gr.Brush(default_size=2, colors=["#000000"], color_mode="fixed"),
        eraser=gr.Eraser(default_size=12),
        elem_id="sketch-pad",
        elem_classes="pad",
    )


def face_makers(model: PSPModel) -> tuple[Callable[..., Iterator[Answer]], ...]:
    """What makes faces: of a drawing's file, and of what is on the pad."""

    def draw_to_face(
        drawing: str | None,
        seed: float | None,
        variations: int,
        strength: float,
        likeness: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - that is how gradio finds it
    ) -> Iterator[Answer]:
        """Turn a drawing of a face into a photo.

        Args:
            drawing: picture file of a face seen from the front: dark lines on light paper, or the other way round.
            seed: whole number that decides what the drawing leaves open, such as colours.
            variations: how many more faces, with the next seeds, 1 to 8.
            strength: how much the seed changes, 0 (nothing) to 1.
            likeness: 0.3 (nearly the average face) to 1 (the drawing).

        Returns:
            The face, its variations, and the drawing as the network gets it.
        """
        if drawing is None:
            raise Problem("There is no picture yet. Upload one, or click an example.")
        yield from make_faces(model, drawing, seed, variations, strength, likeness, progress)

    def draw_from_pad(
        pad: dict | None,
        uploaded: str | None,
        seed: float | None,
        variations: int,
        strength: float,
        likeness: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[Answer]:
        drawing = drawn_on(pad) or uploaded
        if drawing is None:
            raise Problem("There is no drawing yet. Draw a face first, or click an example.")
        yield from make_faces(model, drawing, seed, variations, strength, likeness, progress)

    return draw_to_face, draw_from_pad


def add_sketch(model: PSPModel, demo: gr.Blocks) -> Results:
    """Fill the tab of the drawings."""
    draw_to_face, draw_from_pad = face_makers(model)
    files = example_files("sketch")

    def choose_example(index: int) -> tuple[str, gr.Tabs]:
        return files[index], gr.Tabs(selected="upload")

    with gr.Row():
        with gr.Column():
            with gr.Tabs() as tabs:
                with gr.Tab("Draw", id="draw"):
                    gr.Markdown(TIP)
                    pad = add_pad()
                    pad_button = gr.Button("Draw to face", variant="primary", size="lg")
                with gr.Tab("Upload", id="upload"):
                    # Not gr.Image: it would decode the file before `open_image` can check it.
                    upload = gr.File(
                        label="A drawing of a face", file_types=["image"], height=140, elem_id="sketch-upload"
                    )
                    preview = gr.Image(show_label=False, buttons=[], visible=False, **PICTURE)
                    upload_button = gr.Button("Draw to face", variant="primary", size="lg")
            examples = add_examples(files, "Or click an example")
            settings = add_settings("sketch", "drawing", SEED_HINT)
        with gr.Column():
            results = add_results("sketch", VARIATIONS_TIP, "The drawing, cleaned")

    outputs, work = results.outputs, results.work
    upload_button.click(draw_to_face, [upload, *settings], outputs, api_name="draw_to_face", **work)
    pad_button.click(draw_from_pad, [pad, upload, *settings], outputs, **work, **HIDDEN)
    upload.change(show_upload, upload, preview, **QUICK).failure(lambda: None, None, upload, **QUICK)
    gr.on([pad_button.click, upload_button.click, examples.click], None, js=show_result("sketch-face"), **HIDDEN)
    gr.on([demo.load, pad.clear], None, js=take_brush("sketch-pad"), **HIDDEN)
    chosen = examples.click(choose_example, examples, [upload, tabs], **QUICK)
    chosen.then(draw_to_face, [upload, *settings], outputs, **work, **HIDDEN)
    return results

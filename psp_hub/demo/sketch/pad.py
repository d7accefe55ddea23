"""The pad to draw on: pen, eraser, thickness, undo, and a photo to trace that nobody else gets to see.

gradio's own editor is too slow for a face after each stroke: it reads three pictures back from WebGL and sends them
twice for every change. This pad sends one small PNG with the event itself. Nor can that editor show a photo that is no
part of the drawing.
"""

import base64
import io
from pathlib import Path

import gradio as gr
from PIL import Image

from psp_hub.demo.faces import Problem
from psp_hub.images.pictures import open_image

PREFIX = "data:image/png;base64,"
MAX_LETTERS = 2_000_000  # of a drawing; the fullest ones have a tenth of that


def add_pad(elem_id: str, live: str, face: str) -> gr.HTML:
    """A pad; its value is for `read_drawing`. Where the page is put together, the pad is added.

    Its events `edit` and `input` come after each stroke, undo, redo and clear of a person while `live` is on.

    Args:
        elem_id: of the pad.
        live: CSS selector of a checkbox.
        face: CSS selector of the result. On a phone, the pad shows a small copy of it that leads there.
    """
    template, css, script = (
        Path(__file__).with_suffix(suffix).read_text("utf-8") for suffix in (".html", ".css", ".js")
    )
    looks = {"html_template": template, "css_template": css, "apply_default_css": False}
    return gr.HTML(js_on_load=script, live=live, face=face, elem_id=elem_id, **looks)


def read_drawing(value: str | None) -> Image.Image | None:
    """The value of a pad -> picture of mode "L", black on white, None if nothing is drawn.

    Raises:
        Problem: not what a pad sends.
    """
    if not value:
        return None
    try:
        if not value.startswith(PREFIX) or len(value) > MAX_LETTERS:
            raise ValueError("This is not a drawing of the pad. Reload the page and draw again.")
        return open_image(io.BytesIO(base64.b64decode(value[len(PREFIX) :], validate=True))).convert("L")
    except ValueError as error:
        raise Problem(str(error)) from error

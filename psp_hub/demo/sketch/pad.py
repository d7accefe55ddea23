"""The pad to draw on: pen, eraser, thickness, undo, and a photo to trace that nobody else gets to see.

gradio's own editor is too slow for a face after each stroke: it reads three pictures back from WebGL and sends them
twice for every change. This pad sends one small PNG with the event itself. Nor can that editor show a photo that is no
part of the drawing.
"""

from pathlib import Path
from typing import Any

import gradio as gr


def add_pad(elem_id: str, live: str, face: str) -> gr.HTML:
    """A pad, put where the page is being built; `psp_hub.demo.sketch.handlers.read_pad` reads its value.

    Its events `edit` and `input` come after each stroke, undo, redo and clear of a person while `live` is on.

    Args:
        elem_id: of the pad.
        live: CSS selector of a checkbox.
        face: CSS selector of the result. On a phone, the pad shows a small copy of it that leads there.
    """
    template, css, script = (
        Path(__file__).with_suffix(suffix).read_text("utf-8") for suffix in (".html", ".css", ".js")
    )
    looks: dict[str, Any] = {"html_template": template, "css_template": css, "apply_default_css": False}
    return gr.HTML(js_on_load=script, live=live, face=face, elem_id=elem_id, **looks)

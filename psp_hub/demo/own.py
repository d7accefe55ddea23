"""A tab for a task of your own: of anything that a generator paints. No face is looked for, and none is named."""

import gradio as gr

from psp_hub.demo.parts import HIDDEN, PICTURE, QUICK, Results, add_file, add_results, add_settings, show_result
from psp_hub.demo.sketch.handlers import face_makers, show_upload
from psp_hub.demo.sketch.tab import Words, add_sketch, variations_tip
from psp_hub.model import PSPModel

INTROS = {  # by the kind of input
    "drawing": "A drawing becomes a picture of what the painter learned to paint.",
    "photo": "A picture is painted anew.",
    "masked": "A picture whose transparent part is missing is painted whole.",
}
TIP = "Large, in the middle, as the pictures are that the painter learned from."
SEED_HINT = "What the picture leaves open; this number picks it."
BUTTON = "Paint"


def title_of(task: str) -> str:
    """What the tab is called: the name of the task."""
    return task.replace("-", " ").capitalize()


def add_own(model: PSPModel, demo: gr.Blocks) -> Results:
    """Fill the tab of a task of your own; programs find it under the name of the task."""
    name = model.config.task
    endpoint = name.replace("-", "_")
    if model.config.input_kind == "drawing":
        return add_sketch(model, demo, Words(name, "picture", TIP, endpoint))
    make, _ = face_makers(model)
    with gr.Row():
        with gr.Column():
            # Not gr.Image: it would decode the file before `open_image` can check it.
            upload = gr.File(label="A picture", file_types=["image"], height=140, elem_id=f"{name}-upload")
            preview = gr.Image(show_label=False, buttons=[], visible=False, **PICTURE)
            button = gr.Button(BUTTON, variant="primary", size="lg")
            settings = add_settings(name, "picture", SEED_HINT)
        with gr.Column():
            results = add_results(name, variations_tip(BUTTON), "The picture", "picture")
    sent, send = add_file(visible=False), gr.Button(visible=False)
    send.click(make, [sent, *settings], results.outputs, api_name=endpoint, **results.work)
    button.click(make, [upload, *settings], results.outputs, **results.work, **HIDDEN)
    button.click(None, None, js=show_result(f"{name}-face"), **HIDDEN)
    upload.change(show_upload, upload, preview, **QUICK).failure(lambda: None, None, upload, **QUICK)
    return results

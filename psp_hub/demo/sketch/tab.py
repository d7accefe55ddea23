"""The tab on which a drawing becomes a face."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from psp_hub.demo.parts import (
    HIDDEN,
    PICTURE,
    QUICK,
    STATE_SECONDS,
    WORK,
    Results,
    add_examples,
    add_file,
    add_results,
    add_settings,
    example_files,
    show_result,
)
from psp_hub.demo.sketch.handlers import face_makers, show_upload
from psp_hub.demo.sketch.live import StrokeUpdate, Update, follow_settings, follow_stroke, follow_up
from psp_hub.demo.sketch.pad import add_pad
from psp_hub.demo.space import SHARED_GPU
from psp_hub.model import PSPModel

TITLE = "Sketch"
SEED_HINT = "A drawing has no colours; this number picks them."


@dataclass(frozen=True)
class Words:
    """What a tab of drawings says, and the names of its parts.

    Args:
        name: of its parts, and of the folder of its examples, if it has some.
        thing: that is drawn and painted.
        tip: how it is best drawn.
        endpoint: for programs.
    """

    name: str = "sketch"
    thing: str = "face"
    tip: str = "From the front, large, in the middle: hair, eyes, nose and mouth."
    endpoint: str = "draw_to_face"

    @property
    def button(self) -> str:
        return f"Draw to {self.thing}"


def variations_tip(button: str) -> str:
    return f"“{button}” adds the same with the next seeds. Click one to see it large."


def add_live(model: PSPModel, pad: gr.HTML, live: gr.Checkbox, settings: list[Any], results: Results) -> None:
    """Let the face follow the pad and the settings. Of the changes that pile up, the last one counts."""
    seed, _, strength, likeness = settings
    stroked = gr.State(time_to_live=STATE_SECONDS)  # the settings of the last stroke's face
    options = {**WORK, **QUICK, "trigger_mode": "always_last"}
    outputs, numbers = [results.face, results.seen, results.painted], [seed, strength, likeness]

    def after_stroke(*inputs: Any) -> Iterator[StrokeUpdate]:
        yield from follow_stroke(model, *inputs)

    def after_setting(*inputs: Any) -> Iterator[Update]:
        yield from follow_settings(model, *inputs)

    def after_both(*inputs: Any) -> Iterator[Update]:
        yield from follow_up(model, *inputs)

    now = [results.painted, *numbers]
    painted = gr.on([pad.input, live.select], after_stroke, [live, pad, *now], [*outputs, stroked], **options)
    gr.on([seed.change, strength.release, likeness.release], after_setting, [live, *now], outputs, **options)
    painted.success(after_both, [live, results.painted, stroked, *numbers], outputs, **options)


def add_sketch(model: PSPModel, demo: gr.Blocks, words: Words = Words()) -> Results:
    """Fill a tab of drawings."""
    draw_to_face, draw_from_pad = face_makers(model)
    name, thing, files = words.name, words.thing, example_files(words.name)

    def choose_example(index: int) -> tuple[str, gr.Tabs]:
        return files[index], gr.Tabs(selected="upload")

    with gr.Row():
        with gr.Column():
            with gr.Tabs() as tabs:
                with gr.Tab("Draw", id="draw"):
                    gr.Markdown(words.tip)
                    # Where a GPU is lent by the second, faces come when they are asked for.
                    label = f"Live: a {thing} after each stroke"
                    live = gr.Checkbox(not SHARED_GPU, label=label, container=False, elem_id=f"{name}-live")
                    pad = add_pad(f"{name}-pad", live=f"#{name}-live input", face=f"#{name}-face")
                    pad_button = gr.Button(words.button, variant="primary", size="lg")
                with gr.Tab("Upload", id="upload"):
                    # Not gr.Image: it would decode the file before `open_image` can check it.
                    upload = gr.File(
                        label=f"A drawing of a {thing}", file_types=["image"], height=140, elem_id=f"{name}-upload"
                    )
                    preview = gr.Image(show_label=False, buttons=[], visible=False, **PICTURE)
                    upload_button = gr.Button(words.button, variant="primary", size="lg")
            examples = add_examples(files, "Or click an example")
            settings = add_settings(name, "drawing", SEED_HINT)
        with gr.Column():
            results = add_results(name, variations_tip(words.button), "The drawing, cleaned", thing)

    outputs, work = results.outputs, results.work
    # What programs send may have any name, or none: what it is shows when it is opened.
    sent, send = add_file(visible=False), gr.Button(visible=False)
    send.click(draw_to_face, [sent, *settings], outputs, api_name=words.endpoint, **work)
    asked = upload_button.click(draw_to_face, [upload, *settings], outputs, **work, **HIDDEN)
    drawn = pad_button.click(draw_from_pad, [pad, upload, *settings], outputs, **work, **HIDDEN)
    upload.change(show_upload, upload, preview, **QUICK).failure(lambda: None, None, upload, **QUICK)
    chosen = examples.click(choose_example, examples, [upload, tabs], **QUICK)
    made = chosen.then(draw_to_face, [upload, *settings], outputs, **work, **HIDDEN)
    gr.on([pad_button.click, upload_button.click, examples.click], None, js=show_result(f"{name}-face"), **HIDDEN)
    # What is drawn now counts: faces of another drawing go at once, and no more of them come.
    pad.edit(None, None, cancels=[drawn, asked, made], **HIDDEN)
    pad.edit(None, None, results.gallery, js="() => []", **HIDDEN)
    add_live(model, pad, live, settings, results)
    return results

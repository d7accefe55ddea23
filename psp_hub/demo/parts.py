"""What the tabs of the demo have in common: settings, results, examples, and what happens in the browser."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import gradio as gr
import numpy as np
from gradio.components import Component
from gradio.data_classes import FileData
from gradio.utils import NamedString

from psp_hub.demo.mix.recipes import Recipe
from psp_hub.demo.problems import Problem
from psp_hub.demo.settings import MAX_VARIATIONS
from psp_hub.model_names import STARTERS

PAD_SIDE = 512
STATE_SECONDS = 24 * 3600  # a face can be sent on for as long as its file is kept

# One face at a time: a second one would only make both slower.
WORK: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
HIDDEN: dict[str, Any] = {"api_visibility": "private"}
QUICK: dict[str, Any] = {"show_progress": "hidden", **HIDDEN}
PICTURE: dict[str, Any] = {"format": "png", "interactive": False}

ROLL_DICE = "() => Math.floor(Math.random() * 1000000)"


class NamedFile(FileData):
    """What a program sends for a file."""

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """As pydantic's, which turns the errors of validators into one that gradio does not pass on.

        Raises:
            Problem: not what gradio sends for a file.
        """
        if not isinstance(obj, dict | cls) or (isinstance(obj, dict) and "meta" not in obj):
            got = f"the text {obj!r:.60}" if isinstance(obj, str) else f"a {type(obj).__name__} without meta"
            raise Problem(
                f"A file is expected, got {got}. In Python, give gradio_client.handle_file(path); elsewhere upload "
                'the file first, and give {"path": ..., "meta": {"_type": "gradio.FileData"}}.'
            )
        return super().model_validate(obj, **options)


def add_file(**options: Any) -> gr.File:
    """A file that programs give, of any name: what is in it decides.

    gradio's own leaves an empty file in its folder for ever each time it is given one. A class of ours would do, but
    for each one gradio writes a file beside the module, wherever the package is installed.
    """

    def named(sent: FileData) -> NamedString:
        return NamedString(sent.path)  # type: ignore[no-untyped-call]

    file = gr.File(**options)
    file.data_model = NamedFile
    file._process_single_file = named  # type: ignore[method-assign,assignment]
    return file


def add_sheet(elem_id: str, brush: gr.Brush, eraser_size: int, visible: bool = True) -> gr.ImageEditor:
    """A square sheet to paint on, in one layer."""
    return gr.ImageEditor(
        show_label=False,
        type="pil",
        image_mode="RGBA",
        format="png",
        canvas_size=(PAD_SIDE, PAD_SIDE),
        fixed_canvas=True,
        sources=(),
        layers=False,
        transforms=(),
        brush=brush,
        eraser=gr.Eraser(default_size=eraser_size),
        visible=visible,
        elem_id=elem_id,
        elem_classes="pad",
    )


def take_brush(pad: str) -> str:
    """JavaScript. Without it, the first stroke does nothing: gradio's pad opens, and is cleared, with no tool."""
    return f"""async () => {{
    for (let tries = 0; tries < 100; tries++) {{
        const brush = document.querySelector('#{pad} button[aria-label="Brush"]');
        if (brush) {{ brush.click(); return; }}
        await new Promise(resolve => setTimeout(resolve, 100));
    }}
}}"""


def fit_pad(pad: str) -> str:
    """JavaScript. A map that comes while the page around it moves may be shown far too small, and beside the middle.

    gradio fits it anew when the size of the pad changes: so it does, by one pixel (see the style of `.pad.other`).
    """
    return f"""async () => {{
    await new Promise(resolve => setTimeout(resolve, 300));
    document.querySelector('#{pad}').classList.toggle('other');
}}"""


def show_result(face: str) -> str:
    """JavaScript. On a phone the result is below the input, out of sight; on a low screen it may be above."""
    return f"""() => {{
    const face = document.querySelector('#{face}'), box = face.getBoundingClientRect();
    if (box.top > window.innerHeight / 2 || box.bottom < window.innerHeight / 2) {{
        face.scrollIntoView({{behavior: 'smooth'}});
    }}
}}"""


# What was done to one face, as its recipe says, done to the faces [num_ws, w_dim] that are given.
Repeat = Callable[[Recipe, Sequence[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True)
class Edited:
    """A face that is edited: the states with its recipe and its styles, and what edits others alike."""

    recipe: gr.State
    ws: gr.State
    repeat: Repeat


@dataclass
class Results:
    """Where the answers of a tab go; `status` also shows how far the work is.

    `painted` holds what is remembered of the face, None before the first one: its `ws`, an array of float32
    [num_ws, w_dim], go to the tab where faces are edited when `edit` is pressed. `take_back`, where there is one, is
    called with a button of that tab, what was edited there, and the tabs: the button brings the face back.
    """

    face: gr.Image | gr.HTML
    status: gr.HTML
    gallery: gr.Gallery
    seen: gr.Image
    painted: gr.State
    edit: gr.Button
    take_back: Callable[[gr.Button, Edited, gr.Tabs], None] | None = None

    @property
    def outputs(self) -> list[Component]:
        return [self.face, self.gallery, self.seen, self.painted]

    @property
    def work(self) -> dict[str, Any]:
        """Options of an event that makes faces."""
        return {**WORK, "show_progress_on": self.status}


def add_settings(task: str, thing: str, seed_hint: str) -> list[Component]:
    """Seed and dice, and behind a header the rest: [seed, variations, strength, likeness]. `thing`: the input."""
    with gr.Row():
        seed = gr.Number(1, label="Seed", info=seed_hint, scale=3, min_width=160)
        dice = gr.Button("Roll the dice", scale=1, min_width=120, elem_classes="dice", elem_id=f"{task}-dice")
    with gr.Accordion("More settings", open=False):
        variations = gr.Slider(1, MAX_VARIATIONS, 4, step=1, label="Number of variations")
        hint = "At 0 the seed changes nothing."
        strength = gr.Slider(0, 1, 0.5, step=0.05, label="Strength of variation", info=hint)
        likeness = gr.Slider(0.3, 1, 1, step=0.05, label=f"Likeness: average face … your {thing}")
    dice.click(None, None, seed, js=ROLL_DICE, **QUICK)
    return [seed, variations, strength, likeness]


def add_results(task: str, tip: str, seen: str, thing: str = "face") -> Results:
    """The face (or what else is painted), a line of text, the variations, and what the network saw."""
    tools: dict[str, Any] = {"buttons": ["download", "fullscreen"], "show_label": False}
    face = gr.Image(label=thing.capitalize(), alt_text=f"The {thing}", elem_id=f"{task}-face", **tools, **PICTURE)
    edit = gr.Button(f"Edit this {thing}", size="sm", elem_id=f"{task}-edit")
    status = gr.HTML(tip, min_height=64, elem_id=f"{task}-status", elem_classes="status")
    gallery = gr.Gallery(
        label="Variations", height="auto", elem_id=f"{task}-gallery", elem_classes="faces", **tools, **PICTURE
    )
    with gr.Accordion("What the network saw", open=False):
        image = gr.Image(label=seen, height=256, **PICTURE)
    return Results(face, status, gallery, image, gr.State(time_to_live=STATE_SECONDS), edit)


def example_files(task: str) -> list[str]:
    """Pictures that ship with the starter of a task, sorted by name; none where there is no starter."""
    folder = Path(STARTERS, task, "examples")
    if not folder.is_dir():
        return []
    gr.set_static_paths(folder)  # or `delete_cache` would delete their copies after a day
    return [str(file) for file in sorted(folder.glob("*.png"))]


def add_examples(files: list[str], label: str) -> gr.Dataset:
    """Pictures to click; the event gives the index."""
    samples = [[file] for file in files]
    return gr.Dataset(components=["image"], samples=samples, type="index", label=label, visible=bool(files))

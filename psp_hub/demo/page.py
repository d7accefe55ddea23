"""The page: its frame, its looks, and a tab for each task that there is a model for."""

from collections.abc import Iterable

import gradio as gr

from psp_hub.demo import segmentation, sketch
from psp_hub.face_parser import FaceParser
from psp_hub.model import PSPModel

HOUR = 3600
HEADER = "Draw a face, see a photo"
INTROS = {  # by the kind of input
    "drawing": "Draw a face, or upload a drawing of one, and press the button: ",
    "labels": "Paint where hair, skin, eyes and the other parts of a face are, and press the button: ",
}
OUTRO = "out comes a photo of a person who does not exist."
ABOUT = """**How it works, and where it ends.** A small neural network reads what you draw and describes the face in
numbers; a second one paints that face. The painter learned from 70,000 photos (the FFHQ data set, licensed for
non-commercial use). The faces are made up: a likeness to somebody is chance. The painter has the biases of its photos:
some ages, skin colours and hair styles come out more often, or better, than others. It knows a single subject, one
face seen from the front that fills the frame; whatever else you draw becomes such a face all the same. Drawings,
photos and faces stay on the computer that runs this page."""

CSS = """
.gradio-container {max-width: 1200px !important; margin: auto !important}
.pad {height: min(92vw, 560px) !important}
.pad.other {height: calc(min(92vw, 560px) - 1px) !important}
.dice {align-self: end}
.faces .grid-container {grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)) !important}
.faces .grid-wrap {min-height: 0 !important}
.faces:has(.preview) {aspect-ratio: 5 / 6}
.gradio-container .main.app {padding: clamp(12px, 3vw, 32px) !important}
.status .wrap:has(.error) {display: none}
.status .wrap:not(.hide, :has(.error)) ~ .html-container {visibility: hidden}
.status .progress-text {display: none}
#about {font-size: var(--text-sm); color: var(--body-text-color-subdued)}
"""
# What `launch` needs so that the page looks and behaves as planned, in tests as well.
LAUNCH_OPTIONS = {
    "theme": gr.themes.Default(primary_hue="indigo", font=["system-ui", "sans-serif"]),
    "css": CSS + segmentation.CSS,
    "share": False,
    "ssr_mode": False,
    "run_history": False,
    "max_file_size": "20mb",
    "footer_links": [],
    "quiet": True,
}
TITLES = {"drawing": sketch.TITLE, "labels": segmentation.TITLE}  # of the tabs, in their order


def build_demo(models: Iterable[PSPModel], parser: FaceParser | None = None) -> gr.Blocks:
    """Build the page; `launch(**LAUNCH_OPTIONS)` starts it.

    Args:
        models: at most one for each kind of input in `TITLES`; they may share a generator.
        parser: turns photos into maps; without it, the page does not offer that.

    Raises:
        ValueError: no model, two for one kind of input, or one for a kind that the page has no tab for.
    """
    by_kind: dict[str, PSPModel] = {}
    for model in models:
        kind, task = model.config.input_kind, model.config.task
        if kind not in TITLES:
            raise ValueError(f"the page has no tab for {task} (input {kind}); it has for {' and '.join(TITLES)}")
        if kind in by_kind:
            raise ValueError(f"{by_kind[kind].config.task} and {task} both have the input {kind}, expected one model")
        by_kind[kind] = model
    if not by_kind:
        raise ValueError(f"there is no model to show; expected one for {' or '.join(TITLES)}")

    def fill(kind: str) -> None:
        gr.Markdown(INTROS[kind] + OUTRO)
        if kind == "drawing":
            sketch.add_sketch(by_kind[kind], demo)
        else:
            segmentation.add_segmentation(by_kind[kind], demo, parser)

    with gr.Blocks(title=HEADER, delete_cache=(HOUR, 24 * HOUR)) as demo:
        gr.Markdown(f"# {HEADER}")
        if len(by_kind) == 1:
            fill(*by_kind)
        else:
            with gr.Tabs():
                for kind in (kind for kind in TITLES if kind in by_kind):
                    with gr.Tab(TITLES[kind], id=kind):
                        fill(kind)
        gr.Markdown(ABOUT, elem_id="about")
    return demo.queue(max_size=20)

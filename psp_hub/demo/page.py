"""The page: its frame, its looks, and its tabs."""

from collections.abc import Iterable

import gradio as gr

from psp_hub.config import PSPConfig
from psp_hub.demo import mix, segmentation, sketch
from psp_hub.demo.recipes import Painter
from psp_hub.directions import available_directions, load_directions
from psp_hub.face_parser import FaceParser
from psp_hub.model import PSPModel

HOUR = 3600
HEADER = "Draw a face, see a photo"
INTROS = {  # by tab
    "sketch": "Draw a face, or upload a drawing of one, and press the button: ",
    "segmentation": "Paint where hair, skin, eyes and the other parts of a face are, and press the button: ",
}
OUTRO = "out comes a photo of a person who does not exist."
MISSING = """There is no model for this tab yet. Start the page with one: `python app.py --model NAME`, where NAME is a
folder that `training/train.py --task {task}` has saved, or `owner/name` on the Hugging Face Hub."""
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
"""
# What `launch` needs so that the page looks and behaves as planned, in tests as well.
LAUNCH_OPTIONS = {
    "theme": gr.themes.Default(primary_hue="indigo", font=["system-ui", "sans-serif"]),
    "css": CSS + segmentation.CSS + mix.CSS,
    "share": False,
    "ssr_mode": False,
    "run_history": False,
    "max_file_size": "20mb",
    "footer_links": [],
    "quiet": True,
}
# Where a model goes: drawings and maps by the kind of input, photos by the task.
TITLES = {"sketch": sketch.TITLE, "segmentation": segmentation.TITLE}
TABS = {"drawing": "sketch", "labels": "segmentation"}


def tab_of(config: PSPConfig) -> str:
    """The key of `TITLES` where a model is shown.

    Raises:
        ValueError: the page has no tab for it.
    """
    if config.input_kind not in TABS:
        raise ValueError(
            f"the page has no tab for {config.task} (input {config.input_kind}); it has for {' and '.join(TABS)}"
        )
    return TABS[config.input_kind]


def sort_models(models: Iterable[PSPModel]) -> dict[str, PSPModel]:
    """Models by their tabs.

    Raises:
        ValueError: two for one tab, or one that the page has no tab for.
    """
    by_tab: dict[str, PSPModel] = {}
    for model in models:
        tab, task = tab_of(model.config), model.config.task
        if tab in by_tab:
            kind = model.config.input_kind
            raise ValueError(f"{by_tab[tab].config.task} and {task} both have the input {kind}, expected one model")
        by_tab[tab] = model
    return by_tab


def painter_of(model: PSPModel) -> Painter:
    """The generator of a model, with its name and the directions that ship for it."""
    name = model.config.base_generator and str(model.config.base_generator)
    return Painter(model.generator, name, load_directions(name) if name in available_directions() else {})


def build_demo(
    models: Iterable[PSPModel], parser: FaceParser | None = None, painter: Painter | None = None
) -> gr.Blocks:
    """Build the page; `launch(**LAUNCH_OPTIONS)` starts it.

    Args:
        models: at most one for each tab in `TITLES`; a tab without one says how to get one.
        parser: turns photos into maps; without it, the page does not offer that.
        painter: draws what is mixed and edited; by default with the first model's generator. Faces of models with
            another one cannot be edited.

    Raises:
        ValueError: neither a model nor a painter, two models for one tab, or one that the page has no tab for.
    """
    by_tab = sort_models(models)
    if painter is None:
        if not by_tab:
            raise ValueError("there is nothing to show; expected a model or a painter")
        painter = painter_of(next(iter(by_tab.values())))
    add = {"sketch": sketch.add_sketch, "segmentation": lambda *args: segmentation.add_segmentation(*args, parser)}

    with gr.Blocks(title=HEADER, delete_cache=(HOUR, 24 * HOUR)) as demo:
        gr.Markdown(f"# {HEADER}")
        results = {}
        with gr.Tabs() as tabs:
            for tab, title in TITLES.items():
                with gr.Tab(title, id=tab):
                    if tab in by_tab:
                        gr.Markdown(INTROS[tab] + OUTRO)
                        results[tab] = add[tab](by_tab[tab], demo)
                    else:
                        gr.Markdown(MISSING.format(task=tab))
            with gr.Tab(mix.TITLE, id=mix.TAB) as tab:
                mixing = mix.add_mix(painter, tab)
            with gr.Tab("About", id="about"):
                gr.Markdown(ABOUT)
        for tab, result in results.items():
            if by_tab[tab].generator is painter.generator:
                mixing.receive(result, tabs)
            else:
                result.edit.visible = False
        mixing.open_link(demo, tabs)
    return demo.queue(max_size=20)

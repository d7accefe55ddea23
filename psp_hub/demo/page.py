"""The page: its frame, its looks, and its tabs."""

import html
from collections.abc import Iterable
from pathlib import Path

import gradio as gr
from gradio.utils import get_upload_folder
from torch import nn

from psp_hub.config import GeneratorReference, PSPConfig
from psp_hub.demo import own, segmentation
from psp_hub.demo.calls import Page
from psp_hub.demo.launch import OPTIONS
from psp_hub.demo.mix import tab as mix
from psp_hub.demo.mix.recipes import Painter
from psp_hub.demo.parts import Results
from psp_hub.demo.photo import tab as photo
from psp_hub.demo.sketch import tab as sketch
from psp_hub.demo.stopping import end_stops_without_error
from psp_hub.directions import available_directions, load_directions
from psp_hub.face_parser import FaceParser
from psp_hub.generators.base import Generator
from psp_hub.model import PSPModel
from psp_hub.model_names import starter_names
from psp_hub.tasks import is_of_faces

HOUR = 3600
HEADER = "Draw a face, see a photo"
OWN_HEADER = "Pictures to pictures"
OUTRO = "out comes a photo of a person who does not exist."
INTROS = {  # by tab
    "sketch": f"Draw a face, or upload a drawing of one: {OUTRO}",
    "segmentation": f"Paint where hair, skin, eyes and the other parts of a face are, and press the button: {OUTRO}",
    "photo": "A photo of a face is painted anew: as it is, sharp where it was small, whole where a part was missing, "
    "or looking straight ahead.",
    "mix": "Change a face, take parts of other faces, or watch one turn into another.",
}
MISSING = """There is no model for this yet. Start the page with one: `python app.py --model NAME`, where NAME is a
folder that `training/train.py --task {task}` has saved, or `owner/name` on the Hugging Face Hub{starter}. `--model`
can be given several times."""
ABOUT = """### How it works
A small neural network reads what you draw, paint or upload, and describes the face in numbers; a second one, the
painter, paints the face of these numbers. *Mix & edit* changes the numbers themselves. The painter learned from 70,000
photos (the FFHQ data set, licensed for non-commercial use).

### Where it ends
The faces are made up: a likeness to somebody is chance, except on the tab *Photo*, where the painter comes as close to
your photo as it can. It has the biases of its photos: some ages, skin colours and hair styles come out more often, or
better, than others, and a slider may change more than it says. It knows a single subject, one face that fills the
frame; whatever else you draw becomes such a face all the same.

### Your pictures
Drawings, photos and faces stay on the computer that runs this page; their files are deleted after a day.

### For programs
What the buttons do, programs can do, too. In Python, `gradio_client.Client(ADDRESS).view_api()` lists how, where
ADDRESS is that of this page."""

CSS = """
.gradio-container {width: 100% !important; max-width: 1200px !important; margin: auto !important}
.pad {height: min(92vw, 560px) !important}
.pad.other {height: calc(min(92vw, 560px) - 1px) !important}
.dice {align-self: end}
#problems {overflow-wrap: anywhere}
.faces .grid-container {grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)) !important}
.faces .grid-wrap {min-height: 0 !important}
.faces:has(.preview) {aspect-ratio: 5 / 6}
.gradio-container .main.app {padding: clamp(12px, 3vw, 32px) !important}
.status .wrap:has(.error) {display: none}
.status .wrap:not(.hide, :has(.error)) ~ .html-container {visibility: hidden}
.status .progress-text {display: none}
"""
# What `launch` needs so that the page looks and behaves as planned, in tests as well.
LAUNCH_OPTIONS = OPTIONS | {"css": CSS + segmentation.CSS + mix.CSS}
# Where a model goes: drawings and maps by the kind of input, photos by the task.
TITLES = {"sketch": sketch.TITLE, "segmentation": segmentation.TITLE, "photo": photo.TITLE}
KINDS = {"drawing": "sketch", "labels": "segmentation"}
PHOTO_TASKS = ("inversion", "super-resolution", "inpainting", "frontalization")
PLACES = (*KINDS.values(), *PHOTO_TASKS)


def place_of(config: PSPConfig) -> str:
    """What a model does on the page: `sketch`, `segmentation`, one of `PHOTO_TASKS`, or a task of your own."""
    if not is_of_faces(config.task) and config.input_kind in own.INTROS:
        return config.task
    return KINDS.get(config.input_kind, config.task)


def sort_models(models: Iterable[PSPModel]) -> dict[str, PSPModel]:
    """Models by what they do on the page.

    Raises:
        ValueError: two for one place.
    """
    by_place: dict[str, PSPModel] = {}
    for model in models:
        place = place_of(model.config)
        if place in by_place:
            first = by_place[place].config.task
            raise ValueError(f"{first} and {model.config.task} are both for {place}, expected one model")
        by_place[place] = model
    return by_place


def painter_of(generator: Generator, name: str | GeneratorReference | None) -> Painter:
    """A generator with the directions that ship for it; `name` as in `PSPConfig.base_generator`."""
    name = None if name is None else str(name)
    return Painter(generator, name, load_directions(name) if name in available_directions() else {})


def build_demo(
    models: Iterable[PSPModel],
    parser: FaceParser | None = None,
    painter: Painter | None = None,
    problems: Iterable[str] = (),
) -> gr.Blocks:
    """Build the page; `launch(**LAUNCH_OPTIONS)` starts it.

    Args:
        models: at most one for each place, see `place_of`; a tab without one says how to get one.
        parser: turns photos into maps; without it, the page does not offer that.
        painter: draws what is mixed and edited; by default with the generator of the first model that is of faces.
            Faces of models with another one cannot be edited. A page without it, and without a model of faces, has
            the tabs of its own tasks alone.
        problems: what could not be loaded, and why; shown at the top.

    Raises:
        ValueError: neither a model nor a painter, or two models for one place.
    """
    by_place = sort_models(models)
    own_tasks = [place for place in by_place if place not in PLACES]
    of_faces = [model for place, model in by_place.items() if place in PLACES]
    if painter is None:
        if not by_place:
            raise ValueError("there is nothing to show; expected a model or a painter")
        if of_faces:
            painter = painter_of(of_faces[0].generator, of_faces[0].config.base_generator)
    # gradio makes it for the first upload, but an example that is clicked before one needs it, too.
    Path(get_upload_folder()).mkdir(parents=True, exist_ok=True)
    header = HEADER if painter else OWN_HEADER
    end_stops_without_error()
    with Page(title=header, delete_cache=(HOUR, 24 * HOUR)) as demo:
        gr.Markdown(f"# {header}")
        show_problems(list(problems))
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            for place in own_tasks:
                add_own_tab(by_place[place], demo)
            if painter is None:  # nothing here is about faces
                return demo.queue(max_size=20)
            results = [add_tab(tab, by_place, demo, parser) for tab in TITLES]
            with gr.Tab(mix.TITLE, id=mix.TAB) as tab:
                gr.Markdown(INTROS["mix"])
                inversion = by_place.get("inversion")
                fits = inversion is not None and inversion.generator is painter.generator
                mixing = mix.add_mix(painter, tab, inversion if fits else None)
            with gr.Tab("About", id="about"):
                gr.Markdown(ABOUT)
        for generator, result in filter(None, results):
            if generator is painter.generator:
                mixing.receive(result, tabs)
            else:
                result.edit.visible = False
        mixing.open_link(demo, tabs)
    return demo.queue(max_size=20)


def add_tab(
    tab: str, by_place: dict[str, PSPModel], demo: gr.Blocks, parser: FaceParser | None
) -> tuple[nn.Module, Results] | None:
    """A tab of `TITLES`; without a model it says how to get one.

    Returns:
        What paints its faces, and where they go.
    """
    places = PHOTO_TASKS if tab == "photo" else (tab,)
    models = {place: by_place[place] for place in places if place in by_place}
    with gr.Tab(TITLES[tab], id=tab):
        if not models:
            starter = f", or `{places[0]}`, which comes with psp-hub" if places[0] in starter_names() else ""
            gr.Markdown(MISSING.format(task=places[0], starter=starter))
            return None
        gr.Markdown(INTROS[tab])
        model = next(iter(models.values()))
        if tab == "sketch":
            return model.generator, sketch.add_sketch(model, demo)
        if tab == "segmentation":
            return model.generator, segmentation.add_segmentation(model, demo, parser)
        return model.generator, photo.add_photo(models, demo)


def add_own_tab(model: PSPModel, demo: gr.Blocks) -> None:
    """The tab of a task of your own. What it paints is no face: the tab where faces are edited is not for it."""
    name = model.config.task
    with gr.Tab(own.title_of(name), id=name):
        gr.Markdown(own.INTROS[model.config.input_kind])
        own.add_own(model, demo).edit.visible = False


def show_problems(problems: list[str]) -> None:
    """What could not be loaded, in a box."""
    if problems:
        items = "".join(f"<li>{html.escape(problem)}</li>" for problem in problems)
        gr.HTML(f'<div role="alert"><b>Not everything could be loaded.</b><ul>{items}</ul></div>', elem_id="problems")

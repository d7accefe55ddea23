"""The tab on which a photo becomes a face: rebuilt, made sharp, with a missing part filled in, or turned."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from psp_hub.demo.parts import (
    HIDDEN,
    PICTURE,
    QUICK,
    STATE_SECONDS,
    Edited,
    Results,
    add_examples,
    add_settings,
    add_sheet,
    example_files,
    fit_pad,
    show_result,
    take_brush,
)
from psp_hub.demo.photo.api import add_endpoints
from psp_hub.demo.photo.comparison import add_comparison
from psp_hub.demo.photo.crops import BRUSH
from psp_hub.demo.photo.handlers import MISSING, MODES, TIP, Handlers
from psp_hub.demo.settings import MAX_STEPS
from psp_hub.model import PSPModel
from psp_hub.refinement import STEPS

TITLE = "Photo"
SEED_HINT = "This number picks what the variations change."
REFINE_TIP = "The painter compares its face with your photo again and again, and moves closer with every step."
EMPTY = "The face comes here, beside your photo."
KEEP_TIP = "A face is a few thousand numbers, kept in a small file: load it again here at any time."
KEEP_HINT = "Off: the whole face as it was painted."
WHICH = "Which face, counted from the left"
PASTE_HINT = "Nothing but the face changes: hair, and all that is around, stay as they are in the photo."
BRUSH_SIZE = 48


# The painter is there only while something is to be filled in.
PREPARE_PAD = f"""async () => {{
    await new Promise(resolve => setTimeout(resolve, 300));
    if (!document.querySelector('#photo-pad')) return;
    await ({take_brush("photo-pad")})();
    await ({fit_pad("photo-pad")})();
}}"""


@dataclass(frozen=True)
class Source:
    """The left side of the tab: what to do, and with which photo."""

    task: gr.Radio
    hint: gr.Markdown
    missing: gr.Markdown  # what is said instead of the rest where there is no model
    rest: gr.Column
    upload: gr.File
    camera: gr.Image
    preview: gr.Image
    pad: gr.ImageEditor
    button: gr.Button
    examples: dict[str, gr.Dataset]
    settings: list[Component]
    face: gr.Radio


@dataclass(frozen=True)
class Tools:
    """What can be done with a face that is there."""

    vary: gr.Button
    keep: gr.Checkbox
    paste: gr.Checkbox
    closer: gr.Accordion
    steps: gr.Slider
    refine: gr.Button
    stop: gr.Button
    download: gr.DownloadButton
    load: gr.UploadButton


def add_source(models: Mapping[str, PSPModel], files: Mapping[str, list[str]]) -> Source:
    first = next((task for task in MODES if task in models), next(iter(MODES)))
    mode, has_model = MODES[first], first in models
    names = [(mode.name, task) for task, mode in MODES.items()]
    task = gr.Radio(names, value=first, label="What to do", show_label=False, elem_id="photo-task")
    hint = gr.Markdown(mode.hint)
    missing = gr.Markdown(MISSING.format(task=first), visible=not has_model)
    with gr.Column(visible=has_model) as rest:
        with gr.Tabs():
            with gr.Tab("File"):
                # Not gr.Image: it would decode the file before `open_image` can check it.
                upload = gr.File(label="A photo", file_types=["image"], height=140, elem_id="photo-upload")
            with gr.Tab("Camera"):
                camera = gr.Image(
                    label="Camera", sources=["webcam"], type="filepath", height=300, elem_id="photo-camera", buttons=[]
                )
        preview = gr.Image(
            label="What the network sees", buttons=[], visible=False, elem_id="photo-seen", height=300, **PICTURE
        )
        face = gr.Radio([], label=WHICH, visible=False, elem_id="photo-which")
        brush = gr.Brush(default_size=BRUSH_SIZE, colors=[BRUSH], color_mode="fixed")
        pad = add_sheet("photo-pad", brush, BRUSH_SIZE, visible=False)
        button = gr.Button(mode.button, variant="primary", size="lg", elem_id="photo-make")
        examples = {name: add_examples(files[name], MODES[name].examples) for name in models}
        for name, dataset in examples.items():
            dataset.visible = name == first and bool(files[name])
        settings = add_settings("photo", "photo", SEED_HINT)
    return Source(task, hint, missing, rest, upload, camera, preview, pad, button, examples, settings, face)


def add_results(seen: gr.Image) -> tuple[Results, Tools]:
    """The right side of the tab."""
    face = add_comparison(("Your photo", "The face"), EMPTY, elem_id="photo-face")
    with gr.Row():
        edit = gr.Button("Edit this face", size="sm", min_width=100, elem_id="photo-edit")
        vary = gr.Button("New variations", size="sm", min_width=100, elem_id="photo-vary")
    keep = gr.Checkbox(True, label="Keep the rest of the photo as it is", info=KEEP_HINT, visible=False)
    paste = gr.Checkbox(False, label="Put the face back in the photo", info=PASTE_HINT, elem_id="photo-paste")
    status = gr.HTML(TIP, min_height=64, elem_id="photo-status", elem_classes="status")
    with gr.Accordion("Closer to the photo", open=False) as closer:
        gr.Markdown(REFINE_TIP)
        steps = gr.Slider(5, MAX_STEPS, STEPS, step=5, label="Number of steps")
        with gr.Row():
            refine = gr.Button("Refine", size="md", min_width=100, elem_id="photo-refine")
            stop = gr.Button("Stop", size="md", min_width=100, elem_id="photo-stop")
    gallery = gr.Gallery(
        label="Variations",
        height="auto",
        show_label=False,
        visible=False,
        buttons=["download", "fullscreen"],
        elem_id="photo-gallery",
        elem_classes="faces",
        **PICTURE,
    )
    with gr.Accordion("Keep this face for later", open=False):
        gr.Markdown(KEEP_TIP)
        with gr.Row():
            download = gr.DownloadButton("Download the numbers", size="md", elem_id="photo-download")
            load = gr.UploadButton("Load numbers", file_types=[".safetensors"], size="md", elem_id="photo-load")
    painted = gr.State(time_to_live=STATE_SECONDS)  # a Portrait
    tools = Tools(vary, keep, paste, closer, steps, refine, stop, download, load)
    return Results(face, status, gallery, seen, painted, edit), tools


def add_photo(models: Mapping[str, PSPModel], demo: gr.Blocks) -> Results:
    """Fill the tab of the photos.

    Args:
        models: by task, one of `MODES` each. They share a generator.
        demo: the page.
    """
    files = {task: example_files(task) for task in models}
    handlers = Handlers(models, files)
    with gr.Row():
        with gr.Column():
            source = add_source(models, files)
        with gr.Column():
            results, tools = add_results(source.preview)
    crop = gr.State(time_to_live=STATE_SECONDS)  # of the photo that is there
    outputs: list[Component] = [results.face, results.gallery, results.painted, tools.download, results.status]
    watch_source(handlers, source, results, tools, crop, outputs)
    watch_tools(handlers, source, results, tools, crop, outputs)
    add_endpoints(models)
    rest = [tools.keep, tools.paste]

    def take_back(button: gr.Button, edited: Edited, tabs: gr.Tabs) -> None:
        inputs, there = [results.painted, edited.ws, edited.recipe], [results.painted, tools.paste, tabs]
        taken = button.click(partial(handlers.take_back, repeat=edited.repeat), inputs, there, **QUICK)
        taken.success(handlers.show, [results.painted, *rest], outputs, **results.work, **HIDDEN)

    return replace(results, take_back=take_back)


def watch_source(
    handlers: Handlers, source: Source, results: Results, tools: Tools, crop: gr.State, outputs: list[Component]
) -> None:
    """What happens when a photo comes, or something else is to be done with it."""
    task, path = source.task, gr.State(time_to_live=STATE_SECONDS)  # for another task a photo may be cut out otherwise
    taken = [path, crop, source.preview, source.pad, results.status, source.face]
    wait = {"show_progress_on": results.status, **HIDDEN}

    def ready(cut: Dependency) -> None:
        cut.then(None, None, None, js=PREPARE_PAD, **HIDDEN)

    uploaded = source.upload.upload(handlers.read_photo, [source.upload, task], taken, **wait)
    uploaded.failure(lambda: None, None, source.upload, **QUICK)
    source.upload.clear(handlers.clear, None, taken, **QUICK)
    snapped = source.camera.input(handlers.read_photo, [source.camera, task], taken, **wait)
    switched = [source.hint, source.missing, source.rest, source.button, source.preview, source.pad]
    switched += [tools.keep, tools.paste, tools.closer]
    chosen = task.change(handlers.choose, task, [*switched, *source.examples.values()], **QUICK)
    again = chosen.then(handlers.reread_photo, [path, task], taken, **wait)
    cleared = source.pad.clear(lambda crop: crop and crop.painted, crop, source.pad, **QUICK)
    other = source.face.input(handlers.read_photo, [path, task, source.face], taken, **wait)
    # All faces go back into the photo: the box says so, and can be seen to.
    source.face.input(lambda face: True if face == "all" else gr.skip(), source.face, tools.paste, **QUICK)
    for cut in (uploaded, snapped, again, cleared, other):
        ready(cut)
    for name, dataset in source.examples.items():
        files = handlers.files[name]

        def read_example(index: int, task: str, files: list[str] = files) -> list[Any]:
            return handlers.read_photo(files[index], task)

        cut = dataset.click(read_example, [dataset, task], taken, **wait)
        made = cut.success(
            handlers.make_from_example,
            [task, crop, tools.keep, tools.paste, *source.settings],
            outputs,
            **results.work,
            **HIDDEN,
        )
        for done in (cut, made):
            ready(done)
        dataset.click(None, None, None, js=show_result("photo-face"), **HIDDEN)


def watch_tools(
    handlers: Handlers, source: Source, results: Results, tools: Tools, crop: gr.State, outputs: list[Component]
) -> None:
    """What the buttons do."""
    work, task, portrait, rest = {**results.work, **HIDDEN}, source.task, results.painted, [tools.keep, tools.paste]
    make = source.button.click(handlers.make, [task, crop, source.pad, *rest, *source.settings], outputs, **work)
    vary = tools.vary.click(handlers.vary, [portrait, *rest, *source.settings], outputs, **work)
    refine = tools.refine.click(handlers.refine, [portrait, crop, *rest, tools.steps], outputs, **work)
    tools.stop.click(None, None, None, cancels=[make, vary, refine], **HIDDEN)
    tools.keep.input(handlers.repaint, [portrait, *rest, *source.settings], outputs, **work)
    shown = tools.paste.input(handlers.show, [portrait, *rest], outputs, **work)
    shown.failure(lambda paste: not paste, tools.paste, tools.paste, **QUICK)  # the picture is as it was
    tools.load.upload(handlers.load, [tools.load, task, crop, *rest], outputs, **work)
    gr.on(
        [source.button.click, tools.refine.click, tools.vary.click],
        None,
        js=show_result("photo-face"),
        **HIDDEN,
    )

"""A second face: parts of it can be taken over, and pictures or a film show the way to it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.components import Component

from psp_hub.demo.mix import edits
from psp_hub.demo.mix.editor import Editor, Updates
from psp_hub.demo.mix.edits import FRAME_SIDE, FRAMES, GROUP_NAMES, STRIP, THUMBNAIL
from psp_hub.demo.mix.recipes import Recipe, Source
from psp_hub.demo.parts import HIDDEN, PICTURE, STATE_SECONDS
from psp_hub.demo.problems import Problem

TIP = "Take over parts of a second face, or watch this face turn into it."
FIRST = 2  # shown when the person comes here
NO_OTHER = "There is no second face yet. Roll the dice, type a number, or load a file."


class OtherFace:
    """The components, and what they do."""

    def __init__(self, editor: Editor):
        self.editor = editor
        self.source = gr.State(time_to_live=STATE_SECONDS)  # of Source; None before the first one
        self.latents = gr.State(time_to_live=STATE_SECONDS)  # its styles, an array [num_ws, w_dim]
        gr.Markdown(TIP)
        with gr.Row():
            with gr.Column(scale=1, min_width=140):
                self.picture = gr.Image(
                    label="Second face", alt_text="The second face", buttons=[], elem_id="mix-other", **PICTURE
                )
            with gr.Column(scale=2, min_width=180):
                self.seed = gr.Number(FIRST, label="Number of the second face", elem_id="mix-other-seed")
                with gr.Row():
                    self.dice = gr.Button("Roll the dice", size="md", min_width=100)
                    self.upload = gr.UploadButton(
                        "Load a file", file_types=editor.reader.file_types, size="md", min_width=100
                    )
        parts = [(name, group) for group, name in GROUP_NAMES.items()]
        self.parts = gr.CheckboxGroup(parts, value=["fine"], label="Parts to take over")
        self.take = gr.Button("Take over", size="md", elem_id="mix-take")
        with gr.Row():
            self.strip_button = gr.Button("Pictures on the way", size="md", min_width=100)
            self.film_button = gr.Button("Short film", size="md", min_width=100)
            self.stop = gr.Button("Stop", size="md", min_width=60)
        self.strip = gr.Gallery(
            label="From this face to the second",
            columns=STRIP // 2,
            height="auto",
            buttons=[],
            visible=False,
            **PICTURE,
        )
        self.film = gr.Image(
            label="Film", alt_text="The face turns into the second face", visible=False, buttons=["download"],
            format="webp", interactive=False, elem_id="mix-film",
        )  # fmt: skip

    @property
    def outputs(self) -> list[Component]:
        return [self.source, self.latents, self.picture, self.seed]

    def show(self, recipe: Recipe) -> Iterator[Updates]:
        for image, ws in edits.draw_recipes(self.editor.painter, [recipe], THUMBNAIL):
            source = recipe.start if recipe.is_plain else ws
            seed = source if isinstance(source, int) else None
            yield {self.source: source, self.latents: ws, self.picture: image, self.seed: seed}

    def choose(self, seed: float | None) -> Iterator[Updates]:
        if seed is None:  # while it is typed
            yield gr.skip()
            return
        yield from self.show(Recipe(edits.face_number(seed)))

    def open(self, source: Source | None, seed: float | None) -> Iterator[Updates]:
        """When a person comes here for the first time, there is a face already."""
        yield from self.choose(seed) if source is None else iter([gr.skip()])

    def roll(self) -> Iterator[Updates]:
        yield from self.show(Recipe(edits.roll_seed()))

    def load(self, path: str) -> Iterator[Updates]:
        yield from self.show(self.editor.reader.read(path))

    def take_over(self, recipe: Recipe | None, source: Source | None, groups: list[str]) -> Iterator[Updates]:
        if source is None:
            raise Problem(NO_OTHER)
        if not groups:
            raise Problem("No part is ticked. Tick those that are to be taken over.")
        recipe = recipe or Recipe()
        for group in groups:
            recipe = recipe.with_part(group, source)
        yield from self.editor.show(recipe)

    def show_strip(self, start: np.ndarray | None, end: np.ndarray | None) -> Iterator[Updates]:
        pictures = []
        for image, _ in self.draw_between(start, end, STRIP, THUMBNAIL):
            pictures.append(image)
            yield {self.strip: gr.update(value=pictures, visible=True)}

    def show_film(self, start: np.ndarray | None, end: np.ndarray | None) -> Iterator[Updates]:
        frames, progress = [], gr.Progress()
        progress(0, desc="Painting the film")
        for image, _ in self.draw_between(start, end, FRAMES, FRAME_SIDE):
            frames.append(image)
            progress((len(frames), FRAMES), desc="Painting the film", unit="pictures")
        with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder:
            path = str(Path(folder, "film.webp"))
            edits.save_film(path, frames)
            yield {self.film: gr.update(value=path, visible=True)}

    def draw_between(self, start: np.ndarray | None, end: np.ndarray | None, count: int, side: int) -> Iterator[Any]:
        if start is None or end is None:
            raise Problem(NO_OTHER)
        return edits.draw_recipes(self.editor.painter, edits.between(start, end, count), side)

    def wire(self, accordion: gr.Accordion) -> None:
        editor, work = self.editor, self.editor.work
        accordion.expand(self.open, [self.source, self.seed], self.outputs, **work)
        self.seed.input(self.choose, self.seed, self.outputs, trigger_mode="always_last", **work)
        self.dice.click(self.roll, None, self.outputs, **work)
        self.upload.upload(self.load, self.upload, self.outputs, **work)
        taken = [editor.shown.recipe, self.source, self.parts]
        self.take.click(self.take_over, taken, editor.shown.outputs, **work)
        ends = [editor.shown.latents, self.latents]
        strip = self.strip_button.click(self.show_strip, ends, [self.strip, self.film], **work)
        film = self.film_button.click(self.show_film, ends, [self.film, self.strip], **work)
        self.stop.click(None, cancels=[strip, film], **HIDDEN)

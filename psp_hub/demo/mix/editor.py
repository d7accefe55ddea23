"""What the tab Mix & edit shows and what is set there, and what happens then."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
import numpy as np
from gradio.components import Component

from psp_hub.demo.mix import edits
from psp_hub.demo.mix.recipes import Painter, Recipe
from psp_hub.demo.parts import HIDDEN, WORK
from psp_hub.demo.problems import problems

Updates = dict[Component, Any]


@dataclass
class Shown:
    """The face, and what goes with it."""

    recipe: gr.State  # of Recipe; None before the first face
    latents: gr.State  # its styles, an array [num_ws, w_dim]
    face: gr.Image
    status: gr.HTML
    link: gr.HTML
    recipe_file: gr.DownloadButton
    latents_file: gr.DownloadButton

    @property
    def outputs(self) -> list[Component]:
        return [
            self.recipe,
            self.latents,
            self.face,
            self.status,
            self.link,
            self.recipe_file,
            self.latents_file,
        ]


@dataclass
class Controls:
    """What a person sets; sliders by group of styles and by name of direction."""

    seed: gr.Number
    likeness: gr.Slider
    strengths: dict[str, gr.Slider]
    steps: dict[str, gr.Slider]

    @property
    def sliders(self) -> list[gr.Slider]:
        return [self.likeness, *self.strengths.values(), *self.steps.values()]

    def read(self, recipe: Recipe, likeness: float, *values: float) -> Recipe:
        """`recipe` as the sliders say; the values come in the order of `sliders`."""
        count = len(self.strengths)
        return replace(
            recipe,
            truncation_psi=likeness,
            strengths=dict(zip(self.strengths, values[:count], strict=True)),
            steps=dict(zip(self.steps, values[count:], strict=True)),
        )

    def set_to(self, recipe: Recipe) -> Updates:
        return {
            self.seed: recipe.start if isinstance(recipe.start, int) else None,
            self.likeness: recipe.truncation_psi,
            **{slider: recipe.strengths.get(group, 1.0) for group, slider in self.strengths.items()},
            **{slider: recipe.steps.get(name, 0.0) for name, slider in self.steps.items()},
        }


@dataclass
class Editor:
    """What happens on the tab: every method draws the face that a person has asked for, and shows it."""

    painter: Painter
    reader: edits.Reader
    shown: Shown
    controls: Controls

    @property
    def everything(self) -> list[Component]:
        return [*self.shown.outputs, self.controls.seed, *self.controls.sliders]

    @property
    def work(self) -> dict[str, Any]:
        return {**WORK, "show_progress_on": self.shown.status, **HIDDEN}

    def show(self, recipe: Recipe) -> Iterator[Updates]:
        """Draw a recipe. The files last until the next item is asked for: gradio copies them into its cache."""
        shown = self.shown
        for image, ws in edits.draw_recipes(self.painter, [recipe]):
            with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder:
                files = edits.save_face(folder, image, ws, recipe, self.painter)
                yield {
                    shown.recipe: recipe,
                    shown.latents: ws,
                    shown.face: files.face,
                    shown.status: edits.describe(recipe),
                    shown.link: edits.link_to(recipe, self.painter),
                    shown.recipe_file: files.recipe,
                    shown.latents_file: files.latents,
                }

    def repeat(self, recipe: Recipe, faces: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Faces [num_ws, w_dim], edited as the recipe's start is."""
        recipes = [replace(recipe, start=face) for face in faces]
        with problems():
            return edits.edit_styles(self.painter.generator, self.painter.directions, recipes)

    def show_all(self, recipe: Recipe) -> Iterator[Updates]:
        """As `show`, and set the controls."""
        for updates in self.show(recipe):
            yield {**updates, **self.controls.set_to(recipe)}

    def open(self, recipe: Recipe | None) -> Iterator[Updates]:
        """When the tab is opened for the first time, it shows a face."""
        yield from self.show_all(Recipe()) if recipe is None else iter([gr.skip()])

    def slide(self, recipe: Recipe | None, *values: float) -> Iterator[Updates]:
        yield from self.show(self.controls.read(recipe or Recipe(), *values))

    def choose(self, recipe: Recipe | None, seed: float | None) -> Iterator[Updates]:
        if seed is None:  # while it is typed
            yield gr.skip()
            return
        yield from self.show(replace(recipe or Recipe(), start=edits.face_number(seed)))

    def roll(self, recipe: Recipe | None, locked: list[str]) -> Iterator[Updates]:
        yield from self.show_all(edits.roll(recipe or Recipe(), locked, edits.roll_seed()))

    def reset_steps(self, recipe: Recipe | None) -> Iterator[Updates]:
        yield from self.show_all(replace(recipe or Recipe(), steps={}))

    def reset_parts(self, recipe: Recipe | None) -> Iterator[Updates]:
        yield from self.show_all(replace(recipe or Recipe(), parts={}, strengths={}))

    def load(self, path: str) -> Iterator[Updates]:
        yield from self.show_all(self.reader.read(path))

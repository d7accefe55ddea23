"""The tab on which faces are mixed and edited."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import gradio as gr

from psp_hub.demo.faces import Painted
from psp_hub.demo.mix import edits
from psp_hub.demo.mix.editor import Controls, Editor, Shown, Updates
from psp_hub.demo.mix.edits import GROUP_NAMES
from psp_hub.demo.mix.gallery import add_gallery
from psp_hub.demo.mix.other_face import OtherFace
from psp_hub.demo.mix.recipes import FORMAT, MAX_PSI, VERSION, Painter, Recipe, from_json, from_link
from psp_hub.demo.parts import PICTURE, QUICK, STATE_SECONDS, WORK, Edited, Results, add_examples, example_files
from psp_hub.demo.photo.portraits import Portrait
from psp_hub.demo.problems import Problem, problems
from psp_hub.model import PSPModel

TITLE = "Mix & edit"
TAB = "mix"  # the id by which it is opened
SEED_HINT = "Each number is another face."
LIKENESS = "Likeness: average face (0) … this face (1) … exaggerated"
SHARE_TIP = "A recipe is a small file that gives the same picture again when it is loaded here; so does the link."
FIRST_OF_ALL = "This is the first of {count} faces. What you change in it is changed in all when it goes back."
NO_DIRECTIONS = "There are no sliders for this painter: `training/recipes/find_directions.py` finds what they need."

# The face stays in sight while sliders are moved: it cannot stick in a box that hides its overflow, but if it clips.
CSS = """
.gradio-container {overflow: clip !important}
#mix-columns > .column:first-child {position: sticky; top: 8px; align-self: flex-start}
#mix-face img {max-height: min(70vh, 560px); object-fit: contain}
#mix-steps .form {display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); background: none}
#mix-status {min-height: 0 !important}
.mix-row .grid-wrap {min-height: 0 !important; padding: 2px !important}
.mix-row .grid-container {grid-template-columns: repeat(4, minmax(0, 1fr)) !important; gap: 4px}
.mix-row [data-testid="block-label"] {position: static; border: 0; box-shadow: none}
.mix-row .caption-label, .mix-row:not(:has(img)) {display: none}
@media (max-width: 700px) {
    #mix-columns > .column {display: contents}
    #mix-face {position: sticky; top: 0; z-index: 60; background: var(--body-background-fill)}
    #mix-face img {max-height: 38vh}
}
"""


@dataclass
class MixTab:
    """The tab, as the page knows it."""

    editor: Editor
    other: OtherFace
    back: gr.Button

    def receive(self, results: Results, tabs: gr.Tabs) -> None:
        """Let the button of another tab send its face here, and open this tab."""

        def take(painted: Painted | Portrait | None) -> tuple[Recipe, gr.Tabs]:
            if painted is None or painted.ws is None:
                raise Problem("There is no face yet. Make one first, then edit it.")
            if isinstance(painted, Portrait) and painted.others:
                gr.Info(FIRST_OF_ALL.format(count=1 + len(painted.others)))
            return Recipe(painted.ws), gr.Tabs(selected=TAB)

        editor = self.editor
        taken = results.edit.click(take, results.painted, [editor.shown.recipe, tabs], **QUICK)
        taken.success(editor.show_all, editor.shown.recipe, editor.everything, **editor.work)
        if results.take_back is not None:
            self.back.visible = True
            results.take_back(self.back, Edited(editor.shown.recipe, editor.shown.latents, editor.repeat), tabs)

    def open_link(self, demo: gr.Blocks, tabs: gr.Tabs) -> None:
        """A page whose address ends in ?face=... opens with that face."""

        def read_link(request: gr.Request) -> Any:
            link = request.query_params.get("face")
            if not link:
                return gr.skip()
            with problems():
                return from_link(link, self.editor.painter), gr.Tabs(selected=TAB)

        def show_linked(recipe: Recipe | None) -> Iterator[Updates]:
            yield from self.editor.show_all(recipe) if recipe else iter([gr.skip()])

        editor = self.editor
        linked = demo.load(read_link, None, [editor.shown.recipe, tabs], **QUICK)
        linked.success(show_linked, editor.shown.recipe, editor.everything, **editor.work)


def add_mix(painter: Painter, tab: gr.Tab, inversion: PSPModel | None = None) -> MixTab:
    """Fill the tab; with a model that finds the face of a photo, photos can be loaded."""
    reader = edits.Reader(painter, inversion)
    with gr.Row(elem_id="mix-columns"):
        with gr.Column():
            face, status = add_face()
            back = gr.Button("Put this face in the photo that it is of", size="sm", visible=False, elem_id="mix-back")
            seed, dice, upload = add_start(reader.file_types)
            likeness = gr.Slider(0, MAX_PSI, 1, step=0.05, label=LIKENESS)
            shown = add_share(face, status)
            recipes, examples = add_recipes(painter)
        with gr.Column():
            with gr.Accordion("Change the face", open=True):
                steps, reset = add_steps(painter)
            with gr.Accordion("Mix with other faces", open=True):
                gallery_place = gr.Column()
            with gr.Accordion("Strength and locks", open=False):
                strengths, locks, plain = add_parts()
            with gr.Accordion("A second face", open=False) as second:
                other_place = gr.Column()
    editor = Editor(painter, reader, shown, Controls(seed, likeness, strengths, steps))
    with gallery_place:
        add_gallery(editor)
    with other_place:
        other = OtherFace(editor)
        other.wire(second)

    everything, work = editor.everything, editor.work
    sliders, latest = editor.controls.sliders, {"trigger_mode": "always_last", **work}
    gr.on([slider.input for slider in sliders], editor.slide, [shown.recipe, *sliders], shown.outputs, **latest)
    seed.input(editor.choose, [shown.recipe, seed], shown.outputs, **latest)
    dice.click(editor.roll, [shown.recipe, locks], everything, **work)
    upload.upload(editor.load, upload, everything, **work)
    if examples is not None:
        examples.click(lambda index: recipes[index], examples, shown.recipe, **QUICK).success(
            editor.show_all, shown.recipe, everything, **work
        )
    reset.click(editor.reset_steps, shown.recipe, everything, **work)
    plain.click(editor.reset_parts, shown.recipe, everything, **work)
    tab.select(editor.open, shown.recipe, everything, **work)
    add_endpoint(editor)
    return MixTab(editor, other, back)


def add_face() -> tuple[gr.Image, gr.HTML]:
    """The face, and a sentence about it."""
    face = gr.Image(
        label="Face",
        show_label=False,
        alt_text="The edited face",
        buttons=["download", "fullscreen"],
        elem_id="mix-face",
        **PICTURE,
    )
    return face, gr.HTML("", min_height=24, elem_id="mix-status", elem_classes="status")


def add_start(file_types: list[str]) -> tuple[gr.Number, gr.Button, gr.UploadButton]:
    """Where the face comes from: a number, dice, or a file."""
    with gr.Row():
        seed = gr.Number(
            cast(int, Recipe().start), label="Number of the face", info=SEED_HINT, scale=2, elem_id="mix-seed"
        )
        dice = gr.Button("Roll the dice", scale=1, min_width=110, elem_classes="dice", elem_id="mix-dice")
        upload = gr.UploadButton(
            "Load a file", file_types=file_types, scale=1, min_width=110, elem_classes="dice", elem_id="mix-load"
        )
    return seed, dice, upload


def add_share(face: gr.Image, status: gr.HTML) -> Shown:
    """What can be saved and sent on."""
    with gr.Accordion("Save and share", open=False):
        gr.Markdown(SHARE_TIP)
        with gr.Row():
            recipe_file = gr.DownloadButton("Recipe", size="md", min_width=100, elem_id="mix-recipe")
            latents_file = gr.DownloadButton("Numbers of the face", size="md", min_width=100, elem_id="mix-latents")
        link = gr.HTML("", elem_id="mix-link")
    recipe, latents = gr.State(time_to_live=STATE_SECONDS), gr.State(time_to_live=STATE_SECONDS)
    return Shown(recipe, latents, face, status, link, recipe_file, latents_file)


def add_recipes(painter: Painter) -> tuple[list[Recipe], gr.Dataset | None]:
    """Examples: recipes that ship with the package, if they are for this painter."""
    recipes = {}
    for file in example_files(TAB):
        try:
            recipes[file] = from_json(Path(file).with_suffix(".json").read_bytes(), painter)
        except ValueError:  # of another painter
            continue
    examples = add_examples(list(recipes), "Or start from an example") if recipes else None
    return list(recipes.values()), examples


def add_steps(painter: Painter) -> tuple[dict[str, gr.Slider], gr.Button]:
    """A slider for each direction, by its name, and a button that puts all of them back."""
    if not painter.directions:
        gr.Markdown(NO_DIRECTIONS)
    with gr.Column(elem_id="mix-steps"):
        steps = {
            name: gr.Slider(direction.low, direction.high, 0, step=0.05, label=direction.label, elem_id=f"mix-{name}")
            for name, direction in painter.directions.items()
        }
    reset = gr.Button("Put all back", size="sm", visible=bool(steps), elem_id="mix-reset")
    return steps, reset


def add_parts() -> tuple[dict[str, gr.Slider], gr.CheckboxGroup, gr.Button]:
    """For each part of the face, how much of another face is taken over; which parts the dice leave alone."""
    strengths = {
        group: gr.Slider(0, 1, 1, step=0.05, label=f"{name}: how much is taken over", elem_id=f"mix-strength-{group}")
        for group, name in GROUP_NAMES.items()
    }
    parts = [(name, group) for group, name in GROUP_NAMES.items()]
    locks = gr.CheckboxGroup(parts, label="Locked: stays when the dice roll", elem_id="mix-locks")
    return strengths, locks, gr.Button("Take no parts of other faces", size="sm", elem_id="mix-plain")


def add_endpoint(editor: Editor) -> None:
    """The same for programs."""

    def edit_face(
        face: float,
        saved: str | None,
        likeness: float,
        parts: dict[str, Any] | None,
        strengths: dict[str, Any] | None,
        steps: dict[str, Any] | None,
    ) -> Iterator[tuple[str, str]]:
        """Draw a face, with parts of other faces and changes.

        Args:
            face: number of the face, 0 to 4294967295.
            saved: a file that was saved here (recipe or numbers of a face), or a photo where there is a model for
                photos: its face is taken instead.
            likeness: 0 (the average face) to 1 (this face) to 1.4 (exaggerated).
            parts: numbers of the faces that parts come from; the parts are coarse (pose and shape), medium (features
                and hair) and fine (colours and light), as in {"coarse": 12, "fine": 7}.
            strengths: how much of each part is taken over, 0 to 1, as in {"coarse": 0.5}; 1 where nothing is said.
            steps: along the sliders of the page, by their names, as in {"smile": 1.5}.

        Returns:
            The face, and its recipe.
        """
        painter = editor.painter
        values = {"start": 0 if saved else edits.face_number(face), "truncation_psi": likeness, "parts": parts or {}}
        values |= {"format": FORMAT, "version": VERSION, "strengths": strengths or {}, "steps": steps or {}}
        with problems():
            recipe = from_json(json.dumps(values), painter)
        if saved:
            recipe = replace(recipe, start=editor.reader.read_source(saved))
        for updates in editor.show(recipe):
            yield updates[editor.shown.face], updates[editor.shown.recipe_file]

    with gr.Column(visible=False):
        inputs = [gr.Number(1), gr.File(), gr.Number(1), gr.JSON({}), gr.JSON({}), gr.JSON({})]
        outputs, button = [gr.Image(**PICTURE), gr.File()], gr.Button()
    button.click(edit_face, inputs, outputs, api_name="edit_face", **WORK)

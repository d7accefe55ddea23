"""Small pictures of the edited face with parts of other faces: a click takes one over."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr

from psp_hub.demo.mix import edits
from psp_hub.demo.mix.editor import Editor, Updates
from psp_hub.demo.mix.edits import COLUMNS, GROUP_NAMES, THUMBNAIL
from psp_hub.demo.mix.recipes import GROUPS, Recipe
from psp_hub.demo.parts import HIDDEN, PICTURE

TIP = "Each row changes one thing, and takes it from another face in each column. Click a picture to keep it."


def add_gallery(editor: Editor) -> None:
    """Rows coarse, medium and fine; columns of random faces."""
    gr.Markdown(TIP)
    with gr.Row():
        button = gr.Button("Show faces to mix with", size="md", scale=3, min_width=180, elem_id="mix-fill")
        stop = gr.Button("Stop", size="md", scale=1, min_width=60)
    rows = {
        group: gr.Gallery(
            label=name,
            columns=COLUMNS,
            height="auto",
            allow_preview=False,
            buttons=[],
            elem_id=f"mix-{group}",
            elem_classes="mix-row",
            **PICTURE,
        )
        for group, name in GROUP_NAMES.items()
    }
    first = gr.State(0)  # number of the first column's face

    def fill(recipe: Recipe | None) -> Iterator[Updates]:
        seed = edits.roll_seed()
        recipes = edits.mixes(recipe or Recipe(), seed)
        pictures: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
        progress = gr.Progress()
        progress(0, desc="Painting faces to mix with")
        with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder:
            for i, (image, _) in enumerate(edits.draw_recipes(editor.painter, recipes, THUMBNAIL)):
                group, number = GROUPS[i // COLUMNS], seed + i % COLUMNS
                path = Path(folder, f"{group}-{number}.webp")
                image.save(path, quality=85)
                pictures[group].append((str(path), f"{GROUP_NAMES[group]} of face {number}"))
                progress((i + 1, len(recipes)), desc="Painting faces to mix with", unit="faces")
                cleared: Updates = {row: [] for row in rows.values()} if i == 0 else {}
                yield {first: seed, **cleared, rows[group]: pictures[group]}

    def adopt(group: str) -> Callable[..., Iterator[Updates]]:
        def adopt_part(recipe: Recipe | None, seed: int, event: gr.SelectData) -> Iterator[Updates]:
            yield from editor.show((recipe or Recipe()).with_part(group, seed + event.index))

        return adopt_part

    filling = button.click(fill, editor.shown.recipe, [first, *rows.values()], **editor.work)
    stop.click(None, cancels=filling, **HIDDEN)
    for group, row in rows.items():
        row.select(adopt(group), [editor.shown.recipe, first], editor.shown.outputs, **editor.work)

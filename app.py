"""The demo page: draw a face, see it as a photo. Run `python app.py`, then open http://127.0.0.1:7860.

All of it runs on this computer: the page loads nothing from elsewhere and sends nothing out.
"""

import argparse
import html
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # gradio reads it when it is imported

import gradio as gr
import torch
from PIL import Image
from torch import Tensor

from psp_hub.cli import MAX_SEED
from psp_hub.memory import keep_freed_memory
from psp_hub.model import STARTERS, PSPModel
from psp_hub.preprocessing import drawings_to_tensor, open_image, prepare_drawing, tensor_to_images
from psp_hub.tasks import mixed_groups

MAX_VARIATIONS = 8
PAD_SIDE = 512
PREVIEW_SIDE = 1024
HOUR = 3600

INTRO = """# Draw a face, see a photo
Draw a face, or upload a drawing of one, and press the button: out comes a photo of a person who does not exist."""
DRAWING_TIP = "From the front, large, in the middle: hair, eyes, nose and mouth."
VARIATIONS_TIP = "The same drawing with the next seeds. Click one to see it large."
ABOUT = """**How it works, and where it ends.** A small neural network reads the drawing and describes the face in
numbers; a second one paints that face. The painter learned from 70,000 photos (the FFHQ data set, licensed for
non-commercial use). The faces are made up: a likeness to somebody is chance. The painter has the biases of its photos:
some ages, skin colours and hair styles come out more often, or better, than others. It knows a single subject, one
face seen from the front that fills the frame; whatever else you draw becomes such a face all the same. Drawings and
faces stay on the computer that runs this page."""

ROLL_DICE = "() => Math.floor(Math.random() * 1000000)"
# Without this, the first stroke does nothing: gradio's pad opens, and is cleared, with no tool chosen.
TAKE_BRUSH = """async () => {
    for (let tries = 0; tries < 100; tries++) {
        const brush = document.querySelector('#pad button[aria-label="Brush"]');
        if (brush) { brush.click(); return; }
        await new Promise(resolve => setTimeout(resolve, 100));
    }
}"""
# On a phone the result is below the drawing, out of sight.
SHOW_RESULT = """() => {
    const face = document.querySelector('#face');
    if (face.getBoundingClientRect().top > window.innerHeight / 2) face.scrollIntoView({behavior: 'smooth'});
}"""
CSS = """
.gradio-container {max-width: 1200px !important; margin: auto !important}
#pad {height: min(92vw, 560px) !important}
#dice {align-self: end}
#gallery .grid-container {grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)) !important}
#gallery .grid-wrap {min-height: 0 !important}
#gallery:has(.preview) {aspect-ratio: 5 / 6}
.gradio-container .main.app {padding: clamp(12px, 3vw, 32px) !important}
#status .wrap:has(.error) {display: none}
#status .wrap:not(.hide, :has(.error)) ~ .html-container {visibility: hidden}
#status .progress-text {display: none}
#about {font-size: var(--text-sm); color: var(--body-text-color-subdued)}
"""
# What `launch` needs so that the page looks and behaves as planned, in tests as well.
LAUNCH_OPTIONS = {
    "theme": gr.themes.Default(primary_hue="indigo", font=["system-ui", "sans-serif"]),
    "css": CSS,
    "share": False,
    "ssr_mode": False,
    "run_history": False,
    "max_file_size": "20mb",
    "footer_links": [],
    "quiet": True,
}


class Problem(gr.Error):
    """A plain message for the person at the page, where earlier results stay as they are."""

    def __init__(self, message: str):
        # gradio shows messages as HTML, and ours may quote a file's name.
        super().__init__(html.escape(message, quote=False), print_exception=False)


def whole_number(value: float | None, name: str, low: int, high: int) -> int:
    """Check a number that a person typed.

    Raises:
        ValueError: no number, not a whole one, or out of range.
    """
    if value is None or not float(value).is_integer() or not low <= value <= high:
        got = "nothing" if value is None else f"{value:.15g}"
        raise ValueError(f"{name} must be a whole number from {low} to {high}, got {got}.")
    return int(value)


def drawn_on(pad: dict | None) -> Image.Image | None:
    """The picture on the pad, None if nothing is drawn."""
    image = pad["composite"] if pad else None
    return None if image is None or image.getextrema() == (255, 255) else image


@torch.no_grad()
def paint(model: PSPModel, ws: Tensor, seed: int, strength: float, folder: str) -> str:
    """Paint the face `ws` with what the drawing leaves open taken from `seed`; returns the path of the PNG."""
    groups = mixed_groups(model.config.task)
    mixed = model.mix(ws, seed=seed, groups=groups, strength=strength)
    path = Path(folder, f"face-seed-{seed}.png")  # people download it under this name
    tensor_to_images(model.decode(mixed))[0].save(path)
    return str(path)


def make_faces(
    model: PSPModel,
    picture: str | Image.Image,
    seed: float | None,
    variations: int,
    strength: float,
    likeness: float,
    progress: gr.Progress,
) -> Iterator[tuple[str, list[tuple[str, str]], Image.Image]]:
    """Yields (face, variations so far with captions, drawing as the encoder gets it), first with no variation.

    The face of seed s is painted with seed s, variation i with seed s + i. The files last until the next item is asked
    for: gradio copies them into its cache.

    Raises:
        Problem: the picture cannot be used, or a number is out of range.
    """
    # Files, because gradio encodes pictures anew each time they are yielded.
    with tempfile.TemporaryDirectory(prefix="psp-hub-") as folder:
        try:
            seed = whole_number(seed, "The seed", 0, MAX_SEED)
            variations = whole_number(variations, "The number of variations", 1, MAX_VARIATIONS)
            progress(0, desc="Reading the drawing")
            drawing = prepare_drawing(open_image(picture))
            with torch.no_grad():
                ws = model.encode(drawings_to_tensor([drawing]), truncation_psi=likeness)
            progress((0, variations + 1), desc="Painting the face", unit="faces")
            face = paint(model, ws, seed, strength, folder)
        except ValueError as error:
            raise Problem(str(error)) from error
        gallery: list[tuple[str, str]] = []
        yield face, gallery, drawing
        for i in range(1, variations + 1):
            progress((i, variations + 1), desc=f"Painting variation {i} of {variations}", unit="faces")
            gallery.append((paint(model, ws, seed + i, strength, folder), f"seed {seed + i}"))
            yield face, gallery, drawing


def show_upload(path: str | None) -> dict[str, Any]:
    """Check an uploaded file at once, and show it: as PNG, since no browser shows TIFF.

    Raises:
        Problem: not a picture that can be used.
    """
    if path is None:
        return gr.update(value=None, visible=False)
    try:
        image = open_image(path)
    except ValueError as error:
        raise Problem(str(error)) from error
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    return gr.update(value=image, visible=True)


def build_demo(model: PSPModel) -> gr.Blocks:
    """Build the page; `launch(**LAUNCH_OPTIONS)` starts it."""

    def draw_to_face(
        drawing: str | None,
        seed: float | None,
        variations: int,
        strength: float,
        likeness: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - that is how gradio finds it
    ) -> Iterator[tuple[str, list[tuple[str, str]], Image.Image]]:
        """Turn a drawing of a face into a photo.

        Args:
            drawing: picture file of a face seen from the front: dark lines on light paper, or the other way round.
            seed: whole number that decides what the drawing leaves open, such as colours.
            variations: how many more faces, with the next seeds, 1 to 8.
            strength: how much the seed changes, 0 (nothing) to 1.
            likeness: 0.3 (nearly the average face) to 1 (the drawing).

        Returns:
            The face, its variations, and the drawing as the network gets it.
        """
        if drawing is None:
            raise Problem("There is no picture yet. Upload one, or click an example.")
        yield from make_faces(model, drawing, seed, variations, strength, likeness, progress)

    def draw_from_pad(
        pad: dict | None,
        uploaded: str | None,
        seed: float | None,
        variations: int,
        strength: float,
        likeness: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[tuple[str, list[tuple[str, str]], Image.Image]]:
        drawing = drawn_on(pad) or uploaded
        if drawing is None:
            raise Problem("There is no drawing yet. Draw a face first, or click an example.")
        yield from make_faces(model, drawing, seed, variations, strength, likeness, progress)

    example_folder = STARTERS / model.config.task / "examples"
    example_files = [str(file) for file in sorted(example_folder.glob("*.png"))]
    gr.set_static_paths(example_folder)  # or `delete_cache` would delete their copies after a day

    def choose_example(index: int) -> tuple[str, gr.Tabs]:
        return example_files[index], gr.Tabs(selected="upload")

    picture = {"format": "png", "interactive": False}
    tools = {"buttons": ["download", "fullscreen"], "show_label": False}
    with gr.Blocks(title="Draw a face, see a photo", delete_cache=(HOUR, 24 * HOUR)) as demo:
        gr.Markdown(INTRO)
        with gr.Row():
            with gr.Column():
                with gr.Tabs() as tabs:
                    with gr.Tab("Draw", id="draw"):
                        gr.Markdown(DRAWING_TIP)
                        pad = gr.Sketchpad(
                            show_label=False,
                            type="pil",
                            image_mode="L",
                            canvas_size=(PAD_SIDE, PAD_SIDE),
                            fixed_canvas=True,
                            layers=False,
                            transforms=(),
                            brush=gr.Brush(default_size=2, colors=["#000000"], color_mode="fixed"),
                            eraser=gr.Eraser(default_size=12),
                            elem_id="pad",
                        )
                        pad_button = gr.Button("Draw to face", variant="primary", size="lg")
                    with gr.Tab("Upload", id="upload"):
                        # Not gr.Image: it would decode the file before `open_image` can check it.
                        upload = gr.File(
                            label="A drawing of a face", file_types=["image"], height=140, elem_id="upload"
                        )
                        preview = gr.Image(show_label=False, buttons=[], visible=False, **picture)
                        upload_button = gr.Button("Draw to face", variant="primary", size="lg")
                label, samples = "Or click an example", [[file] for file in example_files]
                examples = gr.Dataset(components=["image"], samples=samples, type="index", label=label)
                with gr.Row():
                    hint = "A drawing has no colours; this number picks them."
                    seed = gr.Number(1, label="Seed", info=hint, scale=3, min_width=160)
                    dice = gr.Button("Roll the dice", scale=1, min_width=120, elem_id="dice")
                with gr.Accordion("More settings", open=False):
                    variations = gr.Slider(1, MAX_VARIATIONS, 4, step=1, label="Number of variations")
                    hint = "At 0 the seed changes nothing."
                    strength = gr.Slider(0, 1, 0.5, step=0.05, label="Strength of variation", info=hint)
                    likeness = gr.Slider(0.3, 1, 1, step=0.05, label="Likeness: average face … your drawing")
            with gr.Column():
                face = gr.Image(label="Face", elem_id="face", **tools, **picture)
                status = gr.HTML(VARIATIONS_TIP, min_height=64, elem_id="status")
                gallery = gr.Gallery(label="Variations", height="auto", elem_id="gallery", **tools, **picture)
                with gr.Accordion("What the network saw", open=False):
                    seen = gr.Image(label="The drawing, cleaned", height=256, **picture)
        gr.Markdown(ABOUT, elem_id="about")

        settings, outputs = [seed, variations, strength, likeness], [face, gallery, seen]
        # One face at a time: a second one would only make both slower.
        work = {"concurrency_id": "model", "concurrency_limit": 1, "show_progress_on": status}
        upload_button.click(draw_to_face, [upload, *settings], outputs, api_name="draw_to_face", **work)
        hidden = {"api_visibility": "private"}
        pad_button.click(draw_from_pad, [pad, upload, *settings], outputs, **work, **hidden)
        quick = {"show_progress": "hidden", **hidden}
        upload.change(show_upload, upload, preview, **quick).failure(lambda: None, None, upload, **quick)
        gr.on([pad_button.click, upload_button.click, examples.click], None, js=SHOW_RESULT, **hidden)
        gr.on([demo.load, pad.clear], None, js=TAKE_BRUSH, **hidden)
        dice.click(None, None, seed, js=ROLL_DICE, **quick)
        chosen = examples.click(choose_example, examples, [upload, tabs], **quick)
        chosen.then(draw_to_face, [upload, *settings], outputs, **work, **hidden)
    return demo.queue(max_size=20)


def main(argv: Sequence[str] | None = None) -> None:
    """Load the model, start the page, stay until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A page on which a drawing becomes a face.")
    parser.add_argument("--model", default=str(STARTERS / "sketch"), help="a saved folder, or owner/name on the Hub")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this computer alone)")
    parser.add_argument("--port", type=int, default=7860)
    args = parser.parse_args(argv)
    keep_freed_memory()
    try:
        model = PSPModel.from_pretrained(args.model)
        demo = build_demo(model)
        options = LAUNCH_OPTIONS | {"server_name": args.host, "server_port": args.port, "prevent_thread_lock": True}
        _, url, _ = demo.launch(**options)
    except (ValueError, OSError) as error:  # OSError: the generator cannot be fetched, or the port is taken
        sys.exit(f"{parser.prog}: {error}")
    print(f"Open {url} in a browser; Ctrl-C ends.", flush=True)  # noqa: T201
    demo.block_thread()


if __name__ == "__main__":
    main()

"""Faces while somebody draws: the functions with a tiny model, and the pad in a browser."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from playwright.sync_api import Page, Route

from psp_hub.demo.faces import Painted, make_faces
from psp_hub.demo.problems import Problem
from psp_hub.demo.settings import Settings
from psp_hub.demo.sketch.handlers import MAX_CHARACTERS, PREFIX, face_makers, read_pad
from psp_hub.demo.sketch.live import NO_STROKE, NOTHING, follow_settings, follow_stroke, follow_up, paint_preview
from psp_hub.images.pictures import open_image
from psp_hub.images.preprocessing import prepare_drawing
from psp_hub.model import PSPModel
from tests.browser import ROOT, drag, open_page, serve


@pytest.fixture(scope="module")
def model(model_dir: Path) -> PSPModel:
    return PSPModel.from_pretrained(model_dir)


@pytest.fixture(scope="module")
def drawing() -> Image.Image:
    image = Image.new("L", (512, 512), 255)
    ImageDraw.Draw(image).ellipse((100, 60, 400, 460), outline=0, width=3)
    return image


def read(updates: Iterator) -> list[tuple]:
    """The updates, the face as its file's suffix and bytes: the file goes with the next one."""
    return [
        (
            Path(face).suffix,
            Path(face).read_bytes(),
            Image.open(seen).copy() if isinstance(seen, str) else seen,
            painted,
        )
        for face, seen, painted, *_ in updates
    ]


def button_face(model: PSPModel, drawing: Image.Image, seed: int) -> bytes:
    """The face that the button makes."""
    answers = make_faces(model, drawing, Settings(seed, 1), gr.Progress())  # the file goes with it
    return Path(next(answers)[0]).read_bytes()


def test_a_stroke_gives_a_preview_then_the_face(model, drawing, on_pad):
    preview, full = read(follow_stroke(model, True, on_pad(drawing), None, 3, 0.5, 1.0))
    assert (preview[0], full[0]) == (".jpg", ".png")
    assert full[1] == button_face(model, drawing, 3), "as if the button were pressed"
    quick, sharp = (Image.open(io.BytesIO(file)) for file in (preview[1], full[1]))
    assert quick.size == sharp.size
    ws = torch.from_numpy(full[3].ws)[None]
    expected = np.asarray(paint_preview(model.generator, ws), np.float32)
    assert np.abs(np.asarray(quick, np.float32) - expected).mean() < 6 < expected.std(), (
        "a preview, less what JPEG takes"
    )
    assert full[3].ws.shape == (8, 32) and full[2] == prepare_drawing(drawing)


@pytest.fixture
def painted(model, drawing) -> Painted:
    """The face that the button made of the drawing with seed 3."""
    return next(make_faces(model, drawing, Settings(3, 1), gr.Progress()))[3]


def test_settings_paint_the_same_drawing_anew(model, drawing, painted):
    ((suffix, face, _, anew),) = read(follow_settings(model, True, painted, 4, 0.5, 1.0))
    assert suffix == ".png" and face == button_face(model, drawing, 4) and anew.ws.shape == (8, 32)
    ((_, face, _, back),) = read(follow_settings(model, True, anew, 3, 0.5, 1.0))
    assert face == button_face(model, drawing, 3) and np.array_equal(back.ws, painted.ws)


def test_a_face_that_is_there_is_not_painted_again(model, drawing, painted, on_pad):
    """Nor covered by its preview: the button's face may come before that of the last stroke."""
    pad = on_pad(drawing)
    assert list(follow_stroke(model, True, pad, painted, 3, 0.5, 1.0)) == [NO_STROKE]
    assert list(follow_settings(model, True, painted, 3, 0.5, 1.0)) == [NOTHING]
    other = drawing.copy()
    ImageDraw.Draw(other).line((200, 200, 300, 200), fill=0, width=3)
    for inputs in ((pad, painted, 4, 0.5, 1.0), (pad, painted, 3, 0.6, 1.0), (pad, painted, 3, 0.5, 0.9)):
        assert len(list(follow_stroke(model, True, *inputs))) == 2
    assert len(list(follow_stroke(model, True, on_pad(other), painted, 3, 0.5, 1.0))) == 2


def test_a_stroke_whose_settings_changed_meanwhile(model, drawing, on_pad):
    """The face is sent again even if it was painted: the browser may have shown it before that of the stroke."""
    (*_, painted, settings) = list(follow_stroke(model, True, on_pad(drawing), None, 3, 0.5, 1.0))[-1]
    assert settings == Settings(3) == painted.settings
    for remembered in (painted, painted._replace(settings=Settings(4))):
        ((suffix, face, _, anew),) = read(follow_up(model, True, remembered, settings, 4, 0.5, 1.0))
        assert suffix == ".png" and face == button_face(model, drawing, 4) and anew.settings == Settings(4)
    for inputs in (
        (True, painted, settings, 3),
        (True, painted, None, 4),
        (True, None, settings, 4),
        (False, painted, settings, 4),
        (True, painted, settings, None),
    ):
        assert list(follow_up(model, *inputs, 0.5, 1.0)) == [NOTHING]


def test_what_changes_nothing(model, drawing, painted, on_pad):
    dot = Image.new("L", (512, 512), 255)
    dot.putpixel((256, 256), 0)
    for inputs in ((False, on_pad(drawing), 1), (True, None, 1), (True, on_pad(dot), 1)):
        assert list(follow_stroke(model, *inputs[:2], None, inputs[2], 0.5, 1.0)) == [NO_STROKE]
    seeds = [(True, painted, seed) for seed in (None, -1, 0.5)]
    for inputs in ((False, painted, 1), (True, None, 1), *seeds):
        assert list(follow_settings(model, *inputs, 0.5, 1.0)) == [NOTHING]
    with pytest.raises(Problem, match="The seed must be"):
        next(follow_stroke(model, True, on_pad(drawing), None, -1, 0.5, 1.0))


def test_what_the_pad_sends(drawing, on_pad):
    for sent in (drawing, drawing.convert("RGBA")):
        assert open_image(read_pad(on_pad(sent))).convert("L") == drawing
    assert read_pad(None) is None and read_pad("") is None


@pytest.mark.parametrize(
    "value",
    ["/etc/passwd", "http://127.0.0.1/face.png", PREFIX + "?", PREFIX, PREFIX + "A" * MAX_CHARACTERS, PREFIX + "AAAA"],
)
def test_what_a_pad_never_sends(model, value):
    _, draw_from_pad = face_makers(model)
    with pytest.raises(Problem):
        next(draw_from_pad(value, None, 1, 1, 0.5, 1.0))


class Pad:
    """What a person does on the pad."""

    def __init__(self, page: Page):
        page.set_default_timeout(180_000)  # one busy core is enough
        self.page = page
        self.canvas = page.locator("#sketch-pad canvas")
        self.canvas.wait_for()

    def stroke(self, *points: tuple[float, float]) -> None:
        drag(self.page, self.canvas, points)

    def press(self, name: str) -> None:
        self.page.locator("#sketch-pad").get_by_role("button", name=name, exact=True).click()

    def face(self, before: str = "") -> tuple[str, bytes]:
        """Wait for a face of 1024 px other than `before`: its address and its file."""
        shown = "document.querySelector('#sketch-face img')"
        self.page.wait_for_function(f"{shown} && {shown}.src.endsWith('.png') && {shown}.src !== '{before}'")
        self.page.wait_for_function(f"{shown}.naturalWidth > 0")
        address = self.page.locator("#sketch-face img").get_attribute("src")
        return address, self.page.request.get(address, max_retries=3).body()

    def watch(self) -> Callable[[], list[str]]:
        """From now on, note all faces that come; the answer lists their addresses."""
        self.page.evaluate("""() => {
            window.faces = [];
            const note = () => window.faces.push(document.querySelector('#sketch-face img')?.src);
            const options = {childList: true, subtree: true, attributeFilter: ['src']};
            new MutationObserver(note).observe(document.querySelector('#sketch-face'), options);
        }""")
        return lambda: self.page.evaluate("window.faces")

    def drawing(self) -> bytes:
        """What is on the canvas, to the pixel."""
        return bytes(self.canvas.evaluate("canvas => [...new TextEncoder().encode(canvas.toDataURL())]"))


PAD_ALONE = """
import sys

import gradio as gr

from psp_hub.demo.sketch.pad import add_pad

with gr.Blocks() as demo:
    gr.Checkbox(True, elem_id="live")
    pad = add_pad("sketch-pad", live="#live input", face="#face")
    heard = gr.Textbox(elem_id="heard")
    gr.Button("Forget").click(lambda: None, None, pad)
    pad.input(lambda drawing, before: f"{before} {len(drawing or '')}", [pad, heard], heard)
demo.launch(server_port=int(sys.argv[2]), quiet=True, ssr_mode=False, _frontend=False)
"""


@pytest.mark.slow
def test_a_pad_that_loses_its_value_sends_the_drawing_again(tmp_path):
    (tmp_path / "pad.py").write_text(PAD_ALONE)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    program = (str(tmp_path / "pad.py"),)
    with (
        serve(log=tmp_path / "log.txt", environment=environment, program=program) as url,
        open_page(url) as (page, troubles),
    ):
        pad, lengths = Pad(page), "document.querySelector('#heard textarea').value.split(' ').filter(Boolean)"
        pad.stroke((0.2, 0.2), (0.8, 0.2))
        page.wait_for_function(f"{lengths}.length > 0")
        before = page.evaluate(lengths)
        page.get_by_role("button", name="Forget").click()
        page.wait_for_function(f"{lengths}.length > {len(before)}")
        (length,) = set(page.evaluate(lengths))
        assert int(length) > 1000 and not troubles


def undo_and_redo(pad: Pad, folder: Path) -> tuple[str, bytes, bytes, bytes]:
    """By button and by keyboard, that brings back drawing and face, to the byte.

    Returns:
        Address of the face, the faces of one stroke and of two, and the drawing of one.
    """
    page, place = pad.page, pad.canvas.bounding_box()
    pad.stroke((0.2, 0.2), (0.8, 0.2), (0.8, 0.8))
    address, first = pad.face()
    assert pad.canvas.bounding_box() == place, "the first face does not move the pad under the pen"
    assert page.locator(".gradio-container").bounding_box()["width"] == 1200, "whatever it contains"
    drawn = pad.drawing()
    pad.stroke((0.3, 0.4), (0.7, 0.6))
    address, second = pad.face(address)
    assert second != first
    page.screenshot(path=folder / "drawn.png", full_page=True)

    pad.press("Undo")
    address, again = pad.face(address)
    assert again == first and pad.drawing() == drawn
    page.keyboard.press("Control+Shift+Z")
    address, again = pad.face(address)
    assert again == second
    page.keyboard.press("Control+Z")
    address, again = pad.face(address)
    assert again == first
    return address, first, second, drawn


def erase_and_clear(pad: Pad, address: str, first: bytes, drawn: bytes) -> str:
    """The eraser takes a stroke away, the dice change the face, and clearing can be undone."""
    page = pad.page
    pad.press("Eraser")
    page.locator("#sketch-pad .size").fill("64")
    pad.stroke((0.5, 0.2), (0.8, 0.2), (0.8, 0.8))
    address, erased = pad.face(address)
    assert erased != first
    pad.press("Undo")
    address, _ = pad.face(address)
    page.get_by_label("Seed").first.fill("5")
    address, rolled = pad.face(address)
    assert rolled != first
    page.get_by_label("Seed").first.fill("1")
    address, again = pad.face(address)
    assert again == first
    pad.press("Clear")
    assert not page.evaluate("document.querySelector('#sketch-pad [data-do=undo]').disabled")
    pad.press("Undo")
    page.wait_for_function("!document.querySelector('#sketch-pad [data-do=clear]').disabled")
    assert pad.drawing() == drawn
    page.wait_for_timeout(2000)  # what is asked for by then is the last of it
    return address


def trace_a_photo(pad: Pad, address: str, second: bytes, folder: Path) -> str:
    """A photo to trace is seen, but is no part of the drawing, and never leaves the browser."""
    page = pad.page
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    chooser = page.locator("#sketch-pad input[type=file]")
    chooser.set_input_files(folder / "text.jpg")
    page.get_by_text("This browser cannot show that file").wait_for()
    chooser.set_input_files(folder / "photo.jpg")
    photo = page.locator("#sketch-pad .photo")
    photo.wait_for()
    page.get_by_label("How clearly the photo is seen").fill("0.8")
    assert photo.evaluate("photo => getComputedStyle(photo).opacity") == "0.8"
    assert all(url.startswith("blob:") for url in sent)
    page.screenshot(path=folder / "traced.png", full_page=True)
    pad.press("Pen")
    pad.stroke((0.3, 0.4), (0.7, 0.6))
    address, again = pad.face(address)
    assert again == second
    pad.press("Remove")
    assert photo.is_hidden()
    return address


def press_during_a_stroke(pad: Pad, address: str) -> None:
    """The button does its whole work even if it is pressed while a stroke's face is on its way."""
    page = pad.page
    pad.stroke((0.3, 0.7), (0.6, 0.7))
    page.get_by_role("button", name="Draw to face").first.click()
    page.locator("#sketch-gallery .thumbnail-item img").nth(3).wait_for()
    address, made = pad.face(address)
    # When the stroke's turn comes, its face is there already: no preview covers it, not even for a moment.
    faces = pad.watch()
    page.wait_for_timeout(3000)
    assert faces() == [] and pad.face() == (address, made)

    # A seed that changes before a stroke's face has come counts for that stroke's drawing.
    pad.stroke((0.3, 0.8), (0.6, 0.8))
    page.get_by_label("Seed").first.fill("6")
    page.wait_for_function("document.querySelector('#sketch-face img').src.endsWith('face-seed-6.png')")
    _, followed = pad.face()
    page.get_by_role("button", name="Draw to face").first.click()
    page.locator("#sketch-gallery .thumbnail-item img").nth(3).wait_for()
    address, made = pad.face()
    assert made == followed


def change_the_seed_before_the_stroke_arrives(pad: Pad) -> None:
    """A seed counts also where its message overtakes that of the stroke, which then still has the seed before."""
    page = pad.page
    held: list[Route] = []

    def hold_the_stroke(route: Route) -> None:
        if held or PREFIX not in (route.request.post_data or ""):
            route.continue_()
        else:
            held.append(route)

    page.route("**/queue/join*", hold_the_stroke)
    pad.stroke((0.3, 0.9), (0.6, 0.9))
    page.get_by_label("Seed").first.fill("7")
    page.wait_for_function("document.querySelector('#sketch-face img').src.endsWith('face-seed-7.png')")
    _, overtaking = pad.face()
    pad.watch()
    held[0].continue_()
    page.wait_for_function("window.faces.some(face => face.includes('face-seed-6.'))")
    page.wait_for_function("window.faces.at(-1).endsWith('face-seed-7.png')")
    page.unroute_all(behavior="wait")
    _, followed = pad.face()
    assert followed != overtaking, "of the drawing before"
    changed, _ = pad.face()
    page.get_by_label("Seed").first.fill("1")
    pad.face(changed)


def draw_without_live_faces(pad: Pad, second: bytes, folder: Path) -> None:
    """Switched off, the face waits for the button; on a phone, a small copy of it leads there."""
    page = pad.page
    address, _ = pad.face()
    page.locator("#sketch-live input").uncheck()
    pad.stroke((0.2, 0.8), (0.5, 0.9))
    page.get_by_role("button", name="Draw to face").first.click()
    _, third = pad.face(address)
    assert third != second
    page.set_viewport_size({"width": 390, "height": 844})
    assert not page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    page.get_by_role("button", name="Show the face large").wait_for()
    page.screenshot(path=folder / "phone.png", full_page=True)


@pytest.mark.slow
def test_a_person_draws_live(model_dir, tmp_path, portrait):
    portrait(400, 0).save(tmp_path / "photo.jpg")
    (tmp_path / "text.jpg").write_text("not a picture")
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    log = tmp_path / "log.txt"
    with (
        serve("--model", str(model_dir), log=log, environment=environment) as url,
        open_page(url) as (page, troubles),
    ):
        pad = Pad(page)
        address, first, second, drawn = undo_and_redo(pad, tmp_path)
        address = erase_and_clear(pad, address, first, drawn)
        address = trace_a_photo(pad, address, second, tmp_path)
        press_during_a_stroke(pad, address)
        change_the_seed_before_the_stroke_arrives(pad)
        draw_without_live_faces(pad, second, tmp_path)
        assert "Traceback" not in log.read_text()
    assert troubles == []

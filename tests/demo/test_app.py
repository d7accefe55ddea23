"""The page: the handlers with a tiny model, the API of a running page, and the page in a browser."""

import io
import json
import os
import struct
import urllib.request
import zlib
from collections.abc import Callable
from contextvars import copy_context
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch
from gradio.context import LocalContext
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image, ImageChops, ImageDraw
from playwright.sync_api import Page

from psp_hub.demo.faces import make_faces
from psp_hub.demo.page import LAUNCH_OPTIONS, build_demo
from psp_hub.demo.problems import Problem
from psp_hub.demo.settings import Settings
from psp_hub.demo.sketch.handlers import show_upload
from psp_hub.generators.fetch import ENVIRONMENT_VARIABLE
from psp_hub.images.png import save_png
from psp_hub.images.preprocessing import MAX_PIXELS, tensor_to_images
from psp_hub.model import PSPModel
from psp_hub.model_names import STARTERS
from tests.browser import OPENER, BrowserTab, draw_face, open_accordion, open_page, serve


@pytest.fixture
def model(model_dir: Path) -> PSPModel:
    return PSPModel.from_pretrained(model_dir)


def draw(seed: int = 0) -> Image.Image:
    image = Image.new("L", (128, 128), 255)
    pen = ImageDraw.Draw(image)
    pen.ellipse((24, 8 + seed, 104, 120), outline=0, width=3)
    pen.line((40, 60, 90, 60 + 10 * seed), fill=0, width=4)
    return image


@pytest.fixture
def drawing(tmp_path: Path) -> str:
    path = tmp_path / "drawing.png"
    draw().save(path)
    return str(path)


def faces(model: PSPModel, picture: str, seed: float | None = 0, **options: float) -> list[bytes]:
    """The last answer's PNG files: the face, then its variations."""
    settings = Settings.checked(seed, **({"variations": 2, "strength": 1.0} | options))
    for face, gallery, *_ in make_faces(model, picture, settings, gr.Progress()):
        files = [Path(path).read_bytes() for path in (face, *(path for path, _ in gallery))]
    return files


def test_the_face_comes_first_then_its_variations(model, drawing):
    answers = []
    for face, gallery, seen, painted in make_faces(model, drawing, Settings(7, 3, 1.0), gr.Progress()):
        with Image.open(face) as image:
            assert (image.format, image.size) == ("PNG", (64, 64))
        with Image.open(seen) as image:
            assert (image.mode, image.size) == ("L", (256, 256))
        assert (painted.ws.dtype, painted.ws.shape) == (np.float32, (8, 32))
        again = tensor_to_images(model.decode(torch.from_numpy(painted.ws)[None]))[0]
        with Image.open(face) as image:
            assert again.tobytes() == image.tobytes()
        answers.append((Path(face).name, [(Path(path).name, caption) for path, caption in gallery]))
    names = [(f"face-seed-{seed}.png", f"seed {seed}") for seed in (8, 9, 10)]
    assert answers == [("face-seed-7.png", names[:i]) for i in range(4)]


def test_seeds(model, drawing):
    first = faces(model, drawing, 5)
    assert faces(model, drawing, 5) == first
    assert len(set(first)) == 3
    assert faces(model, drawing, 6)[0] == first[1], "variation 1 of seed 5 is the face of seed 6"


def test_without_strength_all_faces_are_the_plain_answer(model, drawing, tmp_path):
    save_png(model(Image.open(drawing)).images[0], tmp_path / "plain.png")
    assert set(faces(model, drawing, 3, strength=0)) == {(tmp_path / "plain.png").read_bytes()}


def test_likeness(model, drawing):
    assert faces(model, drawing, likeness=0.3)[0] != faces(model, drawing)[0]


@pytest.mark.parametrize(
    ("seed", "got"),
    [(None, "nothing"), (1.5, "1.5"), (-1, "-1"), (2**32, "4294967296"), (float("nan"), "nan"), (float("inf"), "inf")],
)
def test_bad_seed(model, drawing, seed, got):
    with pytest.raises(Problem) as caught:
        faces(model, drawing, seed)
    assert caught.value.message == f"The seed must be a whole number from 0 to 4294967295, got {got}."


@pytest.mark.parametrize("options", [{"variations": 9}, {"variations": -1}, {"strength": 1.5}])
def test_number_out_of_range(model, drawing, options):
    with pytest.raises(Problem, match=" must be | expected "):
        faces(model, drawing, **options)


def write_text(path: Path) -> None:
    path.write_text("eyes & nose")


def write_truncated(path: Path) -> None:
    draw().save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:900])


def write_tiny(path: Path) -> None:
    Image.new("L", (1, 1)).save(path)


def write_huge(path: Path) -> None:
    size = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    chunks = [struct.pack(">I", len(body)) + kind + body for kind, body in ((b"IHDR", size), (b"IDAT", b""))]
    crcs = [struct.pack(">I", zlib.crc32(chunk[4:])) for chunk in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(a + b for a, b in zip(chunks, crcs, strict=True)))


BAD_FILES = {
    "is not a picture": write_text,
    "is damaged or incomplete": write_truncated,
    "is too small: 1 x 1 pixels": write_tiny,
    f"the limit is {MAX_PIXELS // 10**6} million pixels": write_huge,
}


@pytest.mark.parametrize(("message", "write"), BAD_FILES.items(), ids=[write.__name__ for write in BAD_FILES.values()])
def test_bad_file(model, tmp_path, message, write):
    path = tmp_path / "face.png"
    write(path)
    for handle in (lambda: faces(model, str(path)), lambda: show_upload(str(path))):
        with pytest.raises(Problem, match=f"face.png.*{message}"):
            handle()


def test_messages_are_shown_as_text(tmp_path):
    path = tmp_path / "<b>me & you.png"
    write_text(path)
    with pytest.raises(Problem, match="^'&lt;b&gt;me &amp; you.png is not"):
        show_upload(str(path))


@pytest.mark.parametrize("mode", ["CMYK", "I;16", "P", "RGBA", "LA"])
def test_upload_is_shown(tmp_path, mode):
    large = Image.new("L", (3000, 1500), 255)
    large.paste(draw(), (0, 0))
    path = tmp_path / ("drawing.tif" if mode in ("CMYK", "I;16") else "drawing.png")
    image = large.convert("I;16").point(lambda value: value * 257) if mode == "I;16" else large.convert(mode)
    image.save(path)
    preview = show_upload(str(path))
    assert preview["visible"]
    assert preview["value"].size == (1024, 512)
    assert preview["value"].mode in ("L", "RGB")
    darkest, brightest = preview["value"].convert("L").getextrema()
    assert darkest < 50 and brightest == 255
    assert not show_upload(None)["visible"]


@pytest.fixture
def demo(model, tmp_path, monkeypatch) -> gr.Blocks:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    return build_demo([model])


@pytest.fixture
def handlers(demo) -> dict[str, Callable]:
    return {function.name: function.fn for function in demo.fns.values() if function.fn}


def test_which_picture_is_used(handlers, drawing, on_pad):
    pad = on_pad(draw(3))

    def seen(*pictures: str | None) -> Image.Image:
        answers = handlers["draw_from_pad"](*pictures, 0, 1, 1.0, 1.0)  # the files go with it
        return Image.open(next(answers)[2]).copy()

    answers = handlers["draw_to_face"](drawing, 0, 1, 1.0, 1.0)
    from_file = Image.open(next(answers)[2]).copy()
    assert ImageChops.difference(seen(pad, None), from_file).getbbox()
    assert seen(pad, drawing) == seen(pad, None)
    assert seen(None, drawing) == from_file
    with pytest.raises(Problem, match="Draw a face first"):
        seen(None, None)
    with pytest.raises(Problem, match="Upload one"):
        next(handlers["draw_to_face"](None, 0, 1, 1.0, 1.0))


def test_the_page_says_how_far_the_faces_are(handlers, drawing):
    """As gradio's queue calls a handler: which event it is for lies in the context."""
    said: list[str] = []
    queue = SimpleNamespace(set_progress=lambda event, units: said.append(f"{event}: {units[-1].desc}"))

    def ask() -> None:
        LocalContext.blocks.set(SimpleNamespace(_queue=queue))
        LocalContext.event_id.set("7")
        list(handlers["draw_to_face"](drawing, 0, 1, 1.0, 1.0))

    copy_context().run(ask)
    assert said == ["7: Reading the picture", "7: Painting the face", "7: Painting variation 1 of 1"]


@pytest.mark.slow
def test_api(demo, drawing, tmp_path):
    _, url, _ = demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, server_name="127.0.0.1")
    try:
        client = Client(url, verbose=False, download_files=tmp_path / "results")
        endpoints = client.view_api(return_format="dict")["named_endpoints"]
        assert list(endpoints) == ["/draw_to_face", "/edit_face"]
        names = [parameter["parameter_name"] for parameter in endpoints["/draw_to_face"]["parameters"]]
        assert names == ["drawing", "seed", "variations", "strength", "likeness"]

        def ask(path: str | Path, seed: int) -> tuple[bytes, int]:
            face, gallery, _ = client.predict(handle_file(path), seed, 2, 1.0, 1.0, api_name="/draw_to_face")
            return Path(face).read_bytes(), len(gallery)

        face, variations = ask(drawing, 1)
        assert variations == 2
        assert ask(drawing, 1)[0] == face != ask(drawing, 2)[0]
        bare = tmp_path / "no-suffix"
        bare.write_bytes(Path(drawing).read_bytes())
        assert ask(bare, 1)[0] == face
        for text in (str(drawing), {"path": str(drawing)}):
            with pytest.raises(AppError, match="A file is expected, got .*handle_file"):
                client.predict(text, 1, 2, 1.0, 1.0, api_name="/draw_to_face")
        bad = tmp_path / "face.png"
        write_text(bad)
        for path, seed, message in ((bad, 1, "is not a picture"), (drawing, -1, "The seed must be")):
            with pytest.raises(AppError, match=message):
                ask(path, seed)
        # Files of the server that nobody uploaded stay closed.
        path = {"path": drawing, "meta": {"_type": "gradio.FileData"}}
        body = json.dumps({"data": [path, 1, 2, 1.0, 1.0]}).encode()
        call = f"{url}gradio_api/call/draw_to_face"
        with OPENER.open(urllib.request.Request(call, body, {"Content-Type": "application/json"})) as reply:
            event = json.load(reply)["event_id"]
        with OPENER.open(f"{call}/{event}") as reply:
            assert reply.read().startswith(b"event: error")
    finally:
        demo.close(verbose=False)


class Tab(BrowserTab):
    """What a person does on the tab, of three faces at a time."""

    def __init__(self, page: Page, folder: Path):
        super().__init__(page)
        self.folder = folder  # for its pictures
        self.face = page.locator("#sketch-face img")
        self.thumbnails = page.locator("#sketch-gallery .thumbnail-item img")
        self.button = page.get_by_role("button", name="Draw to face")

    def shoot(self, name: str) -> None:
        self.page.screenshot(path=self.folder / f"{name}.png", full_page=True)

    def answer(self) -> bytes:
        """Wait for a new answer to be complete; the face's file."""
        self.thumbnails.nth(1).wait_for()
        self.page.wait_for_function("document.querySelector('#sketch-status .wrap').classList.contains('hide')")
        # Live faces come as JPEG first.
        self.page.wait_for_function("document.querySelector('#sketch-face img').src.endsWith('.png')")
        self.page.wait_for_function("document.querySelector('#sketch-face img').naturalWidth === 1024")
        assert self.face.evaluate("image => image.naturalHeight") == 1024
        assert self.thumbnails.count() == 2
        return self.page.request.get(self.face.get_attribute("src"), max_retries=3).body()

    def press(self, seed: int) -> bytes:
        self.page.get_by_label("Seed").fill(str(seed))
        self.button.click()
        self.page.wait_for_function("!document.querySelector('#sketch-status .wrap').classList.contains('hide')")
        return self.answer()


def draw_on_the_pad(tab: Tab) -> bytes:
    """The face of a drawing with seed 0, after faces of other seeds."""
    page = tab.page
    page.locator("#sketch-pad canvas").wait_for()
    tab.shoot("empty")
    tab.button.click()
    tab.expect_message("There is no drawing yet.")

    open_accordion(page, "More settings")
    page.get_by_label("number input for Number of variations").fill("2")
    draw_face(page)
    first = tab.press(0)
    tab.shoot("answer")
    assert tab.press(6) != first
    assert tab.press(0) == first

    page.get_by_label("Seed").fill("-1")
    tab.button.click()
    tab.expect_message("The seed must be")
    assert tab.face.is_visible() and tab.thumbnails.count() == 2
    return first


def take_files(tab: Tab, first: bytes) -> None:
    """Upload what is no picture, click an example, and find the drawing still there: its face is `first`."""
    page = tab.page
    page.get_by_role("tab", name="Upload").click()
    text = tab.folder / "face.png"
    text.write_text("not a picture")
    page.locator("#sketch-upload input[type=file]").set_input_files(text)
    tab.expect_message("face.png is not a picture")
    tab.button.click()
    tab.expect_message("There is no picture yet.")
    page.get_by_label("Seed").fill("0")
    page.locator(".gallery-item").first.click()
    page.wait_for_function("!document.querySelector('#sketch-status .wrap').classList.contains('hide')")
    assert tab.answer() != first
    tab.thumbnails.nth(1).click()
    tab.shoot("example")
    page.keyboard.press("Escape")

    page.get_by_role("tab", name="Draw").click()
    assert tab.press(0) == first, "the drawing is still on the pad"


@pytest.mark.slow
def test_a_person_at_the_page(first_start, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != ENVIRONMENT_VARIABLE}
    environment |= {"HF_ASSETS_CACHE": str(first_start.assets), "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    arguments = ["--model", str(STARTERS / "sketch")]
    log = tmp_path / "log.txt"
    with serve(*arguments, log=log, environment=environment) as url, open_page(url) as (page, troubles):
        tab = Tab(page, tmp_path)
        take_files(tab, draw_on_the_pad(tab))
        assert not tab.overflows()
        page.set_viewport_size({"width": 390, "height": 844})
        assert not tab.overflows()
        tab.shoot("phone")
        assert "Traceback" not in log.read_text()
        page.set_viewport_size({"width": 1280, "height": 1000})
        tab.button.click()
        page.wait_for_function("!document.querySelector('#sketch-status .wrap').classList.contains('hide')")
        assert troubles == []
        page.reload()  # in the middle of the work: gradio tells the console that it lost the connection
        page.locator("#sketch-pad canvas").wait_for()
        assert not tab.overflows()
        open_accordion(page, "More settings")
        page.get_by_label("number input for Number of variations").fill("2")
        draw_face(page)
        assert Image.open(io.BytesIO(tab.press(0))).size == (1024, 1024)
    assert all("AbortError" in trouble or "onnection" in trouble for trouble in troubles), troubles


def test_edit_needs_a_face(demo, handlers, model, drawing):
    with pytest.raises(Problem, match="There is no face yet"):
        handlers["take"](None)
    *_, painted = next(handlers["draw_to_face"](drawing, 3, 1, 1.0, 1.0))
    recipe, tabs = handlers["take"](painted)
    assert (recipe.start == painted.ws).all() and tabs.selected == "mix"

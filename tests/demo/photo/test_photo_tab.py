"""The tab of photos: its endpoints, and the tab in a browser."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Page

from psp_hub import PSPModel
from psp_hub.demo.page import LAUNCH_OPTIONS
from psp_hub.demo.photo.tab import add_photo
from psp_hub.latents_file import load_latents
from tests.browser import BrowserTab, drag, open_accordion, open_page, serve
from tests.photo_faces import CHILD, GAPPED, TINY, scene


def defaults(endpoints: dict[str, Any], name: str) -> dict[str, list[Any]]:
    """What each endpoint takes if a parameter is left out; nothing for those that have no such parameter."""
    return {
        endpoint: [one["parameter_default"] for one in description["parameters"] if one["parameter_name"] == name]
        for endpoint, description in endpoints.items()
    }


@pytest.mark.slow
def test_api(models, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    with gr.Blocks() as demo:
        add_photo(models, demo)
    _, url, _ = demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, server_name="127.0.0.1")
    try:
        client = Client(url, verbose=False, download_files=tmp_path / "results")
        endpoints = client.view_api(return_format="dict")["named_endpoints"]
        names = {name: [one["parameter_name"] for one in end["parameters"]] for name, end in endpoints.items()}
        common = ["seed", "variations", "strength", "likeness", "steps", "face", "paste_back"]
        assert names == {
            "/reconstruct": ["photo", *common],
            "/upscale": ["photo", *common],
            "/fill_in": ["photo", "mask", "keep", *common],
            "/turn_to_front": ["photo", "seed", "variations", "strength", "likeness", "face"],
        }

        face, gallery, seen, latents = client.predict(photo=handle_file(CHILD), variations=1, api_name="/reconstruct")
        assert (len(gallery), Image.open(face).size, Image.open(seen).size) == (1, (64, 64), (1024, 1024))
        assert load_latents(latents).ws.shape == (1, 8, 32)
        refined = client.predict(photo=handle_file(CHILD), steps=3, api_name="/reconstruct")[3]
        assert not load_latents(refined).ws.equal(load_latents(latents).ws)
        assert len(client.predict(photo=handle_file(TINY), variations=2, api_name="/upscale")[1]) == 2
        turned = client.predict(photo=handle_file(CHILD), variations=1, api_name="/turn_to_front")
        assert (len(turned[1]), Image.open(turned[0]).size) == (1, (64, 64))
        assert defaults(endpoints, "steps") == {
            "/reconstruct": [0],
            "/upscale": [80],
            "/fill_in": [0],
            "/turn_to_front": [],
        }

        photo = scene(tmp_path / "photo.png", (300, 60, 120), (400, 460, 120))
        file, pasted = handle_file(tmp_path / "photo.png"), []
        for typed in ({}, {"face": 1}, {"face": "all"}):
            answer = client.predict(photo=file, paste_back=True, **typed, api_name="/reconstruct")
            pasted.append(Image.open(answer[0]))
        for picture, changed in zip(pasted, ((False, True), (True, False), (True, True)), strict=True):
            different = (np.asarray(photo) != np.asarray(picture.convert("RGB"))).any(axis=-1)
            assert (different[:, :450].any(), different[:, 450:].any()) == changed
        for which, message in (
            (3, "There are 2 faces in this photo; got number 3"),
            ("all", "put them back in the photo, or choose one of them"),
            ("both", "expected its number in the photo"),
        ):
            with pytest.raises(AppError, match=message):
                client.predict(photo=file, face=which, api_name="/reconstruct")

        Image.new("L", (256, 256)).save(tmp_path / "nothing.png")
        mask = Image.open(GAPPED).getchannel("A").point(lambda value: 255 - value)
        mask.save(tmp_path / "mask.png")
        by_mask, by_alpha = (
            client.predict(photo=handle_file(GAPPED), mask=file, api_name="/fill_in")[0]
            for file in (handle_file(tmp_path / "mask.png"), None)
        )
        assert Path(by_mask).read_bytes() == Path(by_alpha).read_bytes()
        for arguments, message in (
            ({"photo": handle_file(CHILD), "mask": None}, "There is nothing to fill in"),
            (
                {"photo": handle_file(CHILD), "mask": handle_file(tmp_path / "nothing.png")},
                "The mask is black all over",
            ),
            ({"photo": None, "mask": None}, "There is no photo yet"),
        ):
            with pytest.raises(AppError, match=message):
                client.predict(**arguments, api_name="/fill_in")
    finally:
        demo.close(verbose=False)


@pytest.fixture(scope="module")
def arguments(models: dict[str, PSPModel], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of app.py: the three models."""
    folder = tmp_path_factory.mktemp("models")
    for task, model in models.items():
        model.save_pretrained(folder / task)
    return [part for task in models for part in ("--model", str(folder / task))]


class Tab(BrowserTab):
    """What a person does on the tab."""

    def __init__(self, page: Page, folder: Path):
        super().__init__(page)
        self.folder = folder  # for its pictures
        self.face = page.locator("#photo-face img.after")
        self.variations = page.locator("#photo-gallery .thumbnail-item img")
        page.get_by_role("tab", name="Photo").click()

    def upload(self, path: Path) -> None:
        self.page.locator("#photo-upload input[type=file]").set_input_files(path)

    def load(self, path: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name="Load numbers").click()
        chooser.value.set_files(path)

    def wait(self, condition: str) -> None:
        self.page.wait_for_function(condition)

    def answer(self, act: Callable[[], None]) -> bytes:
        """The face that comes when something is done, once all of it is there."""
        before = self.face.get_attribute("src") if self.face.count() else ""
        act()
        self.wait(f"(document.querySelector('#photo-face img.after')?.src ?? '{before}') !== '{before}'")
        return self.shown()

    def shown(self) -> bytes:
        self.wait("document.querySelector('#photo-status .wrap').classList.contains('hide')")
        return self.page.request.get(self.face.get_attribute("src"), max_retries=3).body()

    def shoot(self, name: str) -> None:
        self.page.screenshot(path=self.folder / f"{name}.png", full_page=True)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def choose(self, name: str) -> None:
        self.page.get_by_role("radio", name=name, exact=True).click()


# Presses Stop in the page itself: the tiny model's steps are over before a click of the test would arrive.
STOP_AT_ONCE = """() => new MutationObserver((_, observer) => {
    const buttons = [...document.querySelectorAll('button')];
    const stop = buttons.find(one => one.textContent.trim() === 'Stop' && one.offsetParent);
    if (!stop || !document.body.textContent.includes('of 100, about')) return;
    observer.disconnect();
    stop.click();
    window.stopped = true;
}).observe(document.body, {childList: true, subtree: true, characterData: true})"""


def rebuild(tab: Tab, folder: Path) -> None:
    """Upload photos, compare, vary and refine the face, keep it and load it again."""
    page = tab.page
    tab.press("Rebuild the face")
    tab.expect_message("There is no photo yet.")
    tab.upload(folder / "notes.png")
    tab.expect_message("notes.png is not a picture")
    tab.upload(CHILD)
    page.locator("#photo-seen img").wait_for()
    first = tab.answer(lambda: tab.press("Rebuild the face"))
    assert Image.open(io.BytesIO(first)).size == (64, 64) and tab.variations.count() == 0
    tab.shoot("reconstruct")

    divider, figure = page.locator("#photo-face input"), page.locator("#photo-face figure")
    divider.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert figure.get_attribute("style") == "--at: 52%;"
    box = figure.bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["width"])
    assert 20 < float(divider.input_value()) < 30

    back = tab.answer(page.get_by_label("Put the face back in the photo").click)
    with Image.open(CHILD) as photo:
        assert Image.open(io.BytesIO(back)).size == photo.size and back != first
    assert tab.answer(page.get_by_label("Put the face back in the photo").click) == first

    tab.press("New variations")
    tab.variations.nth(3).wait_for()
    assert tab.shown() == first

    open_accordion(page, "Closer to the photo")
    page.get_by_label("number input for Number of steps").fill("100")
    page.evaluate(STOP_AT_ONCE)
    tab.press("Refine")
    page.wait_for_function("window.stopped")
    page.wait_for_timeout(1500)
    assert tab.shown() == first, "what was there stays"
    page.get_by_label("number input for Number of steps").fill("5")
    refined = tab.answer(lambda: tab.press("Refine"))
    assert refined != first

    page.get_by_role("button", name="Keep this face for later").click()
    with page.expect_download() as download:
        page.locator("#photo-download").click()
    download.value.save_as(folder / "face.safetensors")
    assert tab.answer(lambda: tab.press("Rebuild the face")) == first
    assert tab.answer(lambda: tab.load(folder / "face.safetensors")) == refined


def answer_all(tab: Tab, folder: Path) -> None:
    """All faces of a photo, which has them back, edited, too; then one again."""
    page, seen = tab.page, tab.page.locator("#photo-seen img")

    def replace_by(path: Path) -> None:
        page.locator("#photo-upload").get_by_label("Clear").click()
        seen.wait_for(state="hidden")
        tab.upload(path)
        seen.wait_for()

    scene(folder / "crowd.png", (300, 60, 120), (400, 460, 120))
    replace_by(folder / "crowd.png")
    back = page.get_by_label("Put the face back in the photo")
    assert not back.is_checked()
    tab.choose("All faces")
    page.get_by_text("All 2 faces go back into the photo").wait_for()
    tab.wait("document.querySelector('#photo-paste input').checked")
    answer = tab.answer(lambda: tab.press("Rebuild the face"))
    assert Image.open(io.BytesIO(answer)).size == (900, 640)
    page.get_by_text("All 2 faces are back in the photo").wait_for()
    tab.shoot("all")

    tab.press("Edit this face")
    tab.expect_message("This is the first of 2 faces.")
    edited = page.locator("#mix-face img")
    before = edited.get_attribute("src")
    page.get_by_label("number input for Likeness: average face").fill("0.3")
    tab.wait(f"document.querySelector('#mix-face img').src !== '{before}'")
    alike = np.asarray(
        Image.open(io.BytesIO(tab.answer(lambda: tab.press("Put this face in the photo that it is of"))))
    )
    different = (alike != np.asarray(Image.open(io.BytesIO(answer)))).any(axis=-1)
    assert different[:, :450].any() and different[:, 450:].any()

    back.click()
    tab.expect_message("All faces of a photo are shown in it")
    tab.wait("document.querySelector('#photo-paste input').checked")  # as what is shown
    replace_by(CHILD)
    tab.answer(lambda: tab.press("Rebuild the face"))
    tab.answer(back.click)


def fill_in_and_upscale(tab: Tab) -> None:
    """Paint over a part of the photo, then take a tiny picture, on a phone."""
    page = tab.page
    tab.choose("Fill in")
    page.locator("#photo-pad canvas").first.wait_for()
    tab.press("Fill in")
    tab.expect_message("Nothing is painted over yet")
    page.wait_for_timeout(1000)
    drag(page, page.locator("#photo-pad canvas").first, [(0.3, 0.7), (0.7, 0.7)])
    filled = tab.answer(lambda: tab.press("Fill in"))
    tab.variations.nth(3).wait_for()
    tab.shoot("fill-in")
    keep = page.get_by_label("Keep the rest of the photo as it is")
    assert tab.answer(keep.click) != filled

    tab.choose("Upscale")
    page.get_by_text("16 to 64 pixels").wait_for()
    tab.answer(page.locator(".gallery-item:visible").first.click)
    page.get_by_text("The picture is small and square").wait_for()
    page.set_viewport_size({"width": 390, "height": 844})
    assert not tab.overflows()
    tab.shoot("phone")
    tab.press("Edit this face")
    page.locator("#mix-face img").wait_for()


@pytest.mark.slow
def test_a_person_with_a_photo(arguments, tmp_path):
    environment, log = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}, tmp_path / "log.txt"
    (tmp_path / "notes.png").write_text("not a picture")
    with serve(*arguments, log=log, environment=environment) as url, open_page(url) as (page, troubles):
        tab = Tab(page, tmp_path)
        rebuild(tab, tmp_path)
        answer_all(tab, tmp_path)
        fill_in_and_upscale(tab)
        assert "Traceback" not in log.read_text()
    assert troubles == []

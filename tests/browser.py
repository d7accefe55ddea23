"""A headless browser for tests of the page, and what a person does there."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import cos, pi, sin
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, sync_playwright

ROOT = Path(__file__).parents[1]
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine needs no proxy
# No sandbox: containers. No GPU: test machines. The rest keeps Chromium itself from calling home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Resolves when gradio has put everything on the page. Its parts come one by one, and those that come late push down
# what is there: a stroke that a test draws meanwhile misses the canvas.
WHOLE = """new Promise(done => {
    let before = '', still = 0;
    const look = () => {
        const parts = [...document.querySelectorAll('button, canvas, input')];
        const now = JSON.stringify(parts.map(part => part.getBoundingClientRect()));
        still = parts.length && now === before ? still + 1 : 0;
        before = now;
        still < 30 ? requestAnimationFrame(look) : done();
    };
    look();
})"""


@contextmanager
def serve(
    *arguments: str,
    log: Path,
    environment: dict[str, str],
    program: Sequence[str] = ("app.py",),
    folder: Path = ROOT,
    pause: float = 0.5,
) -> Iterator[str]:
    """`python app.py` as a process of its own; gives the address once it answers, asked every `pause` seconds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    with open(log, "wb") as file:
        process = subprocess.Popen(
            [sys.executable, *program, "--port", str(port), *arguments],
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(round(600 / pause)):
            assert process.poll() is None, log.read_text()
            try:
                OPENER.open(url, timeout=5).close()
                break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(pause)
        else:
            pytest.fail(f"app.py does not answer: {log.read_text()}")
        yield url
    finally:
        process.terminate()
        process.wait(30)


# What gradio's script says when its page is left, or opened anew, while an answer is under way: nobody sees it.
LEFT, BROKEN = "AbortError: signal is aborted without reason", "Connection errored out."


@contextmanager
def open_page(url: str) -> Iterator[tuple[Page, list[str]]]:
    """Open `url` in Chromium. The list collects what should not happen: errors, and requests to other hosts."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI_REQUIRE_BROWSER"):
            pytest.fail("CI_REQUIRE_BROWSER is set, but there is no chromium")
        pytest.skip("there is no chromium")
    troubles: list[str] = []
    left: list[str] = []

    def hear(error: str) -> None:
        if error.startswith(LEFT):
            left.append(error)
        elif not (left and error.startswith(BROKEN)):
            troubles.append(error)

    def check_request(address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("blob", "data") and parts.hostname != "127.0.0.1":
            troubles.append(f"request to {address}")

    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS) as browser,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.on("request", lambda request: check_request(request.url))
        page.on("websocket", lambda socket: check_request(socket.url))
        page.on("pageerror", lambda error: troubles.append(f"uncaught: {error}"))
        page.on("console", lambda message: message.type == "error" and hear(message.text))
        page.goto(url)
        page.evaluate(WHOLE)
        yield page, troubles


class BrowserTab:
    """What a person does on any tab of the page."""

    def __init__(self, page: Page):
        self.page = page
        page.set_default_timeout(180_000)  # one busy core is enough

    def expect_message(self, text: str) -> None:
        """Wait for a message that contains the text, and close it."""
        toast = self.page.get_by_test_id("toast-body")
        toast.filter(has_text=text).wait_for()
        # It may have gone by itself.
        toast.get_by_test_id("toast-close").evaluate_all("all => all.forEach(button => button.click())")
        toast.wait_for(state="detached")

    def overflows(self) -> bool:
        """Whether something is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth > window.innerWidth")


def open_accordion(page: Page, name: str) -> None:
    """Open an accordion for the first time and wait until what is in it can be filled in.

    gradio mounts the contents when the accordion opens, and gives them their first values once more with the next
    frame: what a script fills in between is lost.
    """
    header = page.get_by_role("button", name=name)
    header.click()
    header.locator("xpath=following-sibling::*").locator("input").first.wait_for()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def sheet_on(width: float, height: float) -> tuple[float, float, float]:
    """Where gradio shows a square sheet on a canvas, less a little: left, top and side."""
    side = 0.88 * min(width, height)
    return (width - side) / 2, (height - side) / 2, side


def drag(page: Page, canvas: Locator, points: Sequence[tuple[float, float]]) -> None:
    """Draw a line with the mouse; points in parts of the sheet."""
    box = canvas.bounding_box()
    left, top, side = sheet_on(box["width"], box["height"])
    for i, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + left + x * side, box["y"] + top + y * side, steps=1 if i == 0 else 8)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def draw_face(page: Page) -> None:
    """Draw on the pad with the mouse: outline, hair, eyes, brows, nose and mouth."""
    box = page.locator("#sketch-pad canvas").first.bounding_box()
    side = 0.8 * min(box["width"], box["height"])
    left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2

    def line(*points: tuple[float, float]) -> None:
        for i, (x, y) in enumerate(points):
            page.mouse.move(left + x * side, top + y * side)
            if i == 0:
                page.mouse.down()
        page.mouse.up()

    def arc(x: float, y: float, width: float, height: float, start: float, end: float) -> None:
        """Part of an ellipse; angles in turns, clockwise from the right."""
        angles = [2 * pi * (start + (end - start) * i / 12) for i in range(13)]
        line(*((x + width * cos(angle), y + height * sin(angle)) for angle in angles))

    arc(0.5, 0.52, 0.32, 0.43, 0, 1)  # outline
    arc(0.5, 0.4, 0.4, 0.4, 0.45, 1.05)  # hair
    line((0.2, 0.36), (0.4, 0.2), (0.6, 0.22), (0.8, 0.36))
    for x in (0.37, 0.63):
        arc(x, 0.47, 0.06, 0.03, 0, 1)
        line((x - 0.01, 0.47), (x + 0.01, 0.47))
        arc(x, 0.43, 0.09, 0.04, 0.58, 0.92)
    line((0.49, 0.48), (0.45, 0.62), (0.53, 0.64))
    arc(0.5, 0.7, 0.14, 0.07, 0.05, 0.45)
    line((0.36, 0.72), (0.5, 0.735), (0.64, 0.72))

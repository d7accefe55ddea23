"""Make the pictures of the README: a grid of results, and the page in a browser, wide and on a phone.

    python tests/make_pictures.py --output_dir docs/pictures

Needs Debian's `chromium`. All faces are made up: they come from the examples that ship with the starters.
"""

import argparse
import os
import tempfile
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from playwright.sync_api import Page

from psp_hub import PSPModel
from psp_hub.images.face_classes import PALETTE
from psp_hub.images.preprocessing import prepare_drawing, prepare_labels, tensor_to_images
from psp_hub.model_names import STARTERS
from psp_hub.tasks import get_task
from tests.browser import open_page, serve

SIDE, GAP = 200, 6  # of one picture in the grid, and between two
QUALITY = 82
NUM_VARIATIONS = 3
STRENGTH = 0.8
ROWS = (
    ("sketch", "bald-man-with-beard"),
    ("sketch", "man-with-glasses"),
    ("segmentation", "woman-with-hat"),
    ("segmentation", "man"),
    ("super-resolution", "woman-16px"),
    ("inpainting", "woman-eyes"),
    ("frontalization", "grey-haired-man"),
)
DESKTOP, PHONE = {"width": 1280, "height": 1000}, {"width": 390, "height": 844}
# The work of a tab is over when the line below its face says so.
READY = "tab => document.querySelector(`#${tab}-status .wrap`)?.classList.contains('hide')"
FULL_SIZE = "tab => document.querySelector(`#${tab}-face img`)?.naturalWidth === 1024"


def seen(task: str, picture: Image.Image) -> Image.Image:
    """What a person drew, painted or has, in colours."""
    if task == "sketch":
        return prepare_drawing(picture).convert("RGB")
    if task == "super-resolution":
        return picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
    if task == "inpainting":
        return Image.composite(picture.convert("RGB"), Image.new("RGB", picture.size, "grey"), picture.getchannel("A"))
    if task == "frontalization":
        return picture.convert("RGB")
    labels = prepare_labels(picture).convert("P")
    labels.putpalette([value for colour in PALETTE for value in colour])
    return labels.convert("RGB")


@torch.no_grad()
def results() -> Image.Image:
    """A row for each input: what was drawn or painted, its face, and variations."""
    models: dict[str, PSPModel] = {}
    sheet = Image.new("RGB", ((SIDE + GAP) * (2 + NUM_VARIATIONS) - GAP, (SIDE + GAP) * len(ROWS) - GAP), "white")
    for row, (task, name) in enumerate(ROWS):
        if task not in models:
            generator = next((model.generator for model in models.values()), None)
            models[task] = PSPModel.from_pretrained(STARTERS / task, generator=generator)
        model, picture = models[task], Image.open(STARTERS / task / "examples" / f"{name}.png")
        ws = model.encode(picture)
        if steps := get_task(task).refinement_steps:
            ws = model.refine(picture, ws, steps)
        varied = model.mix(ws, seed=1, strength=STRENGTH, num_variations=NUM_VARIATIONS)
        faces = [tensor_to_images(model.decode(one))[0] for one in (ws, *varied.split(1))]
        for column, one in enumerate([seen(task, picture), *faces]):
            place = ((SIDE + GAP) * column, (SIDE + GAP) * row)
            sheet.paste(one.resize((SIDE, SIDE), Image.Resampling.LANCZOS), place)
            ImageDraw.Draw(sheet).rectangle((*place, place[0] + SIDE - 1, place[1] + SIDE - 1), outline="#bbbbbb")
    return sheet


def wait_for_face(page: Page, tab: str) -> None:
    """Until the work of a tab is over, and its face is there in full size."""
    page.wait_for_function(FULL_SIZE, arg=tab)
    page.wait_for_function(READY, arg=tab)
    page.wait_for_timeout(1000)  # what glides comes to rest


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def try_example(page: Page, tab: str, position: int) -> None:
    """Click an example and wait for its faces."""
    page.locator(".gallery-item:visible").nth(position).click()
    page.locator(f"#{tab}-gallery .thumbnail-item img").nth(3).wait_for()
    wait_for_face(page, tab)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(500)


def shoot(page: Page, folder: Path, name: str, size: dict[str, int]) -> None:
    """What is in the window when it has `size`."""
    page.set_viewport_size(size)
    page.wait_for_timeout(1000)
    file = folder / f"{name}.png"
    page.screenshot(path=file)
    with Image.open(file) as picture:
        picture.convert("RGB").save(folder / f"{name}.webp", quality=QUALITY)
    file.unlink()


def screenshots(folder: Path) -> None:
    """The tabs after an example, and one of them on a phone."""
    with (
        tempfile.TemporaryDirectory() as logs,
        serve(log=Path(logs, "log.txt"), environment=dict(os.environ)) as url,
        open_page(url) as (page, _),
    ):
        page.set_default_timeout(300_000)
        page.set_viewport_size(DESKTOP)
        open_tab(page, "Sketch")
        try_example(page, "sketch", 3)
        shoot(page, folder, "sketch", DESKTOP)
        page.locator("#sketch-edit").click()
        wait_for_face(page, "mix")
        page.locator("#mix-smile input[type=number]").fill("1.5")
        page.locator("#mix-glasses input[type=number]").fill("2")
        page.keyboard.press("Tab")
        page.wait_for_timeout(3000)
        wait_for_face(page, "mix")
        shoot(page, folder, "edit", DESKTOP)
        shoot(page, folder, "phone", PHONE)
        page.set_viewport_size(DESKTOP)
        open_tab(page, "Segmentation")
        try_example(page, "segmentation", 2)
        shoot(page, folder, "segmentation", DESKTOP)
        open_tab(page, "Photo")
        page.get_by_role("radio", name="Fill in").click()
        page.get_by_text("paint over what is missing").wait_for()
        page.wait_for_timeout(1000)
        try_example(page, "photo", 3)
        page.locator("#photo-face input").fill("50")
        shoot(page, folder, "photo", DESKTOP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--only", choices=["results", "screenshots"], help="(default: both)")
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    if args.only != "screenshots":
        results().save(args.output_dir / "results.webp", quality=QUALITY)
    if args.only != "results":
        screenshots(args.output_dir)
    for path in sorted(args.output_dir.glob("*.webp")):
        print(f"{path}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()

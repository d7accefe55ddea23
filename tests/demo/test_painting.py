"""The tab of the painted maps: its handlers with a tiny model, and the tab in a browser."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from PIL import Image, ImageDraw
from playwright.sync_api import Page

from psp_hub import PSPModel
from psp_hub.config import CONFIG_NAME
from psp_hub.demo.faces import Answer, make_faces
from psp_hub.demo.page import LAUNCH_OPTIONS, build_demo
from psp_hub.demo.problems import Problem
from psp_hub.demo.segmentation import LEGEND, blank_sheet, make_brush, painted_on, parse_photo, read_map, sheet
from psp_hub.demo.settings import Settings
from psp_hub.face_parser import FaceParser
from psp_hub.generators.fetch import ENVIRONMENT_VARIABLE
from psp_hub.images.face_classes import CLASS_NAMES, PALETTE
from psp_hub.images.label_maps import labels_to_image
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.model_names import STARTERS
from tests.browser import BrowserTab, drag, open_page, serve, sheet_on

EXAMPLES = STARTERS / "segmentation" / "examples"
SKIN, HAIR = 1, 13


@pytest.fixture(scope="module")
def model(labels_dir: Path) -> PSPModel:
    return PSPModel.from_pretrained(labels_dir)


@pytest.fixture(scope="module")
def demo(model: PSPModel) -> gr.Blocks:
    return build_demo([model])


@pytest.fixture(scope="module")
def handlers(demo: gr.Blocks) -> dict[str, Callable]:
    return {function.name: function.fn for function in demo.fns.values() if function.fn}


def label_map(brow: int = 20) -> Image.Image:
    """Hair and skin, and a fringe of hair down to row `brow`."""
    image = Image.new("L", (64, 64), 0)
    pen = ImageDraw.Draw(image)
    pen.ellipse((8, 4, 56, 60), fill=HAIR)
    pen.ellipse((16, 14, 48, 60), fill=SKIN)
    pen.rectangle((16, 10, 48, brow), fill=HAIR)
    return labels_to_image(np.asarray(image))


def on_pad(image: Image.Image) -> dict:
    return {"background": None, "layers": [], "composite": image.convert("RGBA")}


def first(answers: Iterator[Answer]) -> bytes:
    """The face's file, which goes with the iterator."""
    return Path(next(answers)[0]).read_bytes()


def face(model: PSPModel, picture: str | Image.Image, seed: int = 0) -> bytes:
    return first(make_faces(model, picture, Settings(seed, 1, 1.0), gr.Progress()))


def test_a_map_becomes_a_face(model, tmp_path):
    label_map().save(tmp_path / "map.png")
    answers = make_faces(model, str(tmp_path / "map.png"), Settings(3, 2, 1.0), gr.Progress())
    file, gallery, seen, _ = [next(answers) for _ in range(3)][-1]
    assert Path(file).name == "face-seed-3.png" and [caption for _, caption in gallery] == ["seed 4", "seed 5"]
    with Image.open(seen) as image:
        assert (image.mode, image.size) == ("P", (256, 256))
    assert face(model, label_map()) == face(model, sheet(label_map())), "colours or numbers, it is the same map"
    assert face(model, label_map()) != face(model, label_map(brow=40))
    assert face(model, label_map()) != face(model, label_map(), seed=1)


def test_painting(model, handlers):
    def answer(pad: dict | None) -> bytes:
        return first(handlers["paint_to_face"](pad, 0, 1, 1.0, 1.0))

    assert answer(on_pad(sheet(label_map()))) == face(model, label_map())
    hidden = sheet(label_map()).convert("RGBA")
    hidden.putalpha(0)
    for pad in (None, on_pad(blank_sheet()), on_pad(hidden), {"background": None, "layers": [], "composite": None}):
        with pytest.raises(Problem, match="There is nothing on the map yet"):
            answer(pad)
    assert painted_on(on_pad(hidden)) is None
    with pytest.raises(Problem, match="The label map is hair all over"):
        answer(on_pad(Image.new("RGB", (64, 64), PALETTE[HAIR])))


def test_api_handler(model, handlers, tmp_path):
    label_map().save(tmp_path / "map.png")
    map_to_face = handlers["map_to_face"]
    plain = first(map_to_face(str(tmp_path / "map.png"), "CelebAMask-HQ", 0, 1, 1.0, 1.0))
    assert plain == face(model, label_map())
    answers = map_to_face(str(tmp_path / "map.png"), "face-parsing.PyTorch", 0, 1, 1.0, 1.0)
    assert set(np.unique(Image.open(next(answers)[2]))) == {0, SKIN, CLASS_NAMES.index("l_lip")}, (
        "13 is the lower lip there"
    )
    with pytest.raises(Problem, match="There is no map yet"):
        next(map_to_face(None, "CelebAMask-HQ", 0, 1, 1.0, 1.0))


def save_text(path: Path) -> None:
    path.write_text("eyes & nose")


def save_numbers(path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path)


def save_one_class(path: Path) -> None:
    labels_to_image(np.full((64, 64), HAIR)).save(path)


def save_other_colours(path: Path) -> None:
    image = sheet(label_map())
    ImageDraw.Draw(image).rectangle((0, 0, 511, 100), fill=(128, 128, 128))
    image.save(path)


def save_huge(path: Path) -> None:
    Image.new("1", (8100, 8100)).save(path, compress_level=1)


BAD_MAPS = {
    "map.png is not a picture": save_text,
    "numbers that are no class: 19, 20, .* Is it a photo": save_numbers,
    "The label map is hair all over": save_one_class,
    "in colours that are no class, such as #8": save_other_colours,
    "map.png is too large: 8100 x 8100 pixels": save_huge,
}


@pytest.mark.parametrize(("message", "save"), BAD_MAPS.items(), ids=[save.__name__ for save in BAD_MAPS.values()])
def test_bad_map(tmp_path, message, save):
    save(tmp_path / "map.png")
    with pytest.raises(Problem, match=message):
        read_map(str(tmp_path / "map.png"))


def test_photo_uploaded_as_a_map(tmp_path, portrait):
    portrait(256, 0).save(tmp_path / "photo.jpg")
    with pytest.raises(Problem, match="colours that are no class.*Is it a photo"):
        read_map(str(tmp_path / "photo.jpg"))


def test_start_from_a_photo(tmp_path):
    """Of a head without a face, which nobody finds, the middle of the picture is taken."""
    parser = FaceParser.from_starter()
    head = Image.new("RGB", (150, 150), (180, 200, 220))
    pen = ImageDraw.Draw(head)
    pen.ellipse((27, 8, 123, 120), fill=(60, 40, 30))
    pen.ellipse((37, 25, 112, 140), fill=(215, 165, 140))
    wide = Image.new("RGB", (300, 150), "white")
    wide.paste(head, (75, 0))
    wide.save(tmp_path / "photo.png")
    parsed = parse_photo(parser, str(tmp_path / "photo.png"))
    assert (parsed.mode, parsed.size) == ("P", (256, 256))
    middle = parser.label_map(head.resize((256, 256), Image.Resampling.BICUBIC)).numpy()
    assert (np.asarray(parsed) == middle).mean() > 0.99 and len(np.unique(middle)) > 2
    Image.new("RGB", (256, 256), "white").save(tmp_path / "photo.png")
    with pytest.raises(Problem, match="There is no large face in this photo"):
        parse_photo(parser, str(tmp_path / "photo.png"))
    save_text(tmp_path / "photo.png")
    with pytest.raises(Problem, match="photo.png is not a picture"):
        parse_photo(parser, str(tmp_path / "photo.png"))


def start_buttons(demo: gr.Blocks) -> dict[str, bool]:
    """What the painter can start from, and whether it is shown."""
    buttons = [block for block in demo.blocks.values() if isinstance(block, gr.UploadButton)]
    return {button.label: button.visible for button in buttons if button.label in ("Label map", "Photo")}


def test_no_photos_without_a_parser(demo):
    assert start_buttons(demo) == {"Label map": True, "Photo": False}


def test_examples_are_maps():
    files = sorted(EXAMPLES.glob("*.png"))
    assert len(files) >= 4
    for file in files:
        assert SKIN in np.asarray(read_map(str(file)))


def test_legend_names_every_class():
    assert sorted(LEGEND) == sorted(CLASS_NAMES) and len(set(LEGEND.values())) == len(LEGEND)
    assert make_brush("hair", 9).default_color == "#0000cc" and make_brush("hair", 9).default_size == 9
    left, right = (  # of the picture
        np.nonzero(np.asarray(read_map(str(EXAMPLES / "man.png"))) == CLASS_NAMES.index(name))[1].mean()
        for text in ("Left eye", "Right eye")
        for name in LEGEND
        if LEGEND[name] == text
    )
    assert left < right


@pytest.mark.slow
def test_page_of_two_models(model, model_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    demo = build_demo([model, PSPModel.from_pretrained(model_dir)], FaceParser.from_starter())
    titles = [block.label for block in demo.blocks.values() if isinstance(block, gr.Tab)]
    assert titles == ["Sketch", "Draw", "Upload", "Segmentation", "Photo", "Mix & edit", "About"]
    assert start_buttons(demo) == {"Label map": True, "Photo": True}
    label_map().save(tmp_path / "map.png")
    _, url, _ = demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, server_name="127.0.0.1")
    try:
        client = Client(url, verbose=False, download_files=tmp_path / "results")
        endpoints = client.view_api(return_format="dict")["named_endpoints"]
        assert list(endpoints) == ["/draw_to_face", "/map_to_face", "/edit_face"]
        arguments = (handle_file(tmp_path / "map.png"), "CelebAMask-HQ", 0, 2, 1.0, 1.0)
        file, gallery, _ = client.predict(*arguments, api_name="/map_to_face")
        assert Path(file).read_bytes() == face(model, label_map()) and len(gallery) == 2
    finally:
        demo.close(verbose=False)


def number(part: str) -> int:
    """Of a class, by the name in the legend."""
    return next(CLASS_NAMES.index(name) for name, text in LEGEND.items() if text == part)


class Tab(BrowserTab):
    """What a person does on the tab, in a browser."""

    def __init__(self, page: Page):
        super().__init__(page)
        self.face = page.locator("#segmentation-face img")
        self.pad = page.locator("#segmentation-pad canvas").first

    def wait_for(self, part: str, x: float, y: float) -> None:
        """Until the painter shows a part of the face at a point of the map, and fills the pad."""
        pad = "document.querySelector('#segmentation-pad')"
        for _ in range(300):
            picture = Image.open(io.BytesIO(self.pad.screenshot())).convert("RGB")
            left, top, side = sheet_on(*picture.size)
            shown = picture.getpixel((round(left + x * side), round(top + y * side)))
            if shown == PALETTE[number(part)] and self.page.evaluate(
                f"parseInt({pad}.innerText.match(/([0-9]+)%/)[1]) > 90"
            ):
                return
            self.page.wait_for_timeout(200)
        pytest.fail(f"the painter shows {shown} at {x}, {y} instead of {part}")

    def upload(self, button: str, path: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.get_by_role("button", name=button, exact=True).click()
        chooser.value.set_files(path)

    def press(self) -> bytes:
        self.page.get_by_role("button", name="Map to face").click()
        self.page.wait_for_function("!document.querySelector('#segmentation-status .wrap').classList.contains('hide')")
        return self.answer()

    def answer(self) -> bytes:
        """The face once all variations are there."""
        self.page.locator("#segmentation-gallery .thumbnail-item img").nth(3).wait_for()
        self.page.wait_for_function("document.querySelector('#segmentation-status .wrap').classList.contains('hide')")
        self.page.wait_for_function("document.querySelector('#segmentation-face img').naturalWidth > 0")
        return self.page.request.get(self.face.get_attribute("src"), max_retries=3).body()

    def started(self, button: str, path: Path) -> bytes:
        """Upload what the painter starts from; the face that it becomes."""
        before = self.face.get_attribute("src") if self.face.count() else ""
        self.upload(button, path)
        self.face.wait_for()
        self.page.wait_for_function(f"document.querySelector('#segmentation-face img').src !== '{before}'")
        return self.answer()

    def choose(self, part: str) -> None:
        """With the keyboard; then wait until the brush has that colour."""
        radio = self.page.get_by_role("radio", name=part, exact=True)
        radio.focus()
        radio.press("Space")
        colour = "rgb({}, {}, {})".format(*PALETTE[number(part)])
        button = """document.querySelector('#segmentation-pad button[aria-label="Color"]')"""
        self.page.wait_for_function(f"{button}.style.color === '{colour}'")

    def paint(self, *points: tuple[float, float]) -> None:
        """A stroke; points in parts of the map."""
        drag(self.page, self.pad, points)


@pytest.mark.slow
def test_start_from_a_photo_that_nobody_prepared(first_start, tmp_path):
    parser, generator = FaceParser.from_starter(), first_start.generator
    with torch.no_grad():
        w = generator.mapping(torch.randn(1, 512, generator=torch.Generator().manual_seed(2)), truncation_psi=0.6)
        face = tensor_to_images(generator.synthesis(w[:, None].repeat(1, generator.num_ws, 1)))[0]
    photo = Image.new("RGB", (900, 500), (90, 120, 60))
    photo.paste(face.resize((300, 300)), (30, 120))  # far from the middle
    photo.rotate(10, Image.Resampling.BICUBIC).save(tmp_path / "holiday.png")
    parsed, upright = parse_photo(parser, str(tmp_path / "holiday.png")), parser.label_map(face)
    assert (np.asarray(parsed) == upright.numpy())[40:216, 40:216].mean() > 0.85


@pytest.mark.slow
def test_a_person_at_the_painter(labels_dir, model_dir, tmp_path, portrait):
    paths = {name: tmp_path / name for name in ("map.png", "photo.jpg", "numbers.png", "one.png")}
    label_map().save(paths["map.png"])
    portrait(256, 0).save(paths["photo.jpg"])
    save_numbers(paths["numbers.png"])
    save_one_class(paths["one.png"])
    arguments = ["--model", str(model_dir), "--model", str(labels_dir)]
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    log = tmp_path / "log.txt"
    with serve(*arguments, log=log, environment=environment) as url, open_page(url) as (page, troubles):
        tab = Tab(page)
        page.get_by_role("tab", name="Segmentation").click()
        page.locator("#segmentation-pad button[aria-label='Brush']").wait_for()
        page.screenshot(path=tmp_path / "empty.png", full_page=True)
        for name, message in (
            ("photo.jpg", "Is it a photo?"),
            ("numbers.png", "numbers that are no class"),
            ("one.png", "The label map is hair all over"),
        ):
            tab.upload("Label map", paths[name])
            tab.expect_message(message)

        first = tab.started("Label map", paths["map.png"])
        tab.wait_for("Skin", 0.5, 0.5)
        assert tab.press() == first, "the painter has the map that was uploaded"
        tab.choose("Glasses")
        tab.paint((0.3, 0.45), (0.7, 0.45))
        second = tab.press()
        assert second != first
        page.screenshot(path=tmp_path / "answer.png", full_page=True)

        parsed = parse_photo(FaceParser.from_starter(), str(paths["photo.jpg"]))
        assert tab.started("Photo", paths["photo.jpg"]) != second
        tab.wait_for(LEGEND[CLASS_NAMES[parsed.getpixel((128, 160))]], 0.5, 0.625)
        page.get_by_role("button", name="Blank", exact=True).click()
        tab.wait_for("Background", 0.5, 0.5)
        page.get_by_role("button", name="Map to face").click()
        tab.expect_message("There is nothing on the map yet")
        page.set_viewport_size({"width": 390, "height": 844})
        assert not tab.overflows()
        page.screenshot(path=tmp_path / "phone.png", full_page=True)
        assert "Traceback" not in log.read_text()
    assert troubles == []


@pytest.mark.slow
@pytest.mark.skipif(not (STARTERS / "segmentation" / CONFIG_NAME).is_file(), reason="there is no starter for maps")
def test_what_is_painted_is_seen_in_the_face(first_start, tmp_path):
    """Hair painted where there was none is found there again by the face parser."""
    environment = {name: value for name, value in os.environ.items() if name != ENVIRONMENT_VARIABLE}
    environment |= {"HF_ASSETS_CACHE": str(first_start.assets), "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}
    parser, log = FaceParser.from_starter(), tmp_path / "log.txt"

    def parse(file: bytes) -> np.ndarray:
        return parser.label_map(Image.open(io.BytesIO(file))).numpy()

    with serve(log=log, environment=environment) as url, open_page(url) as (page, troubles):
        tab = Tab(page)
        page.get_by_role("tab", name="Segmentation").click()
        page.locator("#segmentation-pad button[aria-label='Brush']").wait_for()
        before = parse(tab.started("Label map", EXAMPLES / "man.png"))
        tab.wait_for("Skin", 0.4, 0.6)
        tab.choose("Hair")
        page.get_by_label("number input for Brush size").fill("60")
        page.keyboard.press("Enter")
        beside = [(x, y) for x in (0.14, 0.86) for y in (0.3, 0.9)]
        tab.paint(*beside[:2])
        tab.paint(*beside[2:])
        after = parse(tab.press())
        page.screenshot(path=tmp_path / "answer.png", full_page=True)
    region = np.zeros((256, 256), bool)
    region[77:230, 20:52] = region[77:230, 204:236] = True
    assert ((after == HAIR) & region).sum() > ((before == HAIR) & region).sum() + 0.1 * region.sum()
    assert (after != before)[region].mean() > 2 * (after != before)[~region].mean()
    assert troubles == []

"""The tab of photos: what it does with tiny models, its endpoints, and the tab in a browser."""

import io
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image, ImageDraw
from playwright.sync_api import Page

from psp_hub import PSPConfig, PSPModel
from psp_hub.alignment.cut_out import cut_out
from psp_hub.demo.page import LAUNCH_OPTIONS
from psp_hub.demo.photo.crops import BRUSH, GAP, Crop, blend, read_crop
from psp_hub.demo.photo.handlers import Handlers, with_painting
from psp_hub.demo.photo.portraits import Painting, Portrait, load_portrait, paint_portrait, stoppable
from psp_hub.demo.photo.tab import add_photo
from psp_hub.demo.problems import Problem, problems
from psp_hub.demo.settings import Settings
from psp_hub.generators import load_generator
from psp_hub.images.preprocessing import images_to_tensor
from psp_hub.latents_file import load_latents, save_latents
from psp_hub.model_names import STARTERS
from tests.browser import drag, open_accordion, open_page, serve

CHILD = STARTERS / "inversion" / "examples" / "child.png"
TINY = STARTERS / "super-resolution" / "examples" / "woman-16px.png"
GAPPED = STARTERS / "inpainting" / "examples" / "woman-eyes.png"
KINDS = {"inversion": ("photo", 3), "super-resolution": ("photo", 3), "inpainting": ("masked", 4)}


@pytest.fixture(scope="module")
def models(generator_dir: Path, make_encoder: Callable) -> dict[str, PSPModel]:
    generator = load_generator(generator_dir)
    return {
        task: PSPModel(make_encoder(in_channels=channels), generator, PSPConfig(task, kind))
        for task, (kind, channels) in KINDS.items()
    }


@pytest.fixture(scope="module")
def crop(portrait: Callable) -> Crop:
    return Crop(portrait(64, 3))


@pytest.fixture(scope="module")
def gapped(crop: Crop) -> Crop:
    missing = Image.new("L", crop.image.size)
    missing.paste(255, (8, 16, 40, 40))
    return replace(crop, missing=missing)


@pytest.fixture
def handlers(models: dict[str, PSPModel]) -> Handlers:
    return Handlers(models, {task: [] for task in models})


def paint(model: PSPModel, portrait: Portrait, **settings: float) -> Iterator[tuple[Painting, list[bytes]] | None]:
    """What is painted, and the files of the face and its variations."""
    with tempfile.TemporaryDirectory() as folder, problems():
        for painting in paint_portrait(model, portrait, Settings.checked(**settings), folder, gr.Progress()):
            if painting is None:
                yield None
            else:
                paths = [painting.face, *(path for path, _ in painting.gallery)]
                yield painting, [Path(path).read_bytes() for path in paths]


def make(model: PSPModel, crop: Crop, **settings: float) -> tuple[np.ndarray, list[bytes], list[str]]:
    """The styles of the face, the files of it and its variations, and the captions."""
    *_, (painting, files) = paint(model, Portrait(model.config.task, None, crop), **settings)
    return painting.ws, files, [caption for _, caption in painting.gallery]


def scene(path: Path, *faces: tuple[int, int, int], angle: float = 0) -> Image.Image:
    """The child of the examples on a plain ground: (size, left, top) each; the whole turned."""
    picture = Image.new("RGB", (900, 640), (60, 90, 80))
    for size, left, top in faces:
        with Image.open(CHILD) as face:
            picture.paste(face.resize((size, size), Image.Resampling.BICUBIC), (left, top))
    picture = picture.rotate(angle, Image.Resampling.BICUBIC, fillcolor=(60, 90, 80))
    picture.save(path)
    return picture


def difference(a: Image.Image, b: Image.Image) -> float:
    a, b = (np.asarray(image.convert("RGB").resize((128, 128), Image.Resampling.BICUBIC), float) for image in (a, b))
    return float(np.abs(a - b).mean())


# Crops


@pytest.mark.slow
def test_the_largest_face_is_cut_out(tmp_path):
    scene(tmp_path / "photo.png", (400, 440, 120), (220, 60, 200), angle=20)
    crop = read_crop(str(tmp_path / "photo.png"), "inversion")
    assert crop.note == "There are 2 faces in this photo: the largest one is used."
    with Image.open(CHILD) as face:
        middle = (24, 24, 232, 232)
        assert difference(crop.image.resize((256, 256)).crop(middle), face.crop(middle)) < 14
    assert crop.image.size == (512, 512)


@pytest.mark.slow
def test_a_mask_goes_where_the_face_goes(tmp_path):
    photo = scene(tmp_path / "photo.png", (400, 300, 120), angle=-15)
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).ellipse((400, 250, 470, 300), fill=255)
    mask.save(tmp_path / "mask.png")
    photo.paste("#ff00ff", mask=mask)
    photo.save(tmp_path / "photo.png")
    crop = read_crop(str(tmp_path / "photo.png"), "inpainting", str(tmp_path / "mask.png"))
    red, green, blue = np.moveaxis(np.asarray(crop.image, float), -1, 0)
    painted, missing = np.minimum(red, blue) - green > 120, np.asarray(crop.missing) > 127
    assert (painted & missing).sum() > 0.9 * (painted | missing).sum() > 1000


def test_a_small_square_picture_is_upscaled_as_it_is(tmp_path):
    crop = read_crop(str(TINY), "super-resolution")
    assert (crop.image.size, crop.seen.size, crop.shown.size) == ((16, 16), (16, 16), (1024, 1024))
    assert crop.note == "The picture is small and square: all of it is used."


@pytest.mark.slow
def test_no_face(tmp_path):
    with pytest.raises(Problem, match="The face is too small|No face was found"):
        read_crop(str(TINY), "inversion")
    Image.new("RGB", (200, 140), "teal").save(tmp_path / "wall.png")
    with pytest.raises(Problem, match="No face was found"):
        read_crop(str(tmp_path / "wall.png"), "super-resolution")


def test_what_is_no_picture(tmp_path):
    (tmp_path / "face.png").write_text("not a picture")
    for task in KINDS:
        with pytest.raises(Problem, match="face.png is not a picture"):
            read_crop(str(tmp_path / "face.png"), task)


@pytest.mark.slow
def test_what_is_transparent_is_missing():
    crop = read_crop(str(GAPPED), "inpainting")
    with Image.open(GAPPED) as image:
        hole = np.asarray(image.getchannel("A")) == 0
    missing = np.asarray(crop.missing.resize((256, 256), Image.Resampling.NEAREST)) > 0
    assert (hole ^ missing).mean() < 0.01 < hole.mean()
    assert crop.seen.getchannel("A").getpixel((crop.image.width // 2, round(0.47 * crop.image.width))) == 0
    assert crop.shown.getpixel((512, 481)) == tuple(bytes.fromhex(GAP[1:]))
    assert read_crop(str(GAPPED), "inversion").missing is None


def test_a_mask_that_does_not_fit(tmp_path):
    for mask, message in (
        (Image.new("L", (100, 120)), "The mask has 100 x 120 pixels, expected the shape of the photo, 256 x 256"),
        (Image.new("L", (256, 256)), "The mask is black all over"),
        (Image.new("RGB", (256, 256), "white"), "The mask is white all over"),
    ):
        mask.save(tmp_path / "mask.png")
        with pytest.raises(Problem, match=message):
            read_crop(str(CHILD), "inpainting", str(tmp_path / "mask.png"))


@pytest.mark.slow
def test_a_painting_without_a_face_is_taken_whole_where_something_is_missing(gapped):
    noise = Image.effect_noise((300, 310), 60).convert("RGB")
    with pytest.raises(ValueError, match="No face"):
        cut_out(noise, masked=True)
    (crop,) = cut_out(noise, masked=True, mask=gapped.missing.resize(noise.size))
    assert crop.image.size == crop.missing.size == (310, 310) and "used as it is" in crop.note


def test_what_is_painted_over(crop, gapped):
    layer = Image.new("RGBA", (512, 512))
    layer.paste(BRUSH, (320, 320, 512, 512))
    painted = np.asarray(with_painting(crop, {"layers": [layer]}).missing) > 0
    assert painted[40:, 40:].all() and painted.mean() == (24 / 64) ** 2
    both = np.asarray(with_painting(gapped, {"layers": [layer]}).missing) > 0
    assert (both == painted | (np.asarray(gapped.missing) > 0)).all()
    assert with_painting(gapped, None).missing.tobytes() == gapped.missing.tobytes()
    assert gapped.painted.getpixel((160, 220)) == tuple(bytes.fromhex(BRUSH[1:]))
    for empty in (None, {"layers": []}, {"layers": [Image.new("RGBA", (512, 512))]}):
        with pytest.raises(Problem, match="Nothing is painted over yet"):
            with_painting(crop, empty)
    with pytest.raises(Problem, match="All of the photo is painted over"):
        with_painting(crop, {"layers": [Image.new("RGBA", (512, 512), BRUSH)]})


def test_blending_keeps_what_is_known(gapped):
    face = Image.new("RGB", (256, 256), "red")
    mixed, photo = (np.asarray(image, int) for image in (blend(face, gapped), gapped.image.resize(face.size, 3)))
    missing = np.asarray(gapped.missing.resize(face.size, Image.Resampling.NEAREST)) > 0
    inside = (
        missing & np.roll(missing, 4, 0) & np.roll(missing, -4, 0) & np.roll(missing, 4, 1) & np.roll(missing, -4, 1)
    )
    assert (mixed[inside] == (255, 0, 0)).all()
    changed = (np.abs(mixed - photo).max(axis=-1) > 2) & ~missing
    assert 0 < changed.sum() == changed[54:170, 22:170].sum(), "the edge is soft, and narrow"


# Faces


def test_a_face_and_its_variations(models, crop):
    model = models["super-resolution"]
    ws, files, captions = make(model, crop, seed=7, variations=2)
    assert captions == ["seed 7", "seed 8"] and len(set(files)) == 3
    assert np.array_equal(ws, model.encode(crop.image)[0].detach().numpy()), "the face itself is the answer"
    assert make(model, crop, seed=7, variations=2)[1] == files
    assert make(model, crop, seed=8, variations=1)[1][1] == files[2]
    assert len(set(make(model, crop, variations=2, strength=0.0)[1])) == 1
    assert make(model, crop, likeness=0.5)[1] != files[:1]


@pytest.mark.parametrize("task", KINDS)
def test_what_variations_change(models, crop, gapped, task):
    """The colours of a photo, which shows the features; the features of a picture that does not."""
    portrait = Portrait(
        task, models[task].encode(gapped.seen if task == "inpainting" else crop.seen)[0].detach().numpy(), crop
    )
    *_, (_, files) = paint(models[task], portrait, variations=1, strength=1.0)
    groups = ("fine",) if task == "inversion" else ("medium",)
    mixed = models[task].mix(torch.from_numpy(portrait.ws)[None], seed=1, groups=groups)
    *_, (_, expected) = paint(models[task], replace(portrait, ws=mixed[0].numpy()))
    assert files[1:] == expected


@pytest.mark.parametrize(
    ("name", "settings"), [("seed", {"seed": 1.5}), ("steps", {"steps": 101}), ("variations", {"variations": 9})]
)
def test_numbers_out_of_range(models, crop, name, settings):
    with pytest.raises(Problem, match=f"{name} must be a whole number"):
        make(models["inversion"], crop, **settings)


def test_the_rest_of_the_photo_is_kept_or_painted(models, gapped, tmp_path):
    pictures = []
    for keep in (True, False):
        (tmp_path / "face.png").write_bytes(make(models["inpainting"], gapped, keep=keep)[1][0])
        pictures.append(Image.open(tmp_path / "face.png").convert("RGB"))
    kept, painted = pictures
    known, gap = (0, 46, 64, 64), (12, 20, 36, 36)
    assert (
        difference(kept.crop(known), gapped.image.crop(known))
        < 2
        < difference(painted.crop(known), gapped.image.crop(known))
    )
    assert difference(kept.crop(gap), painted.crop(gap)) < 1


@pytest.mark.parametrize("task", KINDS)
def test_refinement_comes_closer(models, crop, gapped, task):
    model, crop = models[task], gapped if task == "inpainting" else crop
    *steps, (painting, _) = paint(model, Portrait(task, None, crop), steps=6)
    assert steps == [None] * 6

    def error(ws: np.ndarray) -> float:
        with torch.no_grad():
            image = model.decode(torch.from_numpy(ws)[None])
        known = 1.0 if crop.missing is None else images_to_tensor([crop.missing.convert("RGB")]) < 0
        return ((image - images_to_tensor([crop.image])) * known).square().mean().item()

    assert error(painting.ws) < 0.95 * error(make(model, crop)[0])


def test_what_is_small_is_refined_at_once(models, handlers, crop):
    for task, steps in (("inversion", 0), ("super-resolution", 20)):
        *waiting, last = handlers.make(task, crop, None, True, False, 1, 0, 0.5, 1.0)
        assert len(waiting) == steps
        assert np.array_equal(last[2].ws, make(models[task], crop, steps=steps)[0])


def test_latents_come_back_as_the_same_face(models, crop, tmp_path):
    model = models["inversion"]
    settings = Settings()
    painting = next(paint_portrait(model, Portrait("inversion", None, crop), settings, str(tmp_path), gr.Progress()))
    face = Path(painting.face).read_bytes()
    assert load_latents(painting.latents).metadata["task"] == "inversion"
    portrait, note = load_portrait(model, painting.latents, None)
    assert note == "" and [files for _, files in paint(model, portrait)] == [[face]]
    save_latents(tmp_path / "two.safetensors", torch.randn(2, 8, 32), generator=None, task=None)
    assert load_portrait(model, str(tmp_path / "two.safetensors"), None)[1].startswith("There are 2 faces")
    save_latents(tmp_path / "other.safetensors", torch.randn(1, 16, 512), generator="other", task=None)
    with pytest.raises(Problem, match="other"):
        load_portrait(model, str(tmp_path / "other.safetensors"), None)


def test_closing_stops_the_work():
    steps, ended = [], threading.Event()

    def work(tell: Callable[[int], None]) -> None:
        try:
            for step in range(1, 10_000):
                time.sleep(0.001)
                steps.append(step)
                tell(step)
        finally:
            ended.set()

    walk = stoppable(work)
    assert [next(walk), next(walk)] == [1, 2]
    walk.close()
    assert ended.is_set() and len(steps) < 1000


def test_errors_of_the_work_arrive():
    def work(tell: Callable[[int], None]) -> None:
        tell(1)
        raise ValueError("no")

    walk = stoppable(work)
    assert next(walk) == 1
    with pytest.raises(ValueError, match="no"):
        next(walk)


# Handlers


@pytest.mark.slow
def test_a_photo_that_does_not_suit_what_is_chosen_next(handlers):
    path, crop, *_ = handlers.reread_photo(str(TINY), "super-resolution")
    assert crop.image.size == (16, 16)
    again, crop, preview, pad, status, which = handlers.reread_photo(path, "inpainting")
    assert again == path and crop is None and not any(one["visible"] for one in (preview, pad, which))
    assert status.startswith(("The face is too small", "No face was found"))
    assert handlers.reread_photo(again, "super-resolution")[1] is not None


def test_a_task_without_a_model_says_how_to_get_one(models):
    handlers = Handlers({"inversion": models["inversion"]}, {"inversion": []})
    _, missing, rest, *_ = handlers.choose("inpainting")
    assert missing["visible"] and not rest["visible"] and "--task inpainting" in missing["value"]
    _, missing, rest, *_ = handlers.choose("inversion")
    assert not missing["visible"] and rest["visible"]


def test_a_face_from_a_file_needs_no_model_of_what_is_chosen(models, crop, tmp_path):
    handlers = Handlers({"inversion": models["inversion"]}, {"inversion": []})
    save_latents(tmp_path / "face.safetensors", torch.randn(1, 8, 32), generator=None, task=None)
    face, gallery, portrait, _ = next(
        handlers.load(str(tmp_path / "face.safetensors"), "inpainting", crop, True, False)
    )
    assert Path(face["after"]["path"]).name == "face.png" and not gallery["visible"]
    assert portrait.ws.shape == (8, 32) and portrait.crop is crop


def test_buttons_before_there_is_a_face(handlers, crop):
    settings = (1, 1, 0.5, 1.0)
    for answers, message in (
        (handlers.make("inversion", None, None, True, False, *settings), "There is no photo yet"),
        (handlers.make("inpainting", crop, None, True, False, *settings), "Nothing is painted over yet"),
        (handlers.refine(None, crop, True, False, 5), "There is no face yet"),
        (handlers.vary(None, True, False, *settings), "There is no face yet"),
        (
            handlers.refine(Portrait("inversion", np.zeros((8, 32), np.float32), None), None, True, False, 5),
            "upload its photo",
        ),
    ):
        with pytest.raises(Problem, match=message):
            next(answers)
    assert list(handlers.repaint(None, True, False, *settings)) == [gr.skip()]


@pytest.mark.slow
def test_a_face_goes_back_into_its_photo(handlers, tmp_path):
    """The one that is chosen, and once more after it was edited elsewhere; the rest of the photo stays."""
    photo = scene(tmp_path / "photo.png", (300, 60, 120), (400, 460, 120))
    *_, which = handlers.read_photo(str(tmp_path / "photo.png"), "inversion")
    assert (which["choices"], which["value"], which["visible"]) == ([1, 2], None, True)
    crop, *_ = handlers.read_photo(str(tmp_path / "photo.png"), "inversion", 1)[1:]

    def difference_to(answers: Iterator) -> np.ndarray:
        face, _, portrait, _ = next(answers)
        before, after = (np.asarray(Image.open(face[key]["path"]).convert("RGB"), int) for key in ("before", "after"))
        assert before.shape == after.shape == np.asarray(photo).shape and np.abs(before - np.asarray(photo)).mean() < 4
        different = (after != np.asarray(photo)).any(axis=-1)
        assert not different[:, 380:].any() and not different[:110].any()
        shown.append(portrait)
        return different

    shown: list[Portrait] = []
    assert difference_to(handlers.make("inversion", crop, None, True, True, 1, 0, 0.5, 1.0)).mean() > 0.01
    edited = shown[0].ws + np.float32(0.3)
    portrait, paste, _ = handlers.take_back(shown[0], edited)
    assert paste is True and difference_to(handlers.show(portrait, True, True)).mean() > 0.01
    assert np.array_equal(shown[1].ws, edited)


def test_a_face_without_its_photo(models, handlers, crop, tmp_path):
    save_latents(tmp_path / "face.safetensors", torch.randn(1, 8, 32), generator=None, task=None)
    for there, message in (  # the crop is of a picture that was no file
        (None, "This face came from a file: upload its photo first"),
        (crop, "There is no photo that this face could be put back into"),
    ):
        with pytest.raises(Problem, match=message):
            next(handlers.load(str(tmp_path / "face.safetensors"), "inversion", there, True, True))
        with pytest.raises(Problem, match="There is no photo to put this face into"):
            handlers.take_back(None if there is None else Portrait("inversion", None, there), None)
    assert list(handlers.show(None, True, True)) == [gr.skip()]


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
        }

        face, gallery, seen, latents = client.predict(photo=handle_file(CHILD), variations=1, api_name="/reconstruct")
        assert (len(gallery), Image.open(face).size, Image.open(seen).size) == (1, (64, 64), (1024, 1024))
        assert load_latents(latents).ws.shape == (1, 8, 32)
        refined = client.predict(photo=handle_file(CHILD), steps=3, api_name="/reconstruct")[3]
        assert not load_latents(refined).ws.equal(load_latents(latents).ws)
        assert len(client.predict(photo=handle_file(TINY), variations=2, api_name="/upscale")[1]) == 2
        defaults = {name: end["parameters"][-3]["parameter_default"] for name, end in endpoints.items()}
        assert defaults == {"/reconstruct": 0, "/upscale": 20, "/fill_in": 0}

        photo = scene(tmp_path / "photo.png", (300, 60, 120), (400, 460, 120))
        pasted = [
            Image.open(client.predict(photo=handle_file(tmp_path / "photo.png"), **typed, api_name="/reconstruct")[0])
            for typed in ({"paste_back": True}, {"paste_back": True, "face": 1})
        ]
        for picture, changed in zip(pasted, ((False, True), (True, False)), strict=True):
            different = (np.asarray(photo) != np.asarray(picture.convert("RGB"))).any(axis=-1)
            assert (different[:, :450].any(), different[:, 450:].any()) == changed
        with pytest.raises(AppError, match="There are 2 faces in this photo; got number 3"):
            client.predict(photo=handle_file(tmp_path / "photo.png"), face=3, api_name="/reconstruct")

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


# In a browser


@pytest.fixture(scope="module")
def arguments(models: dict[str, PSPModel], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of app.py: the three models."""
    folder = tmp_path_factory.mktemp("models")
    for task, model in models.items():
        model.save_pretrained(folder / task)
    return [part for task in models for part in ("--model", str(folder / task))]


class Tab:
    """What a person does on the tab."""

    def __init__(self, page: Page):
        self.page = page
        page.set_default_timeout(180_000)  # one busy core is enough
        self.face = page.locator("#photo-face img.after")
        self.variations = page.locator("#photo-gallery .thumbnail-item img")
        page.get_by_role("tab", name="Photo").click()

    def expect_message(self, text: str) -> None:
        toast = self.page.get_by_test_id("toast-body")
        toast.filter(has_text=text).wait_for()
        toast.get_by_test_id("toast-close").evaluate_all(
            "all => all.forEach(button => button.click())"
        )  # if still there
        toast.wait_for(state="detached")

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

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def choose(self, name: str) -> None:
        self.page.get_by_role("radio", name=name, exact=True).click()


@pytest.mark.slow
def test_a_person_with_a_photo(arguments, tmp_path):
    environment, log = {**os.environ, "GRADIO_TEMP_DIR": str(tmp_path / "gradio")}, tmp_path / "log.txt"
    (tmp_path / "notes.png").write_text("not a picture")
    with serve(*arguments, log=log, environment=environment) as url, open_page(url) as (page, troubles):
        tab = Tab(page)

        def shoot(name: str) -> None:
            page.screenshot(path=tmp_path / f"{name}.png", full_page=True)

        tab.press("Rebuild the face")
        tab.expect_message("There is no photo yet.")
        tab.upload(tmp_path / "notes.png")
        tab.expect_message("notes.png is not a picture")
        tab.upload(CHILD)
        page.locator("#photo-seen img").wait_for()
        first = tab.answer(lambda: tab.press("Rebuild the face"))
        assert Image.open(io.BytesIO(first)).size == (64, 64) and tab.variations.count() == 0
        shoot("reconstruct")

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
        tab.press("Refine")
        page.get_by_text("of 100, about").first.wait_for()
        tab.press("Stop")
        assert tab.shown() == first, "what was there stays"
        page.get_by_label("number input for Number of steps").fill("5")
        refined = tab.answer(lambda: tab.press("Refine"))
        assert refined != first

        page.get_by_role("button", name="Keep this face for later").click()
        with page.expect_download() as download:
            page.locator("#photo-download").click()
        download.value.save_as(tmp_path / "face.safetensors")
        assert tab.answer(lambda: tab.press("Rebuild the face")) == first
        assert tab.answer(lambda: tab.load(tmp_path / "face.safetensors")) == refined

        tab.choose("Fill in")
        page.locator("#photo-pad canvas").first.wait_for()
        tab.press("Fill in")
        tab.expect_message("Nothing is painted over yet")
        page.wait_for_timeout(1000)
        drag(page, page.locator("#photo-pad canvas").first, [(0.3, 0.7), (0.7, 0.7)])
        filled = tab.answer(lambda: tab.press("Fill in"))
        tab.variations.nth(3).wait_for()
        shoot("fill-in")
        keep = page.get_by_label("Keep the rest of the photo as it is")
        assert tab.answer(keep.click) != filled

        tab.choose("Upscale")
        page.get_by_text("16 to 64 pixels").wait_for()
        tab.answer(page.locator(".gallery-item:visible").first.click)
        page.get_by_text("The picture is small and square").wait_for()
        page.set_viewport_size({"width": 390, "height": 844})
        assert not page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        shoot("phone")
        tab.press("Edit this face")
        page.locator("#mix-face img").wait_for()
        assert "Traceback" not in log.read_text()
    assert troubles == []

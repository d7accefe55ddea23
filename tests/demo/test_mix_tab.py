"""The tab Mix & edit: what it does with a tiny model, and the tab in a browser."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Page

from psp_hub import PSPConfig, PSPModel
from psp_hub.demo.mix import edits
from psp_hub.demo.mix.edits import COLUMNS, FRAMES, STRIP
from psp_hub.demo.mix.recipes import GROUPS, Painter, Recipe, from_link, source_ws
from psp_hub.demo.mix.tab import MixTab, add_mix, add_recipes
from psp_hub.demo.page import LAUNCH_OPTIONS, build_demo, painter_of
from psp_hub.demo.parts import example_files
from psp_hub.demo.problems import Problem
from psp_hub.directions import Direction
from psp_hub.generators import load_generator
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.latents import style_indices
from psp_hub.latents_file import load_latents, save_latents
from psp_hub.model_names import STARTERS
from tests.browser import BrowserTab, open_page

SMILE = Direction("smile", "serious … smiling", torch.randn(1, 32), -2.0, 3.0, ("medium",))
OWN = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
RECIPES = {
    "plain": Recipe(3),
    "seeded": Recipe(5, {"coarse": 7, "fine": 9}, {"coarse": 0.3}, 0.85, {"smile": 1.25}),
    "unseeded": Recipe(OWN, {"medium": 2}, {"medium": 0.35}, 1.1, {"smile": -0.1}),
}


@pytest.fixture(scope="module")
def painter(generator_dir: Path) -> Painter:
    return Painter(load_generator(generator_dir), "tiny", {"smile": SMILE})


@pytest.fixture(scope="module")
def demo(painter: Painter) -> gr.Blocks:
    with gr.Blocks() as demo:
        with gr.Tab() as tab:
            demo.mix = add_mix(painter, tab)
    return demo


@pytest.fixture(scope="module")
def mix(demo: gr.Blocks) -> MixTab:
    return demo.mix


@pytest.fixture(scope="module")
def handlers(demo: gr.Blocks) -> dict[str, Callable]:
    return {function.name: function.fn for function in demo.fns.values() if function.fn}


def shown(mix: MixTab, answer: Iterator[dict]) -> SimpleNamespace:
    """What a handler shows; its files go with the iterator."""
    values = next(answer)
    names = {name: component for name, component in vars(mix.editor.shown).items() if component in values}
    seen = SimpleNamespace(**{name: values[component] for name, component in names.items()}, values=values)
    for name in ("face", "recipe_file", "latents_file"):
        path = Path(getattr(seen, name))
        setattr(seen, name, SimpleNamespace(name=path.name, data=path.read_bytes()))
    return seen


def picture(painter: Painter, recipe: Recipe) -> bytes:
    ws = recipe.ws(painter.generator, painter.directions)
    with torch.no_grad():
        return tensor_to_images(painter.generator.synthesis(ws))[0].tobytes()


def pixels(png: bytes) -> bytes:
    return Image.open(io.BytesIO(png)).tobytes()


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_saved_is_shown_again(mix, painter, tmp_path, name):
    recipe = RECIPES[name]
    first = shown(mix, mix.editor.show(recipe))
    assert pixels(first.face.data) == picture(painter, recipe)
    for file in (first.recipe_file, first.latents_file):
        (tmp_path / file.name).write_bytes(file.data)
        again = shown(mix, mix.editor.load(str(tmp_path / file.name)))
        assert again.face.data == first.face.data
        assert (again.latents == first.latents).all()
    assert first.recipe_file.name == ("face.json" if name == "unseeded" else f"face-{recipe.start}.json")
    metadata = load_latents(tmp_path / first.latents_file.name, painter.generator).metadata
    assert metadata["generator"] == "tiny"
    if name == "unseeded":
        assert "do not fit" in first.link or "Only faces" in first.link
    else:
        link = first.link.split("?face=")[1].split('"')[0]
        assert shown(mix, mix.editor.show(from_link(link, painter))).face.data == first.face.data


def test_a_loaded_face_sets_the_controls(mix):
    controls = mix.editor.controls
    values = shown(mix, mix.editor.show_all(RECIPES["seeded"])).values
    assert (values[controls.seed], values[controls.likeness], values[controls.steps["smile"]]) == (5, 0.85, 1.25)
    assert [values[controls.strengths[group]] for group in GROUPS] == [0.3, 1, 1]
    assert shown(mix, mix.editor.show_all(RECIPES["unseeded"])).values[controls.seed] is None


def test_sliders(mix, painter):
    """In the order in which the page sends them: likeness, strengths, steps."""
    recipe = Recipe(5, {"coarse": 7, "fine": 9})
    seen = shown(mix, mix.editor.slide(recipe, 0.85, 0.3, 1, 1, 1.25))
    assert pixels(seen.face.data) == picture(painter, RECIPES["seeded"])
    assert shown(mix, mix.editor.slide(None, 1, 1, 1, 1, 0)).face.data == shown(mix, mix.editor.open(None)).face.data
    back = shown(mix, mix.editor.reset_steps(seen.recipe))
    assert pixels(back.face.data) == picture(painter, Recipe(5, {"coarse": 7, "fine": 9}, {"coarse": 0.3}, 0.85))
    assert back.values[mix.editor.controls.steps["smile"]] == 0
    plain = shown(mix, mix.editor.reset_parts(back.recipe))
    assert pixels(plain.face.data) == picture(painter, Recipe(5, truncation_psi=0.85))


def test_numbers_and_opening(mix, painter):
    seen = shown(mix, mix.editor.choose(RECIPES["unseeded"], 11.0))
    assert (seen.recipe.start, seen.face.name) == (11, "face-11.png")
    assert next(mix.editor.choose(None, None)) == next(mix.editor.open(Recipe())) == gr.skip()
    for bad in (1.5, -1, 2**32):
        with pytest.raises(Problem, match="The number of the face must be a whole number from 0 to 4294967295"):
            next(mix.editor.choose(None, bad))


def test_dice(mix, painter):
    recipe = RECIPES["seeded"]
    free = edits.roll(recipe, [], 77)
    assert (free.start, free.parts, free.truncation_psi, free.steps) == (77, {}, 0.85, recipe.steps)
    before, after = (
        one.ws(painter.generator, painter.directions) for one in (recipe, edits.roll(recipe, ["coarse", "fine"], 77))
    )
    medium = style_indices("medium", 8)
    locked = style_indices(("coarse", "fine"), 8)
    assert torch.equal(before[:, locked], after[:, locked]) and not torch.equal(before[:, medium], after[:, medium])
    rolled = edits.roll(recipe, ["medium", "fine"], 77)
    assert rolled.parts["coarse"] == 77 and rolled.strengths.get("coarse", 1) == 1, "all of it, whatever was mixed"
    with pytest.raises(Problem, match="Everything is locked"):
        next(mix.editor.roll(recipe, list(GROUPS)))
    first, second = (shown(mix, mix.editor.roll(recipe, [])).recipe.start for _ in range(2))
    assert first != second


def test_gallery(mix, painter, handlers):
    recipe = RECIPES["seeded"]
    answers = list(handlers["fill"](recipe))
    assert len(answers) == len(GROUPS) * COLUMNS
    seed = next(value for component, value in answers[0].items() if isinstance(component, gr.State))
    rows = {row.label: pictures for row, pictures in answers[-1].items() if isinstance(row, gr.Gallery)}
    assert [caption for _, caption in rows["Colours and light"]] == [
        f"Colours and light of face {seed + i}" for i in range(COLUMNS)
    ]
    seen = shown(mix, handlers["adopt_part"](recipe, seed, SimpleNamespace(index=2)))  # the last row's
    assert pixels(seen.face.data) == picture(painter, recipe.with_part("fine", seed + 2))


def test_gallery_pictures_are_what_a_click_gives(painter):
    recipe = RECIPES["seeded"]
    pictures = [image.tobytes() for image, _ in edits.draw_recipes(painter, edits.mixes(recipe, 20))]
    expected = [recipe.with_part(group, 20 + i) for group in GROUPS for i in range(COLUMNS)]
    assert pictures == [picture(painter, one) for one in expected]
    assert len(set(pictures)) == len(pictures)
    (small, _) = next(edits.draw_recipes(painter, [recipe], 32))
    assert small.size == (32, 32)


def test_second_face(mix, painter, tmp_path):
    other, recipe = mix.other, RECIPES["plain"]
    with pytest.raises(Problem, match="no second face yet"):
        next(other.take_over(recipe, None, ["fine"]))
    with pytest.raises(Problem, match="No part is ticked"):
        next(other.take_over(recipe, 4, []))
    values = next(other.choose(4.0))
    assert (values[other.source], values[other.seed]) == (4, 4)
    assert (values[other.latents] == source_ws(painter.generator, 4)[0].numpy()).all()
    seen = shown(mix, other.take_over(recipe, 4, ["coarse", "fine"]))
    assert pixels(seen.face.data) == picture(painter, Recipe(3, {"coarse": 4, "fine": 4}))

    save_latents(tmp_path / "face.safetensors", torch.from_numpy(OWN), generator="tiny", task=None)
    values = next(other.load(str(tmp_path / "face.safetensors")))
    assert (values[other.source] == OWN).all() and values[other.seed] is None
    (tmp_path / "face.json").write_bytes(shown(mix, mix.editor.show(RECIPES["seeded"])).recipe_file.data)
    values = next(other.load(str(tmp_path / "face.json")))
    expected = RECIPES["seeded"].ws(painter.generator, painter.directions)[0].numpy()
    assert (values[other.source] == expected).all(), "what was done to the face is taken over with it"


def test_on_the_way(mix, painter):
    other = mix.other
    start, end = (source_ws(painter.generator, seed)[0].numpy() for seed in (3, 4))
    *_, last = other.show_strip(start, end)
    pictures = [image.tobytes() for image in last[other.strip]["value"]]
    assert len(set(pictures)) == STRIP and pictures[0] == picture(painter, Recipe(3))
    assert np.allclose(edits.between(start, end, STRIP)[-1].start, end, atol=1e-6)
    first, second = (np.asarray(next(edits.draw_recipes(painter, [Recipe(n)]))[0].reduce(8), int) for n in (3, 4))
    for update in other.show_film(start, end):
        with Image.open(update[other.film]["value"]) as film:
            assert (film.format, film.n_frames, film.size) == ("WEBP", 2 * FRAMES - 2, (64, 64))
            for frame, near, far in ((0, first, second), (FRAMES - 1, second, first)):
                film.seek(frame)
                seen = np.asarray(film.convert("RGB").reduce(8), int)  # fine detail is lost in a film
                assert np.abs(seen - near).mean() < 0.5 * np.abs(seen - far).mean()
    for ends in ((None, end), (start, None)):
        with pytest.raises(Problem, match="no second face yet"):
            next(other.show_film(*ends))


def test_a_face_in_words():
    assert edits.describe(Recipe(3)) == "Face 3."
    words = "Face 5, with pose and shape of face 7 (30%), colours and light of face 9."
    assert edits.describe(RECIPES["seeded"]) == words
    assert edits.describe(RECIPES["unseeded"]) == "A face without a number, with features and hair of face 2 (35%)."
    assert edits.describe(Recipe(3, {"fine": 4}, {"fine": 0.0})) == "Face 3."


def test_photos(painter, make_encoder, portrait, tmp_path):
    """Where there is a model that finds the face of a photo."""
    model = PSPModel(make_encoder(in_channels=3), painter.generator, PSPConfig("inversion", "photo")).eval()
    reader = edits.Reader(painter, model)
    assert reader.file_types == [".json", ".safetensors", "image"]
    photo = Image.open(STARTERS / "inversion" / "examples" / "woman.png")
    photo.save(tmp_path / "photo.png")
    start = reader.read(str(tmp_path / "photo.png")).start
    with torch.no_grad():
        assert np.allclose(start, model.encode(photo.convert("RGB"))[0], atol=0.05), "it is aligned already"
    Image.new("RGB", (300, 300), "white").save(tmp_path / "white.png")
    with pytest.raises(Problem, match="No face was found"):
        reader.read(str(tmp_path / "white.png"))
    (tmp_path / "face.json").write_text(" {}")
    with pytest.raises(Problem, match="This is no saved face: it does not say"):
        reader.read(str(tmp_path / "face.json"))


def test_files_that_are_no_faces(mix, tmp_path):
    for name, data, words in (
        ("face.json", b"eyes & nose", "This is no saved face: it is not valid JSON."),
        ("face.png", b"\x89PNG", "This is no saved face"),
        ("face.safetensors", b"eyes", "face.safetensors is not a file of latents"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Problem, match=words):
            next(mix.editor.load(str(tmp_path / name)))
    save_latents(tmp_path / "face.safetensors", torch.zeros(16, 512), generator=None, task=None)
    with pytest.raises(Problem, match="its styles are 16 x 512, expected 8 x 32"):
        next(mix.editor.load(str(tmp_path / "face.safetensors")))


def test_examples(painter, default_directions):
    """They are for the painter that they were made with."""
    with gr.Blocks():
        assert add_recipes(painter) == ([], None)
        recipes, examples = add_recipes(default_directions)
    assert len(recipes) >= 4 and len(examples.samples) == len(recipes)
    assert all(recipe.is_seeded and not recipe.is_plain for recipe in recipes)


@pytest.fixture
def default_directions(painter: Painter) -> Painter:
    return painter_of(painter.generator, "mobilestylegan-ffhq")


@pytest.mark.slow
def test_examples_look_as_their_recipes(default_generator):
    painter = painter_of(default_generator, "mobilestylegan-ffhq")
    with gr.Blocks():
        recipes, _ = add_recipes(painter)
    for recipe, file in zip(recipes, example_files("mix"), strict=True):
        (drawn, _) = next(edits.draw_recipes(painter, [recipe], 256))
        with Image.open(file) as thumbnail:
            difference = np.asarray(drawn.resize(thumbnail.size, Image.Resampling.BOX), int) - np.asarray(thumbnail)
        assert np.abs(difference).mean() < 4, file


def test_endpoint(mix, painter, handlers, tmp_path):
    edit_face = handlers["edit_face"]

    def asked(*arguments: object) -> bytes:
        answer = edit_face(*arguments)  # the file goes with it
        return pixels(Path(next(answer)[0]).read_bytes())

    arguments = (0.85, {"coarse": 7, "fine": 9}, {"coarse": 0.3}, {"smile": 1.25})
    assert asked(5, None, *arguments) == picture(painter, RECIPES["seeded"])
    assert asked(5, None, 1, None, None, None) == picture(painter, Recipe(5))
    (tmp_path / "face.json").write_bytes(shown(mix, mix.editor.show(RECIPES["seeded"])).recipe_file.data)
    assert asked(0, str(tmp_path / "face.json"), 1, {}, {}, {}) == picture(painter, RECIPES["seeded"])
    for bad, words in (
        ((None, None, 1, {}, {}, {}), "number of the face must be"),
        ((5, None, 2, {}, {}, {}), "truncation_psi, expected a number from 0 to 1.4"),
        ((5, None, 1, {"nose": 1}, {}, {}), "expected some of: coarse, medium, fine"),
        ((5, None, 1, {}, {}, {"frown": 1}), "expected some of: smile"),
    ):
        with pytest.raises(Problem, match=words):
            next(edit_face(*bad))


class Tab(BrowserTab):
    """What a person does on the tab, in a browser."""

    def __init__(self, page: Page):
        super().__init__(page)
        self.face = page.locator("#mix-face img")
        self.status = page.locator("#mix-status")
        self.source = None  # of the face that was last looked at

    def new_face(self) -> bytes:
        """Wait for another face than the last one; its pixels."""
        self.page.wait_for_function(
            "old => { const face = document.querySelector('#mix-face img'); return face && face.src !== old; }",
            arg=self.source,
        )
        self.source = self.face.evaluate("face => face.src")
        return pixels(self.page.request.get(self.source, max_retries=3).body())

    def expect_status(self, text: str) -> None:
        """Wait for these words below the face, which may come a moment after it."""
        self.status.filter(has_text=text).wait_for()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).locator("visible=true").first.click()

    def unfold(self, name: str) -> None:
        self.page.get_by_role("button", name=name).locator("visible=true").first.click()

    def upload(self, path: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.locator("#mix-load").click()
        chooser.value.set_files(path)

    def download(self, button: str, path: Path) -> None:
        with self.page.expect_download() as download:
            self.page.locator(button).click()
        download.value.save_as(path)


@pytest.mark.slow
def test_a_person_who_mixes(painter, model_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    model = PSPModel.from_pretrained(model_dir, generator=painter.generator)
    demo = build_demo([model], painter=painter, problems=["labels: it is gone"])
    _, url, _ = demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, server_name="127.0.0.1")
    try:
        with open_page(url) as (page, troubles):
            tab = Tab(page)
            edit_a_face(tab, tmp_path)
            share_a_face(tab, url, tmp_path)
    finally:
        demo.close(verbose=False)
    assert troubles == []


def edit_a_face(tab: Tab, folder: Path) -> None:
    """Take over the face of a drawing, move it, mix it, save it, and load it again."""
    page = tab.page
    page.get_by_text("labels: it is gone").wait_for()
    tab.press("Edit this face")
    tab.expect_message("There is no face yet")
    page.locator(".gallery-item").locator("visible=true").first.click()  # an example
    page.wait_for_function("document.querySelector('#sketch-gallery img')?.naturalWidth > 0")
    drawn = pixels(page.request.get(page.locator("#sketch-face img").get_attribute("src")).body())
    tab.press("Edit this face")
    assert tab.new_face() == drawn, "the tab opens with the face that was sent"
    tab.expect_status("A face without a number.")
    assert page.locator("#mix-link a").count() == 0

    slider = page.locator("#mix-smile input[type=range]")
    slider.focus()
    slider.press("End")
    assert tab.new_face() != drawn
    tab.press("Put all back")
    assert tab.new_face() == drawn
    assert float(slider.input_value()) == 0

    tab.press("Show faces to mix with")
    page.locator("#mix-fine .thumbnail-item").nth(COLUMNS - 1).wait_for()
    page.locator("#mix-coarse .thumbnail-item").nth(1).click()
    mixed = tab.new_face()
    assert mixed != drawn
    tab.expect_status("with pose and shape of face")
    tab.unfold("Save and share")
    tab.download("#mix-recipe", folder / "face.json")
    page.screenshot(path=folder / "mixed.png", full_page=True)

    tab.unfold("Strength and locks")
    page.get_by_label("Features and hair", exact=True).locator("visible=true").first.check()
    tab.press("Roll the dice")
    assert tab.new_face() not in (mixed, drawn)
    tab.upload(folder / "face.json")
    assert tab.new_face() == mixed, "a recipe restores its picture"
    (folder / "text.json").write_text("eyes & nose")
    tab.upload(folder / "text.json")
    tab.expect_message("This is no saved face: it is not valid JSON.")


def share_a_face(tab: Tab, url: str, folder: Path) -> None:
    """Mix two faces by their numbers, and come back to them by a link, on a phone."""
    page = tab.page
    page.locator("#mix-seed input").fill("7")
    seven = tab.new_face()
    tab.expect_status("Face 7, with pose and shape")
    tab.unfold("A second face")
    page.locator("#mix-other img").wait_for()
    tab.press("Take over")
    second = tab.new_face()
    assert second != seven
    tab.expect_status("colours and light of face 2")
    tab.press("Short film")
    page.locator("#mix-film img").wait_for()

    link = page.locator("#mix-link a").evaluate("link => link.href")
    page.set_viewport_size({"width": 390, "height": 844})
    assert not tab.overflows()
    page.goto(link)
    tab.source = None
    assert tab.new_face() == second, "so does a link"
    assert page.locator("#mix-seed input").input_value() == "7"
    assert not tab.overflows()
    page.mouse.wheel(0, 1500)
    page.wait_for_timeout(300)
    at_top = "document.elementFromPoint(innerWidth / 2, 60).closest('#mix-face') !== null"
    assert page.evaluate(at_top), "the face stays in sight"
    page.screenshot(path=folder / "phone.png")
    page.goto(f"{url}?face=abc")
    tab.expect_message("The link to this face is damaged or incomplete.")

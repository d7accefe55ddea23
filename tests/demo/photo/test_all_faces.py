"""All faces of a photo on the tab: answered one by one with the same settings, and put back into it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from psp_hub.demo.mix.editor import Editor
from psp_hub.demo.mix.recipes import Painter, Recipe
from psp_hub.demo.mix.tab import add_mix
from psp_hub.demo.photo.api import Endpoints, chosen
from psp_hub.demo.photo.crops import Crop, ready, side_by_side
from psp_hub.demo.photo.handlers import ALL_FACES, TIP, Handlers, said_of
from psp_hub.demo.photo.portraits import Portrait, load_portrait
from psp_hub.demo.problems import Problem
from psp_hub.directions import Direction
from psp_hub.latents_file import load_latents, save_latents
from tests.photo_faces import CHILD, paint, scene

NUMBERS = (1, 0, 0.5, 1.0)  # seed, variations, strength, likeness
PLACES = ((300, 60, 120), (400, 460, 120))  # size, left, top


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    scene(path, *PLACES)
    return path


@pytest.fixture(scope="module")
def crowd(photo: Path) -> Crop:
    """Both faces, cut out as the detector would, were it exact."""
    crops = []
    for side, left, top in PLACES:
        corners = np.array([(0, 0), (0, side), (side, side), (side, 0)], float) + (left, top)
        face = Image.open(photo).crop((left, top, left + side, top + side))
        crops.append(ready(Crop(face, "", None, corners, 2, str(photo)), "inversion"))
    return replace(crops[0], others=(crops[1],))


@pytest.mark.slow
def test_one_after_the_other_with_the_same_settings(models, crowd, photo, tmp_path):
    settings = {"seed": 7, "variations": 1, "steps": 2, "likeness": 0.8, "paste": True}
    *steps, (painting, files) = paint(models["inversion"], Portrait("inversion", None, crowd), **settings)
    assert [step for step in steps if step is None] == [None] * 5, "two steps, between the faces, two steps"
    expected, styles = [photo, photo], []
    for crop in (replace(crowd, others=()), *crowd.others):
        for i, before in enumerate(expected):
            place = replace(crop, path=str(before))
            *_, (alone, answers) = paint(models["inversion"], Portrait("inversion", None, place), **settings)
            expected[i] = tmp_path / f"{crop.image.width}-{i}.png"
            expected[i].write_bytes(answers[i])
        styles.append(alone.ws)
    for path, file in zip(expected, files, strict=True):
        (tmp_path / "all.png").write_bytes(file)
        with Image.open(tmp_path / "all.png") as together, Image.open(path) as one_by_one:
            assert together.tobytes() == one_by_one.tobytes()
            different = (np.asarray(together) != np.asarray(Image.open(photo))).any(axis=-1)
        for side, left, top in PLACES:
            square = different[top : top + side, left : left + side]
            assert square.any()
            square[:] = False
        assert not different.any()
    assert np.array_equal(painting.ws, styles[0]) and np.array_equal(painting.others, styles[1:])


def answer(answers: Iterator[Any]) -> Any:
    """What is shown first; its files go with the iterator."""
    return next(one for one in answers if one != gr.skip())


def test_the_page_says_how_many(handlers, crowd):
    answers = handlers.make("inversion", crowd, None, True, True, *NUMBERS)
    face, _, portrait, latents, said = answer(answers)
    assert said == "All 2 faces are back in the photo; everything else in it is as it was."
    assert Image.open(face["after"]["path"]).size == Image.open(face["before"]["path"]).size == (900, 640)
    ws = load_latents(latents).ws.numpy()
    assert np.array_equal(ws, [portrait.ws, *portrait.others]) and not np.array_equal(*ws)
    left_out = replace(crowd, note="1 of the 3 faces: too small, or cut off at the border. They are left out.")
    assert said_of(left_out, "inversion", done=True) == f"{said} {left_out.note}"


def test_all_are_shown_in_their_photo(handlers, crowd):
    """Never is what the box says ignored."""
    portrait = Portrait("inversion", np.zeros((8, 32), np.float32), crowd, (np.ones((8, 32), np.float32),))
    for answers in (
        handlers.make("inversion", crowd, None, True, False, *NUMBERS),
        handlers.show(portrait, True, False),
        handlers.vary(portrait, True, False, *NUMBERS),
        handlers.refine(portrait, crowd, True, False, 5),
    ):
        with pytest.raises(Problem, match="put them back in the photo, or choose one of them"):
            next(answers)


def test_their_numbers_come_back(models, handlers, crowd, tmp_path):
    for count in (1, 2, 3):
        save_latents(tmp_path / f"{count}.safetensors", torch.randn(count, 8, 32), generator=None, task=None)
    portrait, note = load_portrait(models["inversion"], str(tmp_path / "2.safetensors"), crowd)
    saved = load_latents(tmp_path / "2.safetensors").ws.numpy()
    assert note == "" and np.array_equal([portrait.ws, *portrait.others], saved)
    for count in (1, 3):
        with pytest.raises(
            Problem, match=f"There are {count} faces in this file; expected as many as in the photo, 2"
        ):
            load_portrait(models["inversion"], str(tmp_path / f"{count}.safetensors"), crowd)
    portrait, _ = load_portrait(models["inversion"], str(tmp_path / "1.safetensors"), None)
    with pytest.raises(Problem, match="choose which face of the photo it is"):
        next(handlers.refine(portrait, crowd, True, True, 5))


@pytest.fixture(scope="module")
def editor(models) -> Editor:
    smile = Direction("smile", "serious … smiling", torch.randn(1, 32), -2.0, 3.0, ("medium",))
    with gr.Blocks(), gr.Tab() as tab:
        return add_mix(Painter(models["inversion"].generator, "tiny", {"smile": smile}), tab).editor


def test_what_is_done_to_the_first_is_done_to_all(handlers, crowd, editor):
    """From what they were, however often it is sent back: not twice."""
    faces = np.random.default_rng(0).normal(size=(2, 8, 32)).astype(np.float32)
    portrait, generator = Portrait("inversion", faces[0], crowd, (faces[1],)), editor.painter.generator
    for values in ((0.85, 1, 1, 1, 1.25), (1, 0.3, 1, 1, -0.5)):
        recipe = editor.controls.read(Recipe(faces[0], {"coarse": 7}), *values)
        expected = [replace(recipe, start=face).ws(generator, editor.painter.directions)[0].numpy() for face in faces]
        portrait, paste, _ = handlers.take_back(portrait, expected[0], recipe, editor.repeat)
        assert paste is True and np.array_equal([portrait.ws, *portrait.others], expected)
        assert not np.array_equal(expected, faces)
    for start in (3, faces[1]):
        with pytest.raises(Problem, match="what you edit now is another face"):
            handlers.take_back(portrait, faces[1], Recipe(start), editor.repeat)
    assert handlers.take_back(portrait, None, None, editor.repeat)[0] is portrait, "nothing is edited yet"
    alone = Portrait("inversion", faces[0], replace(crowd, others=()))
    assert handlers.take_back(alone, faces[1], Recipe(3), editor.repeat)[0].ws.tolist() == faces[1].tolist()


def test_what_the_network_sees(crowd):
    assert side_by_side([crowd], 512).size == (512, 512)
    assert side_by_side(crowd.all, 512).size == (512, 256)
    assert side_by_side([crowd] * 5, 512).size == (510, 340)


def test_which_face_programs_ask_for(models):
    assert [chosen(face) for face in (0, 2, 2.0, "all")] == [None, 2, 2, "all"]
    for face, message in (
        ("both", "The face is .*both.*, expected its number in the photo, 0 for the largest"),
        ([1], "expected its number"),
        (1.5, "must be a whole number"),
        (13, "from 0 to 12"),
        (None, "got nothing"),
    ):
        with pytest.raises(Problem, match=message):
            chosen(face)
    with pytest.raises(Problem, match="Faces that are turned do not go back into the photo"):
        next(Endpoints(models).turn_to_front(str(CHILD), 1, 0, 0.5, 1.0, "all"))


def read(handlers: Handlers, path: Path, task: str, face: int | str | None = None) -> SimpleNamespace:
    names = ("path", "crop", "preview", "pad", "status", "which")
    return SimpleNamespace(**dict(zip(names, handlers.read_photo(str(path), task, face), strict=True)))


@pytest.mark.slow
def test_where_all_can_be_chosen(handlers, photo, tmp_path):
    everyone = read(handlers, photo, "inversion", "all")
    assert (everyone.which["choices"], everyone.which["value"]) == ([1, 2, ALL_FACES], "all")
    assert len(everyone.crop.all) == 2 and all(crop.prepared is not None for crop in everyone.crop.all)
    assert everyone.status == "All 2 faces go back into the photo; everything else in it stays as it is."
    assert everyone.preview["visible"] and everyone.preview["value"].size == (512, 256)
    for task, offered in (("super-resolution", True), ("inpainting", False), ("frontalization", False)):
        assert (ALL_FACES in read(handlers, photo, task).which["choices"]) is offered, task

    gaps = Image.open(photo).convert("RGBA")
    for side, left, top in PLACES:
        gaps.paste((0, 0, 0, 0), (left + side // 4, top + side // 4, left + side // 2, top + side // 3))
    gaps.save(tmp_path / "gaps.png")
    assert ALL_FACES in read(handlers, tmp_path / "gaps.png", "inpainting").which["choices"]
    everyone = read(handlers, tmp_path / "gaps.png", "inpainting", "all")
    assert not everyone.pad["visible"] and everyone.preview["visible"] and "choose that one" in everyone.status
    answers = handlers.make("inpainting", everyone.crop, None, True, True, *NUMBERS)
    filled = np.asarray(Image.open(answer(answers)[0]["after"]["path"]).getchannel("A"))
    assert (filled == 255).all()


@pytest.mark.slow
def test_a_photo_in_which_there_are_no_longer_several(handlers, tmp_path):
    scene(tmp_path / "one.png", PLACES[0])
    one = read(handlers, tmp_path / "one.png", "inversion", "all")
    assert one.crop.others == () and not one.which["visible"] and one.status == TIP
    *_, said = next(handlers.make("inversion", one.crop, None, True, True, *NUMBERS))
    assert said == TIP
    scene(tmp_path / "none.png")
    with pytest.raises(Problem, match="No face was found"):
        read(handlers, tmp_path / "none.png", "inversion", "all")

"""`--paste-back` and `--face`: photos with the answers in them, from `translate` and from `decode`."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from psp_hub import PSPConfig, PSPModel, load_latents
from psp_hub.alignment import align_face, paste_back
from psp_hub.generators import load_generator
from psp_hub.images.preprocessing import tensor_to_images
from psp_hub.model_names import STARTERS

WOMAN, CHILD = (Image.open(STARTERS / "inversion" / "examples" / f"{name}.png") for name in ("woman", "child"))


@pytest.fixture(scope="module")
def model(generator_dir: Path, make_encoder: Callable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    config = PSPConfig("inversion", "photo")
    PSPModel(make_encoder(in_channels=3), load_generator(generator_dir), config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The larger face is on the right."""
    picture, path = Image.new("RGB", (700, 320), "grey"), tmp_path_factory.mktemp("photos") / "crowd.png"
    picture.paste(CHILD.resize((200, 200)), (60, 60))
    picture.paste(WOMAN.resize((260, 260)), (400, 30))
    picture.save(path)
    return path


def changed(photo: Path, answer: Path) -> tuple[bool, bool]:
    """Whether anything is another left and right; if so, it is no more than the face."""
    with Image.open(photo) as one, Image.open(answer) as other:
        assert one.size == other.size
        different = (np.asarray(one) != np.asarray(other)).any(axis=-1)
    assert not different[:60].any() and not different[:, :60].any() and different.mean() < 0.2
    return bool(different[:, :350].any()), bool(different[:, 350:].any())


@pytest.mark.slow
def test_faces_go_back_into_their_photo(psp_hub, model, crowd, tmp_path):
    for number, expected in ((None, (False, True)), (1, (True, False)), (2, (False, True)), ("all", (True, True))):
        target, typed = tmp_path / f"{number}.png", [] if number is None else ["--face", number]
        code, _, err = psp_hub("translate", crowd, "-o", target, "--model", model, "--paste-back", *typed)
        assert (code, "the largest one is used" in err) == (0, number is None), err
        assert changed(crowd, target) == expected
    assert (tmp_path / "None.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    code, _, err = psp_hub("translate", crowd, "-o", tmp_path / "3.png", "--model", model, "--face", 3)
    assert code == 1 and "There are 2 faces in this photo; got number 3, expected 1 to 2." in err


@pytest.mark.slow
def test_it_is_what_python_says_and_what_decode_draws(psp_hub, model, crowd, tmp_path):
    typed = ["--face", 1, "--paste-back", "--save-latents", "--seed", 3, "--variations", 2]
    assert psp_hub("translate", crowd, "-o", tmp_path / "a.png", "--model", model, *typed)[0] == 0
    loaded = PSPModel.from_pretrained(model)
    latents = load_latents(tmp_path / "a-1.safetensors", loaded.generator)
    photo = Image.open(crowd)
    corners = align_face(photo.crop((0, 0, 350, 320))).corners  # in this half there is no other
    with torch.no_grad():
        answer = paste_back(photo, tensor_to_images(loaded.generator.synthesis(latents.ws))[0], corners)
    with Image.open(tmp_path / "a-1.png") as written:
        off = np.abs(np.asarray(written, float) - np.asarray(answer, float))
        assert off.mean() < 0.2 and (off > 8).mean() < 0.01
    loaded.generator.save_pretrained(tmp_path / "generator")
    typed = ["--generator", tmp_path / "generator", "--paste-back", crowd, "--face", 1]
    assert psp_hub("decode", tmp_path / "a-1.safetensors", "-o", tmp_path / "again.png", *typed)[0] == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "a-1.png").read_bytes()


@pytest.mark.slow
def test_all_faces_are_kept_and_go_back_again(psp_hub, model, crowd, tmp_path):
    typed = ["--face", "all", "--paste-back", "--save-latents"]
    assert psp_hub("translate", crowd, "-o", tmp_path / "a.png", "--model", model, *typed)[0] == 0
    loaded = PSPModel.from_pretrained(model)
    loaded.generator.save_pretrained(tmp_path / "generator")
    assert len(load_latents(tmp_path / "a.safetensors", loaded.generator).ws) == 2
    typed = [tmp_path / "a.safetensors", "--generator", tmp_path / "generator", "--paste-back"]
    assert psp_hub("decode", *typed, crowd, "--face", "all", "-o", tmp_path / "b.png")[0] == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(crowd) as photo:
        photo.crop((0, 0, 350, 320)).save(tmp_path / "one.png")
    code, _, err = psp_hub("decode", *typed, tmp_path / "one.png", "--face", "all", "-o", tmp_path / "c.png")
    assert code == 1 and "There are 2 faces in this file; expected as many as in the photo, 1." in err


@pytest.mark.slow
def test_a_photo_without_a_face(psp_hub, model, tmp_path):
    Image.new("RGB", (200, 160), "teal").save(tmp_path / "wall.png")
    for face in ([], ["--face", 1], ["--face", "all"]):
        typed = [tmp_path / "wall.png", "-o", tmp_path / "out.png", "--model", model, "--paste-back", *face]
        code, _, err = psp_hub("translate", *typed)
        assert code == 1 and "No face was found in this photo." in err and not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["--face", "all"], "--face all is for --paste-back"),
        (["--face", 1, "--no-align"], "with --no-align none is"),
        (["--face", 0], "got 0, expected 1 to"),
        (["--face", "left"], "argument --face"),
    ],
)
def test_what_does_not_go_together(psp_hub, model, crowd, tmp_path, typed, message):
    code, _, err = psp_hub("translate", crowd, "-o", tmp_path / "out.png", "--model", model, *typed)
    assert code == 2 and message in err


def test_drawings_come_from_no_photo(psp_hub, model_dir, crowd, tmp_path):
    for typed in (["--paste-back"], ["--face", 1]):
        code, _, err = psp_hub("translate", crowd, "-o", tmp_path / "out.png", "--model", model_dir, *typed)
        assert code == 2 and f"{typed[0]} is for photos, but sketch takes pictures of the kind drawing" in err


def test_a_face_that_is_turned_has_no_place_in_its_photo(psp_hub, make_encoder, generator_dir, crowd, tmp_path):
    config = PSPConfig("frontalization", "photo")
    PSPModel(make_encoder(in_channels=3), load_generator(generator_dir), config).save_pretrained(tmp_path / "frontal")
    typed = ["-o", tmp_path / "out.png", "--model", tmp_path / "frontal", "--paste-back"]
    code, _, err = psp_hub("translate", crowd, *typed)
    assert code == 2 and "those of frontalization are turned" in err


def test_latents_need_their_photo(psp_hub, crowd, tmp_path):
    (tmp_path / "face.safetensors").write_bytes(b"")
    for typed, message in (
        (["--paste-back"], "argument --paste-back: expected one argument"),
        (["--paste-back", tmp_path / "gone.png"], "there is no photo file or folder"),
        (["--paste-back", crowd.parent], "the photos of .*face.safetensors in .* are none, expected one named face"),
        (["--face", 1], "--face says which face of the photo of --paste-back is meant"),
        (["--face", "all"], "--face says which face of the photo of --paste-back is meant"),
    ):
        code, _, err = psp_hub("decode", tmp_path / "face.safetensors", "-o", tmp_path / "out.png", *typed)
        assert code == 2 and re.search(message, err), err
    crowd.with_name("out.png").write_bytes(crowd.read_bytes())
    typed = ["-o", crowd.with_name("out.png"), "--paste-back", crowd.with_name("out.png")]
    code, _, err = psp_hub("decode", tmp_path / "face.safetensors", *typed)
    crowd.with_name("out.png").unlink()
    assert code == 2 and "is an input and would be lost" in err

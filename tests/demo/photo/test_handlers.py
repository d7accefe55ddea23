"""psp_hub.demo.photo.handlers: what the events of the tab call."""

from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from psp_hub.demo.photo.handlers import ALL_FACES, Handlers
from psp_hub.demo.photo.portraits import Portrait
from psp_hub.demo.problems import Problem
from psp_hub.latents_file import save_latents
from tests.photo_faces import TINY, scene


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


def test_a_face_that_is_turned_has_no_place_in_its_photo(handlers, crop):
    """Nor can it be compared with it."""
    *_, paste, closer = handlers.choose("frontalization")[:9]
    assert not (paste["visible"] or paste["value"] or closer["visible"])
    *_, paste, closer = handlers.choose("inversion")[:9]
    assert paste["visible"] and closer["visible"]
    ((_, gallery, portrait, *_),) = handlers.make("frontalization", crop, None, True, False, 1, 4, 0.5, 1.0)
    assert portrait.task == "frontalization" and not gallery["visible"]  # variations come when asked for
    with pytest.raises(Problem, match="frontalization cannot be refined"):
        list(handlers.refine(portrait, crop, True, False, 5))


def test_a_face_from_a_file_needs_no_model_of_what_is_chosen(models, crop, tmp_path):
    handlers = Handlers({"inversion": models["inversion"]}, {"inversion": []})
    save_latents(tmp_path / "face.safetensors", torch.randn(1, 8, 32), generator=None, task=None)
    face, gallery, portrait, *_ = next(
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
    assert (which["choices"], which["value"], which["visible"]) == ([1, 2, ALL_FACES], None, True)
    crop, *_ = handlers.read_photo(str(tmp_path / "photo.png"), "inversion", 1)[1:]

    def difference_to(answers: Iterator) -> np.ndarray:
        face, _, portrait, *_ = next(answers)
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

"""psp_hub.demo.photo.portraits: faces, variations, refinement and files."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from psp_hub.demo.photo.portraits import Portrait, load_portrait, paint_portrait, stoppable
from psp_hub.demo.problems import Problem
from psp_hub.demo.settings import Settings
from psp_hub.images.preprocessing import images_to_tensor
from psp_hub.latents_file import load_latents, save_latents
from psp_hub.tasks import TASKS
from tests.photo_faces import KINDS, difference, make, paint


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
    groups = ("fine",) if task in ("inversion", "frontalization") else ("medium",)
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


@pytest.mark.parametrize("task", [task for task in KINDS if TASKS[task].shown])
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


@pytest.mark.usefixtures("few_refinement_steps")
def test_what_is_small_is_refined_at_once(models, handlers, crop):
    for task in ("inversion", "super-resolution"):
        steps = TASKS[task].refinement_steps
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

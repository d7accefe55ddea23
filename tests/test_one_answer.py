"""One seed, one answer: the page, the command line, validation and Python agree, for every task."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from psp_hub import PSPConfig, PSPModel
from psp_hub.demo.page import build_demo, place_of
from psp_hub.demo.photo.crops import Crop
from psp_hub.generators import load_generator
from psp_hub.images.preprocessing import prepare_tensor, tensor_to_images
from psp_hub.tasks import TASKS
from training.run.validation import GRID_SIZE, picture_grid, shrink

pytestmark = pytest.mark.usefixtures("few_refinement_steps")

SEED, STRENGTH = 5, 0.75
ON_PAGE = [task for task in TASKS if task != "frontalization"]


@pytest.fixture(scope="module")
def folders(generator_dir: Path, make_encoder: Callable, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved model of each task."""
    generator, root = load_generator(generator_dir), tmp_path_factory.mktemp("models")
    for task, row in TASKS.items():
        config = PSPConfig(task, row.input_kind)
        PSPModel(make_encoder(in_channels=row.in_channels), generator, config).save_pretrained(root / task)
    return {task: root / task for task in TASKS}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path], generator_dir: Path) -> dict[str, PSPModel]:
    generator = load_generator(generator_dir)
    return {task: PSPModel.from_pretrained(folder, generator=generator) for task, folder in folders.items()}


@pytest.fixture(scope="module")
def pictures(portrait: Callable[[int, int], Image.Image]) -> dict[str, Image.Image]:
    """What a person has, for each task."""
    photo, labels = portrait(256, 3), np.zeros((256, 256), np.uint8)
    labels[60:200, 60:200], labels[20:60, 60:200] = 1, 17
    gap = Image.new("L", photo.size, 255)
    gap.paste(0, (60, 100, 190, 140))
    gapped = photo.copy()
    gapped.putalpha(gap)
    kinds = {"drawing": photo.convert("L").point(lambda grey: 255 * (grey > 120)), "labels": Image.fromarray(labels)}
    kinds |= {"photo": photo, "masked": gapped}
    return {task: kinds[row.input_kind] for task, row in TASKS.items()}


@pytest.fixture(scope="module")
def answer(models: dict[str, PSPModel], pictures: dict[str, Image.Image]) -> Callable[[str], bytes]:
    """Function of a task: the pixels that Python says."""

    @cache
    def make(task: str) -> bytes:
        model = models[task]
        ws = model.encode(pictures[task])
        if TASKS[task].refinement_steps:
            ws = model.refine(pictures[task], ws, TASKS[task].refinement_steps)
        return tensor_to_images(model.decode(model.mix(ws, seed=SEED, strength=STRENGTH)))[0].tobytes()

    return make


def pixels(path: str | Path) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


@pytest.mark.parametrize("task", TASKS)
def test_the_command_line(folders, pictures, answer, psp_hub, tmp_path, task):
    pictures[task].save(tmp_path / "in.png")
    options = ["--seed", SEED, "--strength", STRENGTH, *(["--no-align"] if TASKS[task].input_kind == "photo" else [])]
    code, _, said = psp_hub(
        *("translate", tmp_path / "in.png", "-o", tmp_path / "out.png", "--model", folders[task], *options)
    )
    assert code == 0, said
    assert pixels(tmp_path / "out.png") == answer(task)


@pytest.fixture(scope="module")
def page(models: dict[str, PSPModel], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable]:
    """What the page's events call, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
        demo: gr.Blocks = build_demo([models[task] for task in ON_PAGE])
    return {function.name: function.fn for function in demo.fns.values() if function.fn}


@pytest.mark.parametrize("task", ON_PAGE)
def test_the_page(models, pictures, answer, page, tmp_path, task):
    place = place_of(models[task].config)
    if place in ("sketch", "segmentation"):
        pictures[task].save(tmp_path / "in.png")
        handler, order = ("draw_to_face", []) if place == "sketch" else ("map_to_face", ["CelebAMask-HQ"])
        answers = page[handler](str(tmp_path / "in.png"), *order, SEED, 1, STRENGTH, 1.0)
        assert pixels(next(answers)[0]) == answer(task)
        return
    photo = pictures[task]
    missing = photo.getchannel("A").point(lambda alpha: 255 - alpha) if photo.mode == "RGBA" else None
    crop = Crop(photo.convert("RGB"), missing=missing)
    *_, (_, _, portrait, *_) = (
        one for one in page["make"](task, crop, None, False, False, 0, 0, 1.0, 1.0) if len(one) == 5
    )
    for _, gallery, *_ in page["vary"](portrait, False, False, SEED, 1, STRENGTH, 1.0):
        found = [(pixels(path), caption) for path, caption in gallery["value"]]
    assert found == [(answer(task), f"seed {SEED}")]


@pytest.mark.parametrize("task", TASKS)
def test_validation(models, pictures, task):
    """The last column of its grid, of seed 0 at full strength."""
    inputs = prepare_tensor(pictures[task], TASKS[task].input_kind)[0]
    grid = picture_grid(models[task], Examples(inputs), [0])
    model = models[task]
    varied = shrink(model.decode(model.mix(model.encode(inputs[None]), seed=0)))
    assert grid.crop((3 * GRID_SIZE, 0, 4 * GRID_SIZE, GRID_SIZE)).tobytes() == tensor_to_images(varied)[0].tobytes()


class Examples(torch.utils.data.Dataset):
    """One input, and a grey target."""

    def __init__(self, inputs: torch.Tensor):
        self.inputs = inputs

    def __getitem__(self, index: tuple[int, int]) -> dict[str, torch.Tensor]:
        return {"input": self.inputs, "image": torch.zeros(3, GRID_SIZE, GRID_SIZE)}

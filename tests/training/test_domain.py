"""Tasks of something else than faces: rows, tabs, and training/domain.py from a .pkl to a page that answers."""

import json
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from gradio_client import Client, handle_file
from PIL import Image, ImageDraw
from torch import Tensor

import app
from psp_hub import PSPConfig, PSPModel
from psp_hub.demo.page import HEADER, LAUNCH_OPTIONS, OWN_HEADER, build_demo, place_of
from psp_hub.demo.proxies import without_proxies
from psp_hub.generators.base import estimate_w_avg
from psp_hub.generators.loading import load_generator
from psp_hub.tasks import get_task, of_anything
from tests.original_checkpoints import nvidia_tensors, save_nvidia, tiny_generator_state
from training import domain as program
from training.data.sources import SOURCES
from training.settings.run import parse_args


def shape(seed: int, side: int = 64) -> Image.Image:
    """A disc or a square on a plain ground."""
    rng = torch.Generator().manual_seed(seed)
    x, y, *colours = torch.randint(0, 256, (8,), generator=rng).tolist()
    image = Image.new("RGB", (side, side), tuple(colours[:3]))
    left, top = x * side // 512, y * side // 512
    pen = ImageDraw.Draw(image)
    (pen.ellipse if seed % 2 else pen.rectangle)((left, top, left + side // 2, top + side // 2), tuple(colours[3:]))
    return image


@pytest.fixture
def shapes_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(6):
        shape(seed).save(folder / f"{seed}.png")
    return folder


def tab_names(demo: gr.Blocks) -> list[str]:
    return [block.label for block in demo.blocks.values() if isinstance(block, gr.Tab)]


@pytest.mark.parametrize("task", ["inversion", "sketch", "super-resolution", "inpainting"])
def test_a_row_without_faces(task):
    row, of_faces = of_anything(task), get_task(task)
    assert {name: row.loss_weights[name] for name in ("id", "l2_crop", "lpips_crop")} == dict.fromkeys(
        ("id", "l2_crop", "lpips_crop"), 0
    )
    assert row.loss_weights["w"] == 1 and row.in_channels == of_faces.in_channels
    image = torch.ones(3, 64, 64)
    image[:, :4] = image[:, :, :4] = -1  # a frame, outside of any head
    for seed in range(8 if task == "sketch" else 1):
        source = SOURCES[row.source](image, np.random.default_rng(seed), **row.source_options)
        assert source.shape == (row.in_channels, 64, 64)


def test_drawings_of_things_lose_no_surroundings():
    """Of a frame around the picture, drawings of heads often keep nothing; others keep some of it."""
    image = torch.ones(3, 128, 128)
    image[:, :6] = image[:, :, :6] = image[:, -6:] = image[:, :, -6:] = -1
    inked = {
        of_heads: [
            bool((SOURCES["drawing"](image, np.random.default_rng(seed), of_heads=of_heads)[0, :12, :12] < 0.9).any())
            for seed in range(60)
        ]
        for of_heads in (True, False)
    }
    assert sum(inked[False]) > sum(inked[True])


def test_tasks_of_faces_alone_are_refused(capsys):
    for task in ("segmentation", "frontalization"):
        with pytest.raises(ValueError, match="a task of faces alone, expected one of inversion, sketch, super"):
            of_anything(task)
    words = ["--task", "sketch", "--output_dir", "out", "--pairs_dir", "pairs", "--task_name"]
    assert parse_args([*words, "shapes"]).row == of_anything("sketch")
    for name in ("Shapes", "sketch", "a/b"):
        with pytest.raises(SystemExit):
            parse_args([*words, name])
        assert f"--task_name is {name!r}, expected lower-case letters" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit):
        program.parse_args(["--name", "shapes", "--generator", "missing.pkl", "--output_dir", "out"])
    assert "there is no file and no folder missing.pkl" in capsys.readouterr().err


def test_a_page_of_something_else(make_encoder, tiny_generator):
    """Tabs of their own, and nothing of faces; beside a model of faces, both."""
    models = [
        PSPModel(make_encoder(in_channels=channels), tiny_generator, PSPConfig(task, kind))
        for task, kind, channels in (("line-shapes", "drawing", 1), ("shapes", "photo", 3), ("sketch", "drawing", 1))
    ]
    assert [place_of(model.config) for model in models] == ["line-shapes", "shapes", "sketch"]
    demo = build_demo(models[:2])
    assert demo.title == OWN_HEADER and tab_names(demo) == ["Line shapes", "Draw", "Upload", "Shapes"]
    assert app.make_painter(models[:2]) is None
    assert "face" not in " ".join(str(block.value) for block in demo.blocks.values() if isinstance(block, gr.Markdown))
    both = build_demo(models)
    assert both.title == HEADER and {"Shapes", "Sketch", "Photo", "Mix & edit"} <= set(tab_names(both))
    assert app.make_painter(models).generator is tiny_generator


@pytest.mark.slow
def test_the_command_line_looks_for_no_faces(make_encoder, tiny_generator, shapes_dir, tmp_path, psp_hub):
    model = PSPModel(make_encoder(in_channels=3), tiny_generator, PSPConfig("shapes", "photo"))
    model.save_pretrained(tmp_path / "model")
    code, _, err = psp_hub("translate", shapes_dir, "--model", tmp_path / "model", "-o", tmp_path / "out")
    assert code == 0 and len(list((tmp_path / "out").iterdir())) == 6, err
    code, _, err = psp_hub("translate", shapes_dir, "--model", tmp_path / "model", "-o", tmp_path / "2", "--align")
    assert code and "No face was found" in err


@pytest.fixture
def own_accelerator() -> Iterator[None]:
    """The tests before and after may train in another precision, of which a process has one for ever."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def pixels(images: list[Image.Image]) -> Tensor:
    """[N, 3, H, W] in [-1, 1]."""
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1 for image in images])


def train_generator(folder: Path, pictures: Tensor, steps: int = 150) -> Tensor:
    """Fit a saved generator to pictures [N, 3, 64, 64], each with a latent of its own (GLO, arXiv:1707.05776).

    Returns:
        The mean absolute error of each step.
    """
    torch.manual_seed(0)
    generator = load_generator(str(folder))
    latents = torch.randn(len(pictures), generator.w_dim)
    optimizer = torch.optim.Adam(generator.parameters(), lr=5e-3)
    errors = torch.zeros(steps)
    for step in range(steps):
        rows = torch.randperm(len(pictures))[:8]
        ws = generator.mapping(latents[rows])[:, None].expand(-1, generator.num_ws, -1)
        error = (generator.synthesis(ws) - pictures[rows]).abs().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors[step] = error.detach()
    generator.w_avg.copy_(estimate_w_avg(generator))
    generator.save_pretrained(folder)
    return errors


@pytest.mark.slow
@pytest.mark.usefixtures("own_accelerator")
def test_from_a_pickle_to_a_page_that_answers(shapes_dir, tmp_path, monkeypatch):
    """A StyleGAN2 at 64 px that is trained on shapes, and pictures of them: pairs, encoder, report, page."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    pickle = save_nvidia(nvidia_tensors(tiny_generator_state()), tmp_path / "shapes.pkl")
    words = ["--name", "shapes", "--generator", str(pickle), "--pictures_dir", str(shapes_dir), "--num_pairs", "64"]
    words += ["--max_train_steps", "60", "--train_batch_size", "4", "--output_dir", str(tmp_path / "run")]
    settings = program.parse_args(words)
    errors = train_generator(program.converted(settings), pixels([shape(seed) for seed in range(32)]))
    assert errors[-10:].mean() < 0.25 < 0.6 < errors[:10].mean()
    folder = program.main(settings)
    report = json.loads((tmp_path / "run/report/report.json").read_text())
    assert report["faces"]["count"] == 6 and report["task"] == "inversion"
    model = PSPModel.from_pretrained(folder)
    assert (model.config.task, model.config.input_kind, model.generator.resolution) == ("shapes", "photo", 64)
    demo = build_demo([model])
    assert tab_names(demo) == ["Shapes"]
    with without_proxies():
        _, url, _ = demo.launch(**LAUNCH_OPTIONS, prevent_thread_lock=True, server_name="127.0.0.1")
    try:
        client = Client(url, verbose=False, download_files=tmp_path / "results")
        answers = []
        for seed in range(6):
            picture, more, *_ = client.predict(
                handle_file(shapes_dir / f"{seed}.png"), 1, 2, 0.0, 1.0, api_name="/shapes"
            )
            answers.append(Image.open(picture).convert("RGB"))
    finally:
        demo.close()
    assert {image.size for image in answers} == {(64, 64)} and len(more) == 2
    given, average = pixels([shape(seed) for seed in range(6)]), pixels([model(shape(0), truncation_psi=0).images[0]])
    assert (pixels(answers) - given).abs().mean() < 0.9 * (average - given).abs().mean(), "its colours, at the least"

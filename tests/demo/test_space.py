"""psp_hub.demo.space: where the page listens, and ZeroGPU, as far as a machine without a GPU can show it."""

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from psp_hub.demo import faces, launch, space
from psp_hub.demo.mix import edits
from psp_hub.demo.mix.recipes import Painter, Recipe
from psp_hub.demo.problems import Problem
from psp_hub.demo.settings import Settings
from psp_hub.directions import Direction
from psp_hub.model import PSPModel


@pytest.fixture
def model(model_dir: Path) -> PSPModel:
    return PSPModel.from_pretrained(model_dir)


class ZeroGPU:
    """In place of the package `spaces` on a Space with ZeroGPU: a generator works in a forked process, whose arguments
    and results are pickled, and which never waits for its reader. Here it is done before the first result is read."""

    calls = 0

    def GPU(self, function: Callable, duration: int) -> Callable:  # noqa: N802
        def run(*args: Any) -> Iterator[Any]:
            self.calls += 1
            fork = multiprocessing.get_context("fork")
            here, there = fork.Pipe(duplex=False)
            arguments, sender = fork.Pipe(duplex=False)

            def work() -> None:
                torch.set_num_threads(1)
                try:
                    for result in function(*arguments.recv()):
                        there.send((result, None))
                except Exception as error:  # noqa: BLE001 - for the reader
                    there.send((None, error))
                there.send(None)

            process = fork.Process(target=work)
            process.start()
            sender.send(args)
            results = []
            while (result := here.recv()) is not None:
                results.append(result)
            process.join()
            for value, error in results:
                if error:
                    raise error
                yield value

        return run


@pytest.fixture
def zero_gpu(monkeypatch: pytest.MonkeyPatch) -> ZeroGPU:
    zero_gpu = ZeroGPU()
    monkeypatch.setattr(space, "spaces", zero_gpu)
    # Without `spaces`, on_gpu returns the function itself.
    monkeypatch.setattr(
        faces, "paint_faces", space.on_gpu(getattr(faces.paint_faces, "__wrapped__", faces.paint_faces))
    )
    return zero_gpu


def draw(model: PSPModel, path: Path, seed: int) -> list[list[bytes]]:
    answers = faces.make_faces(model, str(path), Settings(seed, 2, 1.0), gr.Progress())
    return [[Path(p).read_bytes() for p in (face, *(p for p, _ in gallery))] for face, gallery, *_ in answers]


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    image = Image.new("L", (128, 128), 255)
    ImageDraw.Draw(image).ellipse((24, 8, 104, 120), outline=0, width=3)
    image.save(tmp_path / "drawing.png")
    return tmp_path / "drawing.png"


def test_faces_of_another_process(model, drawing, zero_gpu, monkeypatch, tmp_path):
    """The files are there when the page reads them, and gone afterwards; the model is not pickled."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "files"))
    (tmp_path / "files").mkdir()
    monkeypatch.setattr(PSPModel, "__reduce_ex__", None)
    space.move_to_gpu([model])
    answers = draw(model, drawing, 3)
    assert [len(answer) for answer in answers] == [1, 2, 3]
    assert list((tmp_path / "files").iterdir()) == []
    assert zero_gpu.calls == 1
    monkeypatch.undo()
    assert answers == draw(model, drawing, 3)


def test_edited_faces_of_another_process(model, zero_gpu, monkeypatch):
    smile = Direction("smile", "serious … smiling", torch.ones(1, 32), -2.0, 2.0, ("medium",))
    painter = Painter(model.generator, "tiny", {"smile": smile})
    recipes = [Recipe(3, {"fine": 4}, steps={"smile": 1.0}), Recipe(np.ones((8, 32), np.float32))]
    here = [(image.tobytes(), ws.tobytes()) for image, ws in edits.draw_recipes(painter, recipes)]
    monkeypatch.setattr(
        edits, "render_recipes", space.on_gpu(getattr(edits.render_recipes, "__wrapped__", edits.render_recipes))
    )
    monkeypatch.setattr(type(model.generator), "__reduce_ex__", None)
    space.move_to_gpu([model.generator])
    assert [(image.tobytes(), ws.tobytes()) for image, ws in edits.draw_recipes(painter, recipes)] == here
    assert zero_gpu.calls == 1
    with pytest.raises(Problem, match="made for another painter"):
        next(edits.draw_recipes(painter, [Recipe(np.ones((4, 32), np.float32))]))


def test_errors_of_another_process(model, tmp_path, zero_gpu):
    path = tmp_path / "a & b.png"
    path.write_text("text")
    with pytest.raises(Problem) as caught:
        draw(model, path, 0)
    assert caught.value.message.startswith("a &amp; b.png is not a picture")
    assert caught.value.print_exception is False


def test_a_function_that_yields_nothing(monkeypatch, model):
    seen = SimpleNamespace(GPU=lambda function, duration: lambda *args: ("worker", function(*args)))
    monkeypatch.setattr(space, "spaces", seen)
    assert space.on_gpu(lambda model, factor: (model, factor))(model, 2) == ("worker", (model, 2))


def test_without_spaces_nothing_changes(monkeypatch):
    monkeypatch.setattr(space, "spaces", None)
    assert space.on_gpu(draw) is draw


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, ("127.0.0.1", 7860)),
        ({"SPACE_ID": "me/faces"}, ("127.0.0.1", 7860)),
        ({"SYSTEM": "spaces", "SPACE_ID": "me/faces"}, ("0.0.0.0", 7860)),
        ({"GRADIO_SERVER_NAME": "::1", "GRADIO_SERVER_PORT": "80"}, ("::1", 80)),
    ],
)
def test_address(monkeypatch, variables, address):
    for name in ("SYSTEM", "SPACE_ID", "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launch.default_address() == address


def test_a_page_remembers_so_many_sessions_and_no_more():
    """Each call of a program is one: of gradio's 10,000, each takes half a megabyte."""
    with gr.Blocks() as demo:
        gr.State(3)
    app, _, _ = demo.launch(**launch.OPTIONS, prevent_thread_lock=True, server_name="127.0.0.1")
    try:
        for number in range(launch.SESSIONS + 3):
            app.state_holder[f"session {number}"]
        assert len(app.state_holder.session_data) == launch.SESSIONS
        assert "session 2" not in app.state_holder and "session 3" in app.state_holder
    finally:
        demo.close(verbose=False)

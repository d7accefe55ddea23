"""app.py: the models it starts with, what it says of those that it cannot show, and the page without them."""

import importlib.util
import socket
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest
from gradio.components import Component
from huggingface_hub import constants

from psp_hub.config import CONFIG_NAME, PSPConfig
from psp_hub.demo.mix.recipes import Painter
from psp_hub.demo.page import PLACES, build_demo, painter_of, place_of
from psp_hub.generators import load_generator
from psp_hub.generators.fetch import ENVIRONMENT_VARIABLE
from psp_hub.model import PSPModel
from psp_hub.tasks import TASKS
from tests.browser import ROOT

spec = importlib.util.spec_from_file_location("app", ROOT / "app.py")
app = importlib.util.module_from_spec(spec)
spec.loader.exec_module(app)


@pytest.fixture
def model(model_dir: Path) -> PSPModel:
    return PSPModel.from_pretrained(model_dir)


def texts(demo: gr.Blocks) -> str:
    return "\n".join(str(block.value) for block in demo.blocks.values() if isinstance(block, gr.Markdown | gr.HTML))


def test_models_share_a_generator(model_dir, labels_dir):
    """Both folders have a copy of it."""
    models, problems = app.load_models([model_dir, labels_dir])
    assert [one.config.task for one in models] == ["sketch", "segmentation"] and problems == []
    assert models[0].generator is models[1].generator


def test_other_generators_are_not_shared(model, model_dir, labels_dir):
    model.generator.mapping.w_avg += 1
    assert app.load_model(labels_dir, [model]).generator is not model.generator


def test_what_cannot_be_shown(model_dir, labels_dir, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / CONFIG_NAME).write_text("{")
    model = PSPModel.from_pretrained(model_dir)
    model.config = PSPConfig("frontalization", "photo")
    model.save_pretrained(tmp_path / "frontal")
    sources = [tmp_path / "missing", tmp_path / "broken", tmp_path / "frontal", model_dir, model_dir, labels_dir]
    models, problems = app.load_models(sources)
    assert [one.config.task for one in models] == ["frontalization", "sketch", "segmentation"], "the rest is there"
    expected = (
        "missing: .*missing",
        "broken: .*config.json is not valid JSON",
        "model.*: sketch and sketch are both for sketch, expected one model",
    )
    assert len(problems) == len(expected)
    for problem, words in zip(problems, expected, strict=True):
        with pytest.raises(ValueError, match=words):
            raise ValueError(problem)


def test_every_task_has_a_place():
    assert {place_of(PSPConfig(name, row.input_kind)) for name, row in TASKS.items()} == set(PLACES)


def test_page_without_models(generator_dir):
    demo = build_demo([], painter=Painter(load_generator(generator_dir)), problems=["a <b>: it is gone"])
    assert "Not everything could be loaded" in texts(demo) and "a &lt;b&gt;: it is gone" in texts(demo)
    for task in ("sketch", "segmentation", "inversion"):
        assert f"`training/train.py --task {task}` has saved" in texts(demo)
    assert "or `sketch`, which comes with psp-hub" in texts(demo)
    named = {function.api_name for function in demo.fns.values() if function.api_visibility == "public"}
    assert named == {"edit_face"}, "faces can be mixed without a model"


def test_page_with_a_model(model, generator_dir):
    def edit_buttons(demo: gr.Blocks) -> list[bool]:
        return [block.visible for block in demo.blocks.values() if block.elem_id == "sketch-edit"]

    demo = build_demo([model])
    assert "Not everything could be loaded" not in texts(demo) and "--task sketch" not in texts(demo)
    assert edit_buttons(demo) == [True]
    other = build_demo([model], painter=Painter(load_generator(generator_dir)))
    assert edit_buttons(other) == [False], "faces of another generator cannot be edited"
    with pytest.raises(ValueError, match="there is nothing to show"):
        build_demo([])


def test_directions_of_the_painter(model):
    assert painter_of(model.generator, None).directions == {}
    assert painter_of(model.generator, "somebody/other").directions == {}
    painter = painter_of(model.generator, "mobilestylegan-ffhq")
    assert painter.name == "mobilestylegan-ffhq" and "smile" in painter.directions


@pytest.mark.slow
def test_start_without_the_generator(model, tmp_path, only_links, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    for name, value in only_links(tmp_path).items():
        monkeypatch.setenv(name, value)
    model.config = replace(model.config, base_generator="mobilestylegan-ffhq")
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(SystemExit, match="could not be downloaded"):
        app.main(["--model", str(tmp_path / "model")])


@pytest.mark.slow
def test_port_in_use(model_dir):
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(SystemExit, match="port"):
        app.main(["--model", str(model_dir), "--port", str(server.getsockname()[1])])


@pytest.mark.slow
def test_models_of_one_generator_load_it_once(default_generator, make_encoder, tmp_path):
    encoder = make_encoder(default_generator.num_ws, default_generator.w_dim, in_channels=19)
    config = PSPConfig("segmentation", "labels", "mobilestylegan-ffhq")
    PSPModel(encoder, default_generator, config).save_pretrained(tmp_path)
    (sketch, labels), problems = app.load_models(["sketch", tmp_path])
    assert problems == [] and sketch.generator is labels.generator
    assert (sketch.config.task, labels.config.task) == ("sketch", "segmentation")


def test_the_page_has_no_components_of_its_own():
    """gradio writes a file beside the module of each, wherever the package is installed."""

    def below(kind: type) -> list[type]:
        return [found for child in kind.__subclasses__() for found in (child, *below(child))]

    found = below(Component)
    assert gr.File in found and [kind for kind in found if kind.__module__.startswith("psp_hub")] == []

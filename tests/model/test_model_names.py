"""psp_hub.model_names: starters, and which model a name means."""

import json
from pathlib import Path

import pytest
import torch

from psp_hub import PSPModel, model_names
from psp_hub.model import load_model
from psp_hub.model_names import find_model
from tests.tiny_drawings import assert_same_weights

BUILTIN = "mobilestylegan-ffhq"


@pytest.fixture
def starters(tmp_path, model, monkeypatch):
    """A folder of two starters instead of the package's."""
    for name in ("sketch", "other"):
        model.save_pretrained(tmp_path / name)
    (tmp_path / "unfinished").mkdir()
    monkeypatch.setattr(model_names, "STARTERS", tmp_path)
    return tmp_path


def test_from_starter(starters, model):
    assert_same_weights(PSPModel.from_starter("sketch"), model)
    assert PSPModel.from_starter("sketch", generator=model.generator).generator is model.generator


@pytest.mark.parametrize("name", ["hair", "unfinished", "", ".", "../sketch"])
def test_an_unknown_starter_lists_the_known_ones(starters, name):
    with pytest.raises(ValueError, match=f"no starter '{name}', expected one of other, sketch"):
        PSPModel.from_starter(name)


def test_what_is_no_model_is_no_starter(starters):
    (starters / "face-parser").mkdir()
    (starters / "face-parser" / "config.json").write_text("{}")
    assert model_names.starter_names() == ["other", "sketch"]


def test_which_model_a_name_means(starters, model, tmp_path, monkeypatch):
    """A saved folder, then a starter, then a repository. A folder of drawings called like a starter is none."""
    monkeypatch.chdir(tmp_path / "unfinished")
    assert find_model("sketch") == starters / "sketch"
    Path("sketch").mkdir()
    assert find_model("sketch") == starters / "sketch"
    model.save_pretrained("sketch")
    assert find_model("sketch") == "sketch" and find_model(Path("sketch")) == Path("sketch")
    assert find_model("owner/name") == "owner/name"
    assert_same_weights(load_model("other"), model)
    Path("weights").touch()
    for name, message in (
        ("psp.pt", "psp-hub convert psp.pt psp"),
        (
            "weights",
            "weights is not a saved model: expected a saved folder, owner/name on the Hub, or one of other, sk",
        ),
        ("hair", "hair is not a saved model"),
    ):
        with pytest.raises(ValueError, match=message):
            find_model(name)


def test_a_starter_is_not_a_path(starters):
    with pytest.raises(ValueError, match="no starter"):
        PSPModel.from_starter(str(starters / "sketch"))


def test_shipped_starters_name_their_generator():
    for name in model_names.starter_names():
        assert json.loads((model_names.STARTERS / name / "config.json").read_text())["base_generator"] == BUILTIN


@pytest.mark.slow
def test_the_sketch_starter_draws_a_face(default_generator, drawing):
    if not (model_names.STARTERS / "sketch" / "config.json").is_file():
        pytest.skip("starters/sketch is not there yet")
    model = PSPModel.from_starter("sketch", generator=default_generator)
    output = model(drawing)
    assert [image.size for image in output.images] == [(1024, 1024)]
    assert not torch.allclose(output.ws, model.generator.w_avg, atol=0.01)
    assert output.images[0].convert("L").getextrema()[1] > 100  # not black

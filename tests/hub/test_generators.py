"""Generators on the Hub: beside their model, in a repository of their own, or named."""

import json

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from psp_hub import PSPModel
from psp_hub.config import GeneratorReference
from tests.hub_models import BUILTIN, CONFIGS, ENCODER_WEIGHTS, WEIGHTS, assert_loaded, pictures, refer


def test_a_generator_in_a_repository_of_its_own(hub, client, model_dir, generator_dir, tmp_path):
    oid = client.push_a_generator(generator_dir, "org/generator")
    assert sorted(hub.repos["org/generator"].files) == [".gitattributes", "README.md", "config.json", WEIGHTS]
    client.push(model_dir, "org/sketch", generator="org/generator")
    client.push_a_generator(generator_dir, "org/generator", variant="fp16", commit_message="A newer commit")
    files = hub.repos["org/sketch"].files
    assert sorted(files) == [*CONFIGS, ENCODER_WEIGHTS]
    reference = {"pretrained_model_name_or_path": "org/generator", "revision": oid, "subfolder": None, "variant": None}
    assert json.loads(files["config.json"])["base_generator"] == reference

    hub.requests.clear()
    cold = {"cache_dir": tmp_path / "cold"}
    result = client.load("org/sketch", output=tmp_path / "output", **cold)
    assert result["base_generator"] == reference
    assert_loaded(tmp_path / "output", PSPModel.from_pretrained(model_dir))
    of_generator = [request for request in hub.requests if "org/generator" in request]
    assert len(of_generator) == 4  # HEAD and GET of two files: the commit is known
    assert all(f"/resolve/{oid}/" in request for request in of_generator)
    hub.requests.clear()
    client.load("org/sketch", **cold)
    assert hub.requests == ["GET /api/models/org/sketch"]


def test_a_shared_generator_is_not_loaded_again(hub, client, model_dir, cold):
    client.push(model_dir, "org/one")
    client.push(model_dir, "org/two")
    client.load("org/one", keep="first", **cold)
    hub.requests.clear()
    assert client.load("org/two", generator="first", **cold)["shared"]
    assert not any("generator/" in request for request in hub.requests)


@pytest.mark.parametrize(
    "reference",
    [
        {"pretrained_model_name_or_path": "org/generator"},
        {"pretrained_model_name_or_path": "org/generator", "revision": "v1"},
        {"pretrained_model_name_or_path": "org/generator", "revision": "v1", "variant": "fp16"},
        {"pretrained_model_name_or_path": "org/whole", "subfolder": "generator"},
    ],
)
def test_references_in_a_config(hub, client, model_dir, generator_dir, tmp_path, reference):
    client.push(model_dir, "org/whole")
    client.push_a_generator(generator_dir, "org/generator")
    client.push_a_generator(generator_dir, "org/generator", variant="fp16", tag="v1")
    folder = refer(model_dir, tmp_path / "model", GeneratorReference(**reference))
    assert not (folder / "generator").exists()
    client.push(folder, "org/sketch")
    client.load("org/sketch")
    hub.requests.clear()
    client.load("org/sketch", output=tmp_path / "output")
    assert len(hub.requests) == 2  # both names may mean newer commits by now
    loaded = load_file(tmp_path / "output")
    close = {"rtol": 0, "atol": 1e-2 * loaded["images"].abs().max()} if "variant" in reference else {}
    torch.testing.assert_close(loaded["images"], pictures(PSPModel.from_pretrained(model_dir)), **close)


def test_include_generator_makes_a_repository_that_needs_no_other(hub, client, model_dir, generator_dir, tmp_path):
    client.push_a_generator(generator_dir, "org/generator")
    client.push(model_dir, "org/sketch", generator="org/generator", include_generator=True)
    del hub.repos["org/generator"]
    files = hub.repos["org/sketch"].files
    assert json.loads(files["config.json"])["base_generator"] is None
    assert "base_model" not in ModelCard(files["README.md"].decode()).data.to_dict()
    client.load("org/sketch", output=tmp_path / "output", cache_dir=tmp_path / "cold")
    assert_loaded(tmp_path / "output", PSPModel.from_pretrained(model_dir))


def test_a_generator_that_is_no_longer_needed_goes(hub, client, model_dir, generator_dir):
    client.push_a_generator(generator_dir, "org/generator")
    client.push(model_dir, "org/sketch")
    client.push(model_dir, "org/sketch", generator="org/generator")
    assert sorted(hub.repos["org/sketch"].files) == [*CONFIGS, ENCODER_WEIGHTS]


def test_a_built_in_generator_is_named(hub, client, model_dir, tmp_path):
    client.push(refer(model_dir, tmp_path / "model", BUILTIN), "org/sketch")
    files = hub.repos["org/sketch"].files
    assert sorted(files) == [*CONFIGS, ENCODER_WEIGHTS]
    assert json.loads(files["config.json"])["base_generator"] == BUILTIN
    assert client.load("org/sketch", output=tmp_path / "output")["base_generator"] == BUILTIN
    assert_loaded(tmp_path / "output", PSPModel.from_pretrained(model_dir))

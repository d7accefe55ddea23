"""psp_hub.pretrained: models put together, saved and loaded."""

import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file

from psp_hub import PSPConfig, PSPModel
from psp_hub.generators import load_generator
from tests.tiny_drawings import assert_same_weights

BUILTIN = "mobilestylegan-ffhq"


@pytest.mark.parametrize(("num_ws", "w_dim"), [(16, 32), (8, 16)])
def test_encoder_and_generator_must_fit(make_encoder, tiny_generator, num_ws, w_dim):
    message = f"writes {num_ws} styles of size {w_dim}, the generator expects 8 of size 32"
    with pytest.raises(ValueError, match=message):
        PSPModel(make_encoder(num_ws, w_dim), tiny_generator, PSPConfig("sketch"))


def test_round_trip_with_a_generator_of_its_own(tmp_path, model, drawing):
    model.save_pretrained(tmp_path / "new" / "model")
    loaded = PSPModel.from_pretrained(str(tmp_path / "new" / "model"))
    assert loaded.config == model.config == PSPConfig("sketch", "drawing", None)
    assert_same_weights(loaded, model)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    torch.testing.assert_close(loaded(drawing).ws, model(drawing).ws)


def test_a_built_in_generator_is_named_and_not_saved(tmp_path, model):
    model.config = PSPConfig("sketch", base_generator=BUILTIN)
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "encoder"]
    loaded = PSPModel.from_pretrained(tmp_path, generator=model.generator)
    assert loaded.generator is model.generator
    assert loaded.config == model.config
    assert_same_weights(loaded.encoder, model.encoder)


def test_a_built_in_generator_is_saved_on_request(tmp_path, model):
    model.config = PSPConfig("sketch", base_generator=BUILTIN)
    model.save_pretrained(tmp_path, include_generator=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "encoder", "generator"]
    loaded = PSPModel.from_pretrained(tmp_path)
    assert loaded.config.base_generator is None
    assert model.config.base_generator == BUILTIN
    assert_same_weights(loaded, model)


def test_saved_files_do_not_tell_where_the_model_was(tmp_path, model):
    model.save_pretrained(tmp_path / "first")
    PSPModel.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    configs = list((tmp_path / "second").rglob("config.json"))
    assert len(configs) == 3
    assert [path for path in configs if str(tmp_path) in path.read_text()] == []


def test_saved_files_follow_the_umask(tmp_path, model):
    before = os.umask(0o027)
    try:
        model.save_pretrained(tmp_path / "model")
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "model").rglob("*") if path.is_file()]
    assert len(files) == 5
    assert {oct(path.stat().st_mode & 0o777) for path in files} == {"0o640"}
    assert oct((tmp_path / "model" / "encoder").stat().st_mode & 0o777) == "0o750"


@pytest.mark.parametrize(("variant", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_a_variant_is_saved_beside_the_plain_weights(tmp_path, model, variant, dtype):
    model.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path, variant=variant)
    for part in ("encoder", "generator"):
        stored = load_file(tmp_path / part / f"diffusion_pytorch_model.{variant}.safetensors")
        assert {value.dtype for value in stored.values() if value.is_floating_point()} == {dtype}
    assert_same_weights(PSPModel.from_pretrained(tmp_path), model)
    assert next(model.parameters()).dtype == torch.float32
    half = PSPModel.from_pretrained(tmp_path, variant=variant, torch_dtype=None)
    assert {parameter.dtype for parameter in half.parameters()} == {dtype}
    full = PSPModel.from_pretrained(tmp_path, variant=variant)
    assert {parameter.dtype for parameter in full.parameters()} == {torch.float32}
    assert_same_weights(full, half.float())


def test_weights_that_do_not_fit_a_variant_are_refused(tmp_path, model):
    with torch.no_grad():
        model.encoder.heads.offsets[0].bias[0] = 1e5
    with pytest.raises(ValueError, match="weight heads.offsets.0.bias has values up to 1e.05, too large for torch.fl"):
        model.save_pretrained(tmp_path / "new", variant="fp16")
    with pytest.raises(ValueError, match="no variant 'int8', expected one of fp16, bf16, or None"):
        model.save_pretrained(tmp_path / "new", variant="int8")
    assert list(tmp_path.iterdir()) == []
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="saved without the variant 'fp16'"):
        PSPModel.from_pretrained(tmp_path, variant="fp16")


def test_a_save_that_fails_leaves_the_folder_as_it_was(tmp_path, model, monkeypatch):
    folder = tmp_path / "saved"
    model.save_pretrained(folder)
    (folder / "README.md").write_text("Mine.")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def full_disk(state, path, **options):
        Path(path).write_bytes(b"half of it")
        raise SafetensorError("No space left on device")

    changed = PSPModel.from_pretrained(folder)
    changed.encoder.requires_grad_(False).heads.offsets[0].bias += 1
    with monkeypatch.context() as patch:
        patch.setattr("psp_hub.hub.components.save_file", full_disk)
        for target in (folder, tmp_path / "new" / "model"):
            with pytest.raises(OSError, match=r"cannot write .*safetensors: No space left on device"):
                changed.save_pretrained(target)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "encoder", "generator"]
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    changed.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "Mine."
    assert_same_weights(PSPModel.from_pretrained(folder), changed)


def test_a_model_in_a_subfolder(tmp_path, model):
    model.save_pretrained(tmp_path / "models" / "sketch")
    assert_same_weights(PSPModel.from_pretrained(tmp_path, subfolder="models/sketch"), model)
    for outside in ("../models", "/models"):
        with pytest.raises(ValueError, match="expected a relative path inside"):
            PSPModel.from_pretrained(tmp_path, subfolder=outside)


def test_a_folder_has_no_revision(tmp_path, model):
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a folder on this machine, and has no revision 'v1'"):
        PSPModel.from_pretrained(tmp_path, revision="v1")


def test_a_generator_from_another_folder(tmp_path, model, generator_dir):
    model.config = PSPConfig("sketch", base_generator=BUILTIN)
    model.save_pretrained(tmp_path / "model")
    loaded = PSPModel.from_pretrained(tmp_path / "model", generator=generator_dir)
    assert_same_weights(loaded, model)
    assert loaded.config.base_generator is None  # it is saved along: nobody else has that folder


def test_the_hubs_tools_know_the_model(model):
    assert isinstance(model, ModelHubMixin)
    assert model.generate_model_card("org/sketch").data.library_name == "psp-hub"


def test_bfloat16(tmp_path, model, drawing):
    model.save_pretrained(tmp_path)
    half = PSPModel.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    output = half(drawing)
    assert output.ws.dtype == torch.bfloat16
    assert output.images[0].size == (64, 64)
    torch.testing.assert_close(output.ws.float(), model(drawing).ws, rtol=0.05, atol=0.05)
    assert half.mix(output.ws, seed=0, num_variations=2).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loading_and_saving_is_silent(tmp_path, model, caplog, monkeypatch, dtype):
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    model.save_pretrained(tmp_path)
    PSPModel.from_pretrained(tmp_path, torch_dtype=dtype).save_pretrained(tmp_path)
    assert caplog.messages == []


def test_loading_another_generator_that_does_not_fit(tmp_path, model, make_generator):
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="the generator expects 10 of size 32"):
        PSPModel.from_pretrained(tmp_path, generator=make_generator(channels=(16,) * 5, w_dim=32))


@pytest.mark.parametrize("part", ["config.json", "encoder", "generator"])
def test_an_incomplete_folder_is_refused(tmp_path, model, part):
    model.save_pretrained(tmp_path)
    (tmp_path / part).unlink() if part.endswith(".json") else shutil.rmtree(tmp_path / part)
    with pytest.raises(ValueError, match=part.removesuffix(".json")):
        PSPModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not valid JSON"),
        (b'"\xff"', "not valid JSON"),
        (b"[]", "names the class None, expected one of MobileStyleGAN"),
        (b'{"_class_name": "BigGAN"}', "names the class 'BigGAN'"),
    ],
)
def test_a_broken_generator_config_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_generator(tmp_path)
    assert str(tmp_path / "config.json") in str(caught.value)

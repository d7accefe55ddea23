"""psp_hub.model: encode, decode, forward, mix, save and load, with tiny networks."""

import io
import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelHubMixin
from PIL import Image, ImageDraw
from safetensors import SafetensorError
from safetensors.torch import load_file

from psp_hub import PSPConfig, PSPModel, model_names
from psp_hub.generators import load_generator
from psp_hub.images.preprocessing import prepare_drawing, tensor_to_images
from psp_hub.latents import style_indices
from psp_hub.model import load_model
from psp_hub.model_names import find_model

BUILTIN = "mobilestylegan-ffhq"


@pytest.fixture
def model(make_encoder, tiny_generator) -> PSPModel:
    """8 styles of 32 numbers, 64 pixels."""
    return PSPModel(make_encoder(), tiny_generator, PSPConfig("sketch")).eval()


@pytest.fixture
def ws(model, drawing) -> torch.Tensor:
    with torch.no_grad():
        return model.encode(drawing)


def draw(width=300, height=200, radius=80) -> Image.Image:
    image = Image.new("RGB", (width, height), "white")
    x, y = width // 2, height // 2
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), outline="black", width=3)
    return image


@pytest.fixture
def drawing() -> Image.Image:
    return draw()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(2, 1, 256, 256, generator=torch.Generator().manual_seed(0))


# Encode


def test_encode_adds_the_mean_to_the_encoders_answer(model, images):
    torch.testing.assert_close(model.encode(images), model.encoder(images) + model.generator.w_avg)


def test_encode_takes_pictures_of_any_size(model):
    pictures = [draw(300, 200), draw(90, 400, radius=40)]
    ws = model.encode(pictures)
    assert ws.shape == (2, 8, 32)
    torch.testing.assert_close(ws[:1], model.encode(pictures[0]))
    torch.testing.assert_close(ws[1:], model.encode(tuple(pictures[1:])))


def test_encode_does_not_care_how_a_drawing_is_stored(model, drawing):
    for picture in (prepare_drawing(drawing), drawing.convert("L"), drawing.convert("RGBA"), drawing.convert("P")):
        torch.testing.assert_close(model.encode(picture), model.encode(drawing))


def test_truncation_goes_to_the_mean_face(model, images):
    full, mean = model.encode(images), model.generator.w_avg
    assert torch.equal(model.encode(images, truncation_psi=0), mean.expand(2, 8, 32))
    torch.testing.assert_close(model.encode(images, truncation_psi=0.25), 0.25 * full + 0.75 * mean)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([], "empty list"),
        (Image.new("L", (50, 50), 255), "drawing is empty"),
        (Image.new("L", (4, 50)), "too small"),
        (torch.rand(1, 1, 128, 128), r"got \(1, 1, 128, 128\), expected \[N, 1, 256, 256\]"),
        (torch.rand(1, 3, 256, 256), "expected"),
    ],
)
def test_encode_refuses_what_it_cannot_use(model, pictures, message):
    with pytest.raises(ValueError, match=message):
        model.encode(pictures)


def test_encode_refuses_an_unknown_kind_of_input(make_encoder, tiny_generator, drawing):
    model = PSPModel(make_encoder(), tiny_generator, PSPConfig("mine", input_kind="smell"))
    with pytest.raises(ValueError, match="'smell', expected one of drawing"):
        model.encode(drawing)


# Decode


def test_decode_is_the_generators_synthesis(model, ws):
    assert torch.equal(model.decode(ws), model.generator.synthesis(ws))
    assert torch.equal(model.decode(ws, noise_mode="none"), model.generator.synthesis(ws, noise_mode="none"))


def test_random_noise_is_reproducible(model, ws):
    first = model.decode(ws, noise_mode="random", seed=1)
    assert torch.equal(model.decode(ws, noise_mode="random", seed=1), first)
    assert not torch.equal(model.decode(ws, noise_mode="random", seed=2), first)
    assert not torch.equal(model.decode(ws), first)


def test_random_noise_leaves_the_global_generator_alone(model, ws):
    state = torch.get_rng_state()
    model.decode(ws, noise_mode="random", seed=1)
    assert torch.equal(torch.get_rng_state(), state)


def test_decode_refuses_bad_arguments(model, ws):
    with pytest.raises(ValueError, match="'random' needs a seed, got None"):
        model.decode(ws, noise_mode="random")
    with pytest.raises(ValueError, match="'loud', expected one of const, random, none"):
        model.decode(ws, noise_mode="loud")
    with pytest.raises(ValueError, match=r"expected \[N, 8, 32\]"):
        model.decode(ws[:, :7])


# Forward


def test_one_picture_gives_a_list_of_one(model, drawing):
    output = model(drawing)
    (face,) = output.images
    assert (face.mode, face.size) == ("RGB", (64, 64))
    assert output.ws.shape == (1, 8, 32)
    assert not output.ws.requires_grad
    assert face.tobytes() == tensor_to_images(model.decode(model.encode(drawing)))[0].tobytes()


def test_pictures_give_pictures_in_their_order(model):
    pictures = [draw(radius=40), draw(radius=90)]
    output = model(pictures)
    for picture, ws in zip(pictures, output.ws, strict=True):
        torch.testing.assert_close(ws[None], model(picture).ws)
    assert len(output.images) == 2
    assert output.images[0].tobytes() != output.images[1].tobytes()


def test_a_tensor_gives_tensors_with_gradients(model, images):
    images.requires_grad_()
    output = model(images)
    assert output.images.shape == (2, 3, 64, 64)
    output.images.sum().backward()
    assert images.grad.any()
    assert all(parameter.grad is not None for parameter in model.encoder.parameters())


def test_forward_passes_its_arguments_on(model, drawing):
    plain = model(drawing).images[0].tobytes()
    assert model(drawing, truncation_psi=0.5).images[0].tobytes() != plain
    assert model(drawing, noise_mode="none").images[0].tobytes() != plain
    noisy = [model(drawing, noise_mode="random", seed=seed).images[0].tobytes() for seed in (3, 3, 4)]
    assert noisy[0] == noisy[1] != noisy[2]
    with pytest.raises(ValueError, match="needs a seed"):
        model(drawing, noise_mode="random")


def test_mean_face_is_the_same_for_every_picture(model):
    faces = model([draw(radius=40), draw(radius=90)], truncation_psi=0).images
    assert faces[0].tobytes() == faces[1].tobytes()


# Mix


def test_mix_with_strength_0_changes_nothing(model, ws):
    assert torch.equal(model.mix(ws, seed=0, groups=["coarse", "medium", "fine"], strength=0), ws)


@pytest.mark.parametrize("groups", [("coarse",), ("medium",), ("fine",), ("coarse", "fine"), "medium"])
def test_mix_replaces_the_groups_styles_and_no_others(model, ws, groups):
    mixed = model.mix(ws, seed=0, groups=groups)
    indices = style_indices(groups, 8)
    others = [i for i in range(8) if i not in indices]
    assert torch.equal(mixed[:, others], ws[:, others])
    drawn = mixed[0, indices]
    assert torch.equal(drawn, drawn[:1].expand_as(drawn))  # one w for all of them
    assert not torch.isclose(drawn, ws[0, indices]).any(dim=1).all()


def test_mix_changes_the_fine_styles_by_default(model, ws):
    assert torch.equal(model.mix(ws, seed=0), model.mix(ws, seed=0, groups=("fine",)))


def test_mix_goes_half_way(model, ws):
    torch.testing.assert_close(model.mix(ws, seed=0, strength=0.5), (ws + model.mix(ws, seed=0)) / 2)


def test_each_variation_has_a_seed_of_its_own(model, ws):
    variations = model.mix(ws, seed=10, num_variations=3)
    assert variations.shape == (3, 8, 32)
    for i in range(3):
        torch.testing.assert_close(variations[i : i + 1], model.mix(ws, seed=10 + i))
    assert not torch.allclose(variations[0], variations[1])


@pytest.mark.parametrize("shape", [(1, 32), (3, 32), (1, 8, 32), (3, 8, 32)])
def test_mix_takes_styles(model, ws, shape):
    style = torch.randn(shape)
    mixed = model.mix(ws, style=style, groups=["medium"])
    assert mixed.shape == (shape[0], 8, 32)
    expected = style[:, None].expand(-1, 4, -1) if style.ndim == 2 else style[:, 3:7]
    torch.testing.assert_close(mixed[:, 3:7], expected)
    assert torch.equal(mixed[:, :3], ws[:, :3].expand(shape[0], -1, -1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs a seed or a style, got none"),
        ({"seed": 0, "style": torch.zeros(1, 32)}, "needs a seed or a style, got both"),
        ({"seed": 0, "groups": ["hair"]}, "hair.*expected some of coarse, medium, fine"),
        ({"seed": 0, "strength": 1.5}, "strength is 1.5, expected 0 to 1"),
        ({"seed": 0, "strength": float("nan")}, "strength is nan"),
        ({"seed": 0, "num_variations": 0}, "num_variations is 0, expected 1 or more"),
        ({"style": torch.zeros(2, 31)}, r"style has shape \(2, 31\)"),
        ({"style": torch.zeros(2, 7, 32)}, r"style has shape \(2, 7, 32\)"),
        ({"style": torch.zeros(32)}, r"style has shape \(32,\)"),
    ],
)
def test_mix_refuses_bad_arguments(model, ws, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.mix(ws, **arguments)


@pytest.mark.parametrize("shape", [(2, 8, 32), (8, 32), (1, 7, 32), (1, 8, 31)])
def test_mix_refuses_other_ws(model, shape):
    with pytest.raises(ValueError, match=r"ws has shape .*expected \(1, 8, 32\)"):
        model.mix(torch.zeros(shape), seed=0)


# Put together, save and load


@pytest.mark.parametrize(("num_ws", "w_dim"), [(16, 32), (8, 16)])
def test_encoder_and_generator_must_fit(make_encoder, tiny_generator, num_ws, w_dim):
    message = f"writes {num_ws} styles of size {w_dim}, the generator expects 8 of size 32"
    with pytest.raises(ValueError, match=message):
        PSPModel(make_encoder(num_ws, w_dim), tiny_generator, PSPConfig("sketch"))


def assert_same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    a, b = one.state_dict(), other.state_dict()
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


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
    with pytest.raises(ValueError, match="is a folder of this machine, and has no revision 'v1'"):
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


# Pictures as people give them


def test_pictures_as_people_give_them(model, drawing, tmp_path):
    """Names of files, with and without a suffix, arrays, open files, and lists of all."""
    drawing.save(tmp_path / "drawing.png")
    bare = (tmp_path / "drawing.png").rename(tmp_path / "drawing")
    pixels, grey = np.asarray(drawing), np.asarray(drawing.convert("L"))
    same = [str(bare), bare, pixels, grey, grey[..., None], pixels / 255, (grey / 255).astype(np.float16), grey > 128]
    same += [grey.astype(np.int64), grey.astype(np.uint16) * 257, np.asarray(drawing.convert("RGBA")), drawing]
    expected = model.encode(drawing)
    for given in same:
        torch.testing.assert_close(model.encode(given), expected, atol=0.02, rtol=0.02)
    output = model([str(bare), bare, pixels, drawing])
    assert len(output.images) == 4
    torch.testing.assert_close(output.ws, expected.expand(4, -1, -1))
    assert model(np.stack([pixels, pixels])).ws.shape == (2, 8, 32)
    with bare.open("rb") as file:
        torch.testing.assert_close(model.encode(file), expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere.png", "There is no file nowhere.png"),
        (["nowhere.png"], "There is no file nowhere.png"),
        ("https://example.com/face.png", "https://example.com/face.png is an address: download the picture"),
        (io.StringIO("a drawing"), "open as a text, expected in binary mode"),
        (".", r"\. is a folder; a picture file"),
        (7, "got int, expected a picture, an array, the name of a file"),
        ([None], "got NoneType, expected a picture"),
        (np.zeros((3, 64, 64)), r"shape \(3, 64, 64\), expected \[H, W\], \[H, W, 3\]"),
        (np.zeros((0, 64)), r"shape \(0, 64\)"),
        (np.full((64, 64), 200.0), r"floats from 200 to 200, expected \[0, 1\]"),
        (np.full((64, 64), -1.0), r"floats from -1 to -1"),
        (np.full((64, 64), np.nan), r"floats from nan"),
        (np.full((64, 64), 300), "integers from 300 to 300, expected 0 to 255"),
        (np.full((64, 64), "a"), "the array is of <U1"),
        (np.zeros((4, 4), np.uint8), "The array is too small: 4 x 4"),
        ([], "got an empty list"),
    ],
)
def test_what_is_no_picture(model, given, message):
    with pytest.raises(ValueError, match=message):
        model(given)


def test_label_numbers_as_an_array(make_encoder, tiny_generator):
    model = PSPModel(make_encoder(in_channels=19), tiny_generator, PSPConfig("segmentation", "labels")).eval()
    numbers = np.zeros((64, 64), np.uint8)
    numbers[8:60, 12:52], numbers[2:20, 12:52] = 1, 13
    expected = model.prepare(Image.fromarray(numbers))
    for dtype in (np.int64, np.int32, np.uint16, np.uint8):
        assert torch.equal(model.prepare(numbers.astype(dtype)), expected)


# Starters


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

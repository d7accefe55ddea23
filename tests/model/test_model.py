"""psp_hub.model: encode, decode, forward and mix, with tiny networks."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from psp_hub import PSPConfig, PSPModel
from psp_hub.images.preprocessing import prepare_drawing, tensor_to_images
from psp_hub.latents import style_indices
from tests.tiny_drawings import draw

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

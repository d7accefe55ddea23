"""MobileStyleGAN: the generator interface, its gradients, saving and loading, parity with the original."""

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from diffusers.utils import CONFIG_NAME
from diffusers.utils import SAFETENSORS_WEIGHTS_NAME as WEIGHTS_NAME
from safetensors.torch import load_file, save_file
from torch import Tensor

from psp_hub.generators import load_generator
from psp_hub.generators.mobile_stylegan import MobileStyleGAN, halve_kernel
from psp_hub.generators.random_face import convert
from psp_hub.hub.components import load_component
from psp_hub.latents import random_z


@pytest.fixture
def ws(tiny_generator: MobileStyleGAN) -> Tensor:
    return torch.randn(3, tiny_generator.num_ws, tiny_generator.w_dim, generator=torch.Generator().manual_seed(1))


# Interface


@pytest.mark.parametrize("channels", [(16,), (16, 8), (16, 16, 16, 16)])
def test_sizes_follow_from_channels(make_generator, channels):
    generator = make_generator(channels=channels, w_dim=8)
    image = generator.synthesis(torch.randn(2, generator.num_ws, 8))
    assert generator.num_ws == 2 * len(channels)
    assert generator.resolution == 4 * 2 ** len(channels)
    assert image.shape == (2, 3, generator.resolution, generator.resolution)


def test_default_is_the_published_network():
    with torch.device("meta"):
        generator = MobileStyleGAN()
    assert (generator.num_ws, generator.w_dim, generator.resolution) == (16, 512, 1024)


def test_mapping_ignores_the_length_of_z(tiny_generator):
    z = random_z(2, 32, seed=0)
    torch.testing.assert_close(tiny_generator.mapping(3 * z), tiny_generator.mapping(z))


def test_each_style_changes_the_image(tiny_generator, ws):
    before = tiny_generator.synthesis(ws[:1])
    for i in range(tiny_generator.num_ws):
        changed = ws[:1].clone()
        changed[:, i] += 1
        assert not torch.equal(tiny_generator.synthesis(changed), before), f"style {i} does nothing"


# Noise


def test_no_noise_differs_from_const_noise(tiny_generator, ws):
    assert not torch.allclose(tiny_generator.synthesis(ws, "none"), tiny_generator.synthesis(ws, "const"))


# Gradients


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_gradients_are_right(make_generator, noise_mode):
    """Towards the styles and the parameters, against finite differences: the network works in place here and there."""
    synthesis = make_generator(channels=(8, 4), w_dim=3).double().synthesis
    names = ["const", "conv.conv.bias", "blocks.0.conv1.conv.weight", "to_img_modulation.bias"]
    parameters = [synthesis.get_parameter(name).detach().requires_grad_() for name in names]

    def draw(ws: Tensor, *values: Tensor) -> Tensor:
        arguments = (ws, noise_mode, torch.Generator().manual_seed(0))
        image = torch.func.functional_call(synthesis, dict(zip(names, values, strict=True)), arguments)
        return F.avg_pool2d(image, 4)

    ws = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(draw, (ws, *parameters), fast_mode=True)


def test_gradients_reach_every_style(tiny_generator, ws):
    ws.requires_grad_()
    tiny_generator.synthesis(ws).square().sum().backward()
    assert (ws.grad.abs().sum(dim=2) > 0).all()


# Precision


def test_bfloat16_is_close_to_float32(tiny_generator, ws):
    expected = tiny_generator.synthesis(ws)
    image = copy.deepcopy(tiny_generator).to(torch.bfloat16).synthesis(ws.bfloat16())
    assert image.dtype == torch.bfloat16
    assert (image.float() - expected).norm() < 0.02 * expected.norm()


# Saving and loading


@pytest.fixture
def saved(tiny_generator: MobileStyleGAN, tmp_path: Path) -> Path:
    tiny_generator.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def edit_weights(folder: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS_NAME)
    edit(weights)
    save_file(weights, folder / WEIGHTS_NAME)


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps(config | changes))


def test_round_trip_keeps_every_bit(tiny_generator, saved):
    loaded = load_component(MobileStyleGAN, saved)
    expected = tiny_generator.state_dict()
    assert loaded.config["channels"] == [16, 16, 16, 16]
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())


def test_loaded_generator_can_be_saved_again(saved, tmp_path):
    load_component(MobileStyleGAN, saved).save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / WEIGHTS_NAME).read_bytes() == (saved / WEIGHTS_NAME).read_bytes()


def test_loaded_generator_draws_the_same(tiny_generator, saved, ws):
    loaded = load_component(MobileStyleGAN, saved)
    assert not loaded.training
    torch.testing.assert_close(loaded.synthesis(ws), tiny_generator.synthesis(ws), rtol=0, atol=1e-3)


def test_load_in_another_dtype(saved):
    assert load_component(MobileStyleGAN, saved, torch_dtype=torch.bfloat16).w_avg.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["synthesis.const", "mapping.w_avg"])
def test_missing_tensor_is_refused(saved, name):
    edit_weights(saved, lambda weights: weights.pop(name))
    with pytest.raises(ValueError, match=f"do not fit MobileStyleGAN.*missing_keys.*{name}"):
        load_component(MobileStyleGAN, saved)


def test_unexpected_tensor_is_refused(saved):
    edit_weights(saved, lambda weights: weights.update(surplus=torch.ones(1)))
    with pytest.raises(ValueError, match="do not fit MobileStyleGAN.*unexpected_keys.*surplus"):
        load_component(MobileStyleGAN, saved)


def test_tensor_of_wrong_shape_is_refused(saved):
    edit_config(saved, w_dim=16)
    with pytest.raises(ValueError, match="does not hold a MobileStyleGAN.*expected shape"):
        load_component(MobileStyleGAN, saved)


@pytest.mark.parametrize("size", [0, 50, -100])
def test_truncated_file_is_refused(saved, size):
    content = (saved / WEIGHTS_NAME).read_bytes()
    (saved / WEIGHTS_NAME).write_bytes(content[:size])
    with pytest.raises(ValueError, match="does not hold a MobileStyleGAN.*Unable to load weights"):
        load_component(MobileStyleGAN, saved)


def test_folder_without_weights_is_refused(saved):
    (saved / WEIGHTS_NAME).unlink()
    with pytest.raises(ValueError, match=f"does not hold a MobileStyleGAN.*{WEIGHTS_NAME}"):
        load_component(MobileStyleGAN, saved)


@pytest.mark.parametrize("folder", ["nowhere", "someone/a-model-on-the-hub"])
def test_path_without_config_is_refused(folder):
    with pytest.raises(ValueError, match=f"^{folder} does not hold a MobileStyleGAN: .*{folder}/config.json"):
        load_component(MobileStyleGAN, folder)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]"])
def test_config_that_is_no_json_object_is_refused(saved, content):
    (saved / CONFIG_NAME).write_bytes(content)
    with pytest.raises(ValueError, match="does not hold a MobileStyleGAN"):
        load_component(MobileStyleGAN, saved)


def test_config_of_another_class_is_refused(saved):
    edit_config(saved, _class_name="UNet2DModel")
    with pytest.raises(ValueError, match="does not hold a MobileStyleGAN.*'UNet2DModel'"):
        load_component(MobileStyleGAN, saved)


@pytest.mark.parametrize("change", [{"channels": "wide"}, {"channels": []}, {"w_dim": -1}, {"w_dim": None}])
def test_nonsense_in_config_is_refused(saved, change):
    edit_config(saved, **change)
    with pytest.raises(ValueError, match="does not hold a MobileStyleGAN"):
        load_component(MobileStyleGAN, saved)


def test_load_generator_reads_a_saved_folder(tiny_generator, saved):
    assert torch.equal(load_generator(saved).w_avg, tiny_generator.w_avg)


def test_load_generator_refuses_an_unknown_name():
    with pytest.raises(ValueError, match="'biggan' is neither a folder .* mobilestylegan-ffhq"):
        load_generator("biggan")


# The conversion from OpenVINO and the full-size network

CONSTANT = "<net><layers><layer type='Const' name='a'>{}</layer></layers></net>"


@pytest.mark.parametrize(
    "xml",
    [
        None,
        "",
        "<net/>",
        CONSTANT.format(""),
        CONSTANT.format("<data element_type='f32' shape='4' offset='0'/>"),
    ],
    ids=["no file", "no XML", "no constants", "constant without data", "numbers missing"],
)
def test_convert_refuses_other_files(tmp_path, xml):
    data = tmp_path / "random_face" / "data"
    data.mkdir(parents=True)
    if xml is not None:
        for network in ("MappingNetwork", "SynthesisNetwork"):
            (data / f"{network}.xml").write_text(xml)
            (data / f"{network}.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="does not hold the networks of random-face"):
        convert(tmp_path)


@pytest.mark.slow
@torch.inference_mode()
def test_default_generator_equals_the_original(default_generator, golden_mobilestylegan):
    golden = golden_mobilestylegan
    w = default_generator.mapping(golden["z"])
    torch.testing.assert_close(w, golden["w"], rtol=0, atol=1e-4)
    for i, row in enumerate(golden["w_psi07"]):
        image = default_generator.synthesis(row.expand(1, default_generator.num_ws, -1))
        pooled, expected = F.avg_pool2d(image[0], 4), golden["image_256"][i].float()
        torch.testing.assert_close(image[0, :, 480:544, 480:544], golden["crop_480_544"][i], rtol=0, atol=1e-3)
        torch.testing.assert_close(pooled, expected, rtol=0, atol=5e-3)


@pytest.mark.slow
def test_default_w_avg_is_close_to_the_original(default_generator, golden_mobilestylegan):
    assert F.cosine_similarity(default_generator.w_avg, golden_mobilestylegan["w_avg"], dim=0) > 0.999


# Previews


def test_halved_kernels_are_exact_for_pixels_that_come_in_fours():
    coarse, kernel = torch.randn(2, 5, 8, 8), torch.randn(5, 1, 3, 3)
    fine = coarse.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    expected = F.avg_pool2d(F.conv2d(fine, kernel, padding=1, groups=5), 2)
    torch.testing.assert_close(F.conv2d(coarse, halve_kernel(kernel), padding=1, groups=5), expected)


def test_a_preview_at_half_the_resolution_is_exact(tiny_generator):
    ws = torch.randn(2, 8, 32)
    expected = F.avg_pool2d(tiny_generator.synthesis(ws), 2)
    torch.testing.assert_close(tiny_generator.synthesis.preview(ws, 32), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [4, 8, 16])
def test_what_a_preview_leaves_out(tiny_generator, size):
    """Where there are no high-pass bands, no mixing of neighbours and no negative values, it is exact."""
    with torch.no_grad():
        for i, block in enumerate(tiny_generator.synthesis.blocks):
            if 8 * 2**i > size:
                channels = block.up.out_features // 4
                block.up.weight[channels:], block.up.bias[channels:] = 0, 0
                for conv in (block.conv1, block.conv2):
                    conv.depthwise.weight.zero_()[:, :, 1, 1] = 1
                    conv.conv.bias.fill_(1000)
                    conv.modulation.weight.zero_()
                    conv.modulation.bias.fill_(0.1)
    ws = torch.randn(2, 8, 32)
    expected = F.avg_pool2d(tiny_generator.synthesis(ws), 64 // size)
    torch.testing.assert_close(tiny_generator.synthesis.preview(ws, size), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("size", [64, 24, 2])
def test_sizes_that_have_no_preview(tiny_generator, size):
    with pytest.raises(ValueError, match=f"size is {size}, expected one of 4, 8, 16, 32"):
        tiny_generator.synthesis.preview(torch.zeros(1, 8, 32), size)
    with pytest.raises(ValueError, match=f"size is {2 * size}, expected one of 8, 16, 32, 64"):
        tiny_generator.synthesis.preview(torch.zeros(1, 8, 32), 2 * size, rough=True)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_a_rough_preview_has_the_colours_of_one_of_half_the_size(tiny_generator, size):
    ws = torch.randn(2, 8, 32)
    rough = tiny_generator.synthesis.preview(ws, size, rough=True)
    assert rough.shape == (2, 3, size, size) and rough.std() > F.avg_pool2d(rough, 2).std()
    torch.testing.assert_close(F.avg_pool2d(rough, 2), tiny_generator.synthesis.preview(ws, size // 2))


@pytest.mark.slow
def test_previews_of_faces(default_generator):
    z = torch.randn(2, 512, generator=torch.Generator().manual_seed(0))
    ws = default_generator.mapping(z, truncation_psi=0.7)[:, None].repeat(1, 16, 1).detach().requires_grad_(True)
    exact = F.adaptive_avg_pool2d(default_generator.synthesis(ws), 256)
    preview = default_generator.synthesis.preview(ws, 256)
    assert (preview - exact).square().mean() < 0.02 * exact.var()
    rough = default_generator.synthesis.preview(ws, 256, rough=True)
    assert (rough - exact).square().mean() < 0.08 * exact.var()
    target = exact.detach().flip(0)
    ours, theirs = (torch.autograd.grad((x - target).square().mean(), ws)[0] for x in (preview, exact))
    assert F.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.98

"""StyleGAN2: parity with the original and with the paper's formulas, the generator interface, gradients, files."""

import copy
import json
import re
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.generators import load_generator
from psp_hub.generators.stylegan2 import StyledConv, StyleGAN2, ToRGB
from psp_hub.hub.components import load_component
from psp_hub.latents import random_z
from psp_hub.layers import blur, upsample
from tests.golden_weights import BLUR_KERNEL, GOLDEN_FOLDER, fill, latent_avg, original_outputs, relative_error
from tests.tiny_stylegan2 import W_DIM, tiny_stylegan2


@pytest.fixture
def generator() -> StyleGAN2:
    return tiny_stylegan2()


@pytest.fixture
def ws(generator: StyleGAN2) -> Tensor:
    return torch.randn(3, generator.num_ws, generator.w_dim, generator=torch.Generator().manual_seed(1))


# Parity with the original


def from_original(generator: StyleGAN2, tensor: Callable[[str], Tensor]) -> dict[str, Tensor]:
    """State dict of `generator` from the tensors of the original, asked for by name (without `decoder.`)."""

    def translate() -> Iterator[tuple[str, Tensor]]:
        for i in range(len(generator.mapping.layers)):
            weight, bias = tensor(f"style.{i + 1}.weight"), tensor(f"style.{i + 1}.bias")
            yield f"mapping.layers.{i}.weight", weight * 0.01 / weight.shape[1] ** 0.5
            yield f"mapping.layers.{i}.bias", bias * 0.01
        yield "synthesis.const", tensor("input.input")
        convs, to_rgbs = [("conv.", "conv1")], [("to_rgb.", "to_rgb1")]
        for i in range(len(generator.synthesis.blocks)):
            convs += [(f"blocks.{i}.conv0.", f"convs.{2 * i}"), (f"blocks.{i}.conv1.", f"convs.{2 * i + 1}")]
            to_rgbs += [(f"blocks.{i}.to_rgb.", f"to_rgbs.{i}")]
        for ours, theirs in convs + to_rgbs:
            prefix, modulation = f"synthesis.{ours}", tensor(f"{theirs}.conv.modulation.weight")
            weight = tensor(f"{theirs}.conv.weight")[0]  # [C_out, C_in, k, k]
            weight = weight / weight[0].numel() ** 0.5
            yield f"{prefix}modulation.weight", modulation / modulation.shape[1] ** 0.5
            yield f"{prefix}modulation.bias", tensor(f"{theirs}.conv.modulation.bias")
            if "rgb" in theirs:
                yield f"{prefix}weight", weight.flatten(1)
                yield f"{prefix}bias", tensor(f"{theirs}.bias").flatten()
            else:
                yield f"{prefix}weight", weight.transpose(0, 1) if "conv0" in ours else weight
                yield f"{prefix}bias", tensor(f"{theirs}.activate.bias")
                yield f"{prefix}noise_strength", tensor(f"{theirs}.noise.weight").squeeze()
        for i, (ours, _) in enumerate(convs):
            yield f"synthesis.{ours}noise", tensor(f"noises.noise_{i}")

    return {**dict(translate()), "mapping.w_avg": torch.zeros(generator.w_dim)}


@pytest.mark.slow
@torch.inference_mode()
def test_parity_with_the_original():
    """The mapping network and the picture of the original's code, from weights that are filled by formula."""
    golden = original_outputs()
    shapes = dict(json.loads((GOLDEN_FOLDER / "psp_gradual_256_keys.json").read_text()))
    names = {name for name in shapes if re.match(r"decoder\.(?!.*\.kernel$)", name)}

    def tensor(name: str) -> Tensor:
        names.discard(f"decoder.{name}")
        return fill(f"decoder.{name}", torch.Size(shapes[f"decoder.{name}"]))

    with torch.device("meta"):
        generator = StyleGAN2(resolution=256)
    generator.load_state_dict(from_original(generator, tensor), assign=True)
    assert not names, "left over"
    generator = generator.eval()
    z = torch.randn(2, 512, generator=torch.Generator().manual_seed(11))
    assert relative_error(generator.mapping(z), golden["mapping.w"]) < 1e-4
    image = generator.synthesis(golden["gradual_256_sketch.codes"] + latent_avg(14))
    assert relative_error(image, golden["gradual_256_sketch.image"]) < 1e-4


# Parity with the paper's formulas


def naive_blur(x: Tensor, before: int, after: int) -> Tensor:
    """The 4x4 filter, one tap at a time, after a border of zeros."""
    x = F.pad(x, (before, after, before, after))
    height, width = x.shape[2] - 3, x.shape[3] - 3
    taps = [(i, j) for i in range(4) for j in range(4)]
    return sum(BLUR_KERNEL[i, j].item() * x[:, :, i : i + height, j : j + width] for i, j in taps)


def naive_styled_conv(layer: StyledConv, x: Tensor, w: Tensor) -> Tensor:
    """One image at a time, each with its own weights."""
    rows = []
    for i in range(len(x)):
        factors = F.linear(w[i], layer.modulation.weight, layer.modulation.bias)  # [C_in]
        weight = layer.weight.transpose(0, 1) if layer.up else layer.weight  # [C_out, C_in, 3, 3]
        weight = weight * factors[:, None, None]
        weight = weight / torch.sqrt(weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8)
        if layer.up:
            y = naive_blur(F.conv_transpose2d(x[i : i + 1], weight.transpose(0, 1), stride=2), 1, 1)
        else:
            y = F.conv2d(x[i : i + 1], weight, padding=1)
        y = y + layer.noise_strength * layer.noise + layer.bias[:, None, None]
        rows.append(F.leaky_relu(y, 0.2) * 2**0.5)
    return torch.cat(rows)


@pytest.mark.parametrize("up", [False, True])
def test_styled_conv_equals_weights_per_image(generator, ws, up):
    block = generator.synthesis.blocks[1].double()
    layer = block.conv0 if up else block.conv1
    x = torch.randn(3, 8, *([8, 8] if up else [16, 16]), dtype=torch.float64)
    y = layer(x, ws[:, 0].double(), "const", None)
    assert y.shape == (3, 8, 16, 16)
    torch.testing.assert_close(y, naive_styled_conv(layer, x, ws[:, 0].double()))


def test_to_rgb_equals_weights_per_image(generator, ws):
    layer, x, w = generator.synthesis.to_rgb, torch.randn(3, 8, 4, 5), ws[:, 0]
    factors = F.linear(w, layer.modulation.weight, layer.modulation.bias)  # [N, C]
    expected = torch.einsum("kc,nc,nchw->nkhw", layer.weight, factors, x) + layer.bias[:, None, None]
    torch.testing.assert_close(layer(x, w), expected)


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (2, 3, 9, 7)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_blur_equals_its_16_taps(shape, memory_format):
    x = torch.randn(shape)
    torch.testing.assert_close(blur(x.contiguous(memory_format=memory_format)), naive_blur(x, 1, 1))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 4, 5)])
def test_upsample_equals_zeros_between_and_16_taps(shape):
    x = torch.randn(shape)
    sparse = torch.zeros(*shape[:2], 2 * shape[2], 2 * shape[3])
    sparse[:, :, ::2, ::2] = x
    torch.testing.assert_close(upsample(x), naive_blur(sparse, 2, 1))


def test_demodulation_keeps_unit_variance():
    """With the weights of a fresh network, whatever the style."""
    torch.manual_seed(0)
    layer = StyledConv(64, 64, 32, W_DIM)
    factors = layer.modulation(20 * torch.randn(2, W_DIM))
    y = F.conv2d(torch.randn(2, 64, 32, 32) * factors, layer.weight) * layer.demodulation(factors)
    torch.testing.assert_close(y.std(dim=(1, 2, 3)), torch.ones(2), rtol=0.05, atol=0)


# Interface


@pytest.mark.parametrize("resolution, num_ws, parameters", [(256, 14, 30_034_338), (512, 16, 30_276_583)])
def test_smaller_networks_have_as_many_parameters_as_published(resolution, num_ws, parameters):
    with torch.device("meta"):
        generator = StyleGAN2(resolution)
    assert (generator.num_ws, generator.resolution) == (num_ws, resolution)
    assert sum(p.numel() for p in generator.parameters()) == parameters


def test_default_is_the_published_network():
    with torch.device("meta"):
        generator = StyleGAN2()
    assert (generator.num_ws, generator.w_dim, generator.resolution) == (18, 512, 1024)
    assert sum(p.numel() for p in generator.parameters()) == 30_370_060
    assert sum(b.numel() for name, b in generator.named_buffers() if name.endswith("noise")) == 2_796_176


@pytest.mark.parametrize("resolution, num_ws", [(32, 8), (64, 10)])
def test_sizes_follow_from_the_resolution(resolution, num_ws):
    generator = tiny_stylegan2(resolution)
    image = generator.synthesis(torch.randn(2, num_ws, W_DIM))
    assert generator.num_ws == num_ws
    assert image.shape == (2, 3, resolution, resolution)


@pytest.mark.parametrize("multiplier, channels", [(1, [512, 512, 256, 128, 64]), (2, [512, 512, 512, 256, 128])])
def test_channels_follow_the_multiplier(multiplier, channels):
    with torch.device("meta"):
        blocks = StyleGAN2(256, channel_multiplier=multiplier).synthesis.blocks
    assert [len(block.conv1.bias) for block in blocks[1:]] == channels


@pytest.mark.parametrize("resolution", [0, 16, 48, 100, 2048, -32])
def test_wrong_resolution_is_refused(resolution):
    with pytest.raises(ValueError, match=f"resolution is {resolution}, expected one of 32, 64, .*1024"):
        tiny_stylegan2(resolution)


def test_fresh_mapping_network_keeps_the_scale():
    """As in the original, where the leaky ReLU's gain of sqrt 2 makes up for what it cuts off."""
    torch.manual_seed(0)
    w = StyleGAN2(32, w_dim=256, mapping_layers=8, max_channels=4).mapping(random_z(64, 256, seed=0))
    assert 0.5 < w.std() < 2


def test_each_style_acts_on_its_layers(generator, ws):
    """Style 0: the 4 px layer; 2 b + 1: colours of one size and the next size's first layer; 2 b + 2: its second."""
    styles: dict[str, Tensor] = {}
    for name, module in generator.synthesis.named_modules():
        if isinstance(module, (StyledConv, ToRGB)):
            module.register_forward_pre_hook(lambda module, args, name=name: styles.update({name: args[1]}))
    generator.synthesis(ws)
    expected = {"conv": 0, "to_rgb": 1}
    for b in range(3):
        expected |= {f"blocks.{b}.conv0": 2 * b + 1, f"blocks.{b}.conv1": 2 * b + 2, f"blocks.{b}.to_rgb": 2 * b + 3}
    assert styles.keys() == expected.keys()
    assert all(torch.equal(styles[name], ws[:, i]) for name, i in expected.items())


def test_each_style_changes_the_image(generator, ws):
    before = generator.synthesis(ws[:1])
    for i in range(generator.num_ws):
        changed = ws[:1].clone()
        changed[:, i] += 1
        assert not torch.allclose(generator.synthesis(changed), before), f"style {i} does nothing"


def test_image_does_not_depend_on_memory_layout(generator, ws):
    contiguous = copy.deepcopy(generator).to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(contiguous.synthesis(ws), generator.synthesis(ws), rtol=1e-4, atol=1e-4)


# Noise


def test_no_noise_equals_noise_of_strength_zero(generator, ws):
    without = generator.synthesis(ws, "none")
    assert not torch.allclose(without, generator.synthesis(ws, "const"))
    with torch.no_grad():
        for module in generator.modules():
            if isinstance(module, StyledConv):
                module.noise_strength.zero_()
    for noise_mode in ("const", "random"):
        torch.testing.assert_close(generator.synthesis(ws, noise_mode), without)


def test_random_noise_leaves_the_stored_maps_alone(generator, ws):
    before = generator.synthesis(ws)
    generator.synthesis(ws, "random")
    assert torch.equal(generator.synthesis(ws), before)


# Gradients


PARAMETERS = ["const", "conv.weight", "blocks.0.conv0.weight", "blocks.1.conv1.noise_strength", "to_rgb.weight"]


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck])
def test_gradients_are_right(check, noise_mode):
    """Towards the styles and the parameters, against finite differences: the layers work in place here and there."""
    synthesis = tiny_stylegan2(max_channels=2, w_dim=3).double().synthesis
    names = [name for name in PARAMETERS if noise_mode != "none" or not name.endswith("noise_strength")]
    parameters = [synthesis.get_parameter(name).detach().requires_grad_() for name in names]

    def draw(ws: Tensor, *values: Tensor) -> Tensor:
        arguments = (ws, noise_mode, torch.Generator().manual_seed(0))
        image = torch.func.functional_call(synthesis, dict(zip(names, values, strict=True)), arguments)
        return F.avg_pool2d(image, 8)

    ws = torch.randn(2, 8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert check(draw, (ws, *parameters), fast_mode=True)


def test_path_length_penalty_reaches_every_style_and_layer(generator, ws):
    """The regulariser of the paper (section 3.2) differentiates the gradient once more."""
    ws.requires_grad_()
    image = generator.synthesis(ws)
    (gradient,) = torch.autograd.grad((image * torch.randn_like(image)).sum(), ws, create_graph=True)
    gradient.square().sum().backward()
    assert (ws.grad.abs().sum(dim=2) > 0).all()
    for name, parameter in generator.synthesis.named_parameters():
        if not name.endswith("to_rgb.bias"):  # adds a constant to the image
            assert parameter.grad.abs().sum() > 0, name


# Precision


def test_bfloat16_is_close_to_float32(generator, ws):
    expected = generator.synthesis(ws)
    image = copy.deepcopy(generator).to(torch.bfloat16).synthesis(ws.bfloat16())
    assert image.dtype == torch.bfloat16
    assert (image.float() - expected).norm() < 0.03 * expected.norm()


def test_autocast_is_close_to_float32(generator, ws):
    expected = generator.synthesis(ws)
    with torch.autocast("cpu", torch.bfloat16):
        image = generator.synthesis(ws)
    assert (image.float() - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_demodulation_is_at_least_float32(dtype):
    layer = StyledConv(8, 8, 4, W_DIM).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        factors = torch.rand(2, 8, 1, 1, dtype=dtype)
        assert layer.demodulation(factors).dtype == max(dtype, torch.float32, key=lambda d: d.itemsize)


# Saving and loading


def test_round_trip_keeps_every_bit(generator, ws, tmp_path):
    generator.save_pretrained(tmp_path)
    loaded, expected = load_component(StyleGAN2, tmp_path), generator.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert torch.equal(loaded.synthesis(ws), generator.synthesis(ws))


def test_load_generator_reads_a_saved_folder(generator, tmp_path):
    generator.save_pretrained(tmp_path)
    loaded = load_generator(tmp_path)
    assert isinstance(loaded, StyleGAN2)
    assert torch.equal(loaded.w_avg, generator.w_avg)


def test_other_sizes_than_saved_are_refused(generator, tmp_path):
    generator.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"resolution": 100}))
    with pytest.raises(ValueError, match="does not hold a StyleGAN2: resolution is 100"):
        load_component(StyleGAN2, tmp_path)

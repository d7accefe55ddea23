"""psp_hub.generators.banded_stylegan2: the same pictures as the plain forward pass, in bands."""

import pytest
import torch

from psp_hub.generators import banded_stylegan2, stylegan2
from psp_hub.generators.stylegan2 import StyledConv, StyleGAN2


@pytest.fixture
def generator() -> StyleGAN2:
    """64 px, other channels at each size, noise and biases that are not zero."""
    torch.manual_seed(0)
    generator = StyleGAN2(64, w_dim=10, mapping_layers=1, channels=(16, 12, 10, 8, 6)).double().requires_grad_(False)
    for name, weight in generator.synthesis.named_parameters():
        if name.endswith(("noise_strength", ".bias")):
            weight.add_(torch.randn_like(weight) / 3)
    return generator.eval()


@pytest.fixture
def ws(generator) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(2, generator.num_ws, generator.w_dim, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("band_bytes", [1, 3 * 4 * 32 * 6 * 8, 2**23])  # a row of the last input, three, everything
@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_the_same_pictures(generator, ws, monkeypatch, band_bytes, noise_mode):
    monkeypatch.setattr(banded_stylegan2, "BAND_BYTES", band_bytes)
    rngs = [torch.Generator().manual_seed(5) for _ in range(2)]
    drawn = generator.synthesis(ws, noise_mode, rngs[0])
    monkeypatch.setattr(stylegan2, "can_be_banded", lambda *args: False)
    expected = generator.synthesis(ws, noise_mode, rngs[1])
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-10)
    assert drawn.is_contiguous()
    assert torch.equal(rngs[0].get_state(), rngs[1].get_state())


def test_gradients_take_the_plain_way(generator, ws):
    ws.requires_grad_()
    assert torch.autograd.grad(generator.synthesis(ws).square().sum(), ws)[0].abs().sum() > 0
    with torch.no_grad():
        assert not generator.synthesis(ws).requires_grad
    generator.requires_grad_(True)
    assert generator.synthesis(ws.detach()).requires_grad


@pytest.mark.parametrize("dtype, atol", [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_other_precisions(generator, ws, dtype, atol):
    expected = generator.synthesis(ws)
    drawn = torch.nn.Module.to(generator, dtype).synthesis(ws.to(dtype))
    assert drawn.dtype == dtype
    assert (drawn.double() - expected).abs().max() <= atol * expected.abs().max()


def test_weights_stay_as_they_are(generator, ws):
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    generator.synthesis(ws)
    assert all(torch.equal(value, before[name]) for name, value in generator.state_dict().items())
    assert all(module.noise.is_contiguous() for module in generator.modules() if isinstance(module, StyledConv))


def test_no_pictures(generator, ws):
    assert generator.synthesis(ws[:0]).shape == (0, 3, 64, 64)

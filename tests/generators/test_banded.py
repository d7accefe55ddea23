"""psp_hub.generators.banded: the same pictures as the plain forward pass, in bands."""

import pytest
import torch

from psp_hub.generators import banded, mobile_stylegan
from psp_hub.generators.mobile_stylegan import MobileStyleGAN


@pytest.fixture
def generator() -> MobileStyleGAN:
    """64 px, other channels at each size, noise that is not zero."""
    torch.manual_seed(0)
    generator = MobileStyleGAN((16, 32, 24, 12), w_dim=10, mapping_layers=1).double().requires_grad_(False)
    for name, buffer in generator.named_buffers():
        if name.endswith("noise"):
            buffer.normal_()
    return generator.eval()


@pytest.fixture
def plain(monkeypatch):
    """Calls something with bands switched off."""

    def call(function, *args, **options):
        with monkeypatch.context() as patch:
            patch.setattr(mobile_stylegan, "can_be_banded", lambda *args: False)
            return function(*args, **options)

    return call


def styles(generator: MobileStyleGAN, number: int = 2) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(number, generator.num_ws, generator.w_dim, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("band_bytes", [1, 3 * 32 * 12 * 8 * 4, 2**21])  # a row of input, three, everything
@pytest.mark.parametrize("small", [4, 16])  # where bands begin
@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_the_same_pictures(generator, plain, monkeypatch, band_bytes, small, noise_mode):
    monkeypatch.setattr(banded, "BAND_BYTES", band_bytes)
    monkeypatch.setattr(banded, "SMALL", small)
    ws = styles(generator)
    rngs = [torch.Generator().manual_seed(5) for _ in range(2)]
    drawn = generator.synthesis(ws, noise_mode, rngs[0])
    expected = plain(generator.synthesis, ws, noise_mode, rngs[1])
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-10)
    assert drawn.is_contiguous()  # safetensors and views want that
    assert torch.equal(rngs[0].get_state(), rngs[1].get_state())


@pytest.mark.parametrize("band_bytes", [1, 2**21])
@pytest.mark.parametrize("small", [4, 16])
@pytest.mark.parametrize("size, rough", [(4, False), (8, True), (8, False), (16, True), (32, False), (64, True)])
def test_the_same_previews(generator, plain, monkeypatch, band_bytes, small, size, rough):
    monkeypatch.setattr(banded, "BAND_BYTES", band_bytes)
    monkeypatch.setattr(banded, "SMALL", small)
    ws = styles(generator)
    expected = plain(generator.synthesis.preview, ws, size, rough)
    torch.testing.assert_close(generator.synthesis.preview(ws, size, rough), expected, rtol=0, atol=1e-10)


def test_gradients_take_the_plain_way(generator):
    ws = styles(generator).requires_grad_()
    assert torch.autograd.grad(generator.synthesis(ws).square().sum(), ws)[0].abs().sum() > 0
    with torch.no_grad():
        assert not generator.synthesis(ws).requires_grad
    generator.requires_grad_(True)
    assert generator.synthesis(ws.detach()).requires_grad
    assert generator.synthesis.preview(ws.detach(), 16).requires_grad


def test_who_is_drawn_in_bands(generator):
    synthesis, ws = generator.synthesis, styles(generator)
    assert banded.can_be_banded(synthesis, ws)
    assert not banded.can_be_banded(synthesis, ws.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not banded.can_be_banded(synthesis, ws)


@pytest.mark.parametrize("dtype, atol", [(torch.float32, 1e-4), (torch.bfloat16, 0.5)])
def test_other_precisions(generator, plain, dtype, atol):
    ws = styles(generator)
    expected = generator.synthesis(ws)
    drawn = torch.nn.Module.to(generator, dtype).synthesis(ws.to(dtype))
    assert drawn.dtype == dtype
    assert (drawn.double() - expected).abs().max() <= atol * expected.abs().max()


def test_no_pictures(generator):
    assert generator.synthesis(styles(generator, 0)).shape == (0, 3, 64, 64)

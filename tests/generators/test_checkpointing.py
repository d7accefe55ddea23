"""Gradient checkpointing of the generators: the same gradients from less memory."""

import pytest
import torch
from torch import Tensor, nn

from psp_hub.generators.stylegan2 import StyleGAN2


@pytest.fixture(params=["MobileStyleGAN", "StyleGAN2"])
def generator(request, tiny_generator) -> nn.Module:
    if request.param == "MobileStyleGAN":
        return tiny_generator.requires_grad_(False)
    torch.manual_seed(0)
    generator = StyleGAN2(resolution=64, channel_multiplier=1, w_dim=32, mapping_layers=1, max_channels=16)
    for name, value in generator.named_parameters():
        if name.endswith("noise_strength"):
            nn.init.constant_(value, 0.3)
    return generator.requires_grad_(False)


def draw(generator: nn.Module, noise_mode: str) -> tuple[Tensor, Tensor, int]:
    """Images, the gradient of a loss by ws, and bytes that are kept between the two."""
    rng = torch.Generator().manual_seed(1)
    ws = torch.randn(2, generator.num_ws, 32, generator=rng).requires_grad_()
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        images = generator.synthesis(ws, noise_mode=noise_mode, generator=rng)
    images.square().mean().backward()
    return images.detach(), ws.grad, sum(sizes.values())


@pytest.mark.parametrize("noise_mode", ["const", "none"])
def test_the_same_gradients_from_less_memory(generator, noise_mode):
    images, gradient, size = draw(generator, noise_mode)
    generator.enable_gradient_checkpointing()
    same_images, same_gradient, smaller = draw(generator, noise_mode)
    assert torch.equal(same_images, images) and torch.equal(same_gradient, gradient)
    assert smaller < 0.6 * size
    generator.disable_gradient_checkpointing()
    assert draw(generator, noise_mode)[2] == size


def test_random_noise_is_drawn_once(generator):
    images, gradient, _ = draw(generator, "random")
    generator.enable_gradient_checkpointing()
    same_images, same_gradient, _ = draw(generator, "random")
    assert torch.equal(same_images, images) and torch.equal(same_gradient, gradient)


def test_without_gradients_nothing_is_different(generator):
    ws = torch.randn(1, generator.num_ws, 32)
    generator.enable_gradient_checkpointing()
    with torch.no_grad():
        assert not generator.synthesis(ws).requires_grad

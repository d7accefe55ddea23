"""psp_hub.layers: pixel norm, wavelets, modulation, sizes."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from psp_hub.layers import Modulation, inverse_haar, pixel_norm, resample


def naive_inverse_haar(x: Tensor) -> Tensor:
    """One output pixel at a time: each band adds a half, with the sign of its filter at that pixel."""
    n, channels, height, width = x.shape
    c = channels // 4
    image = torch.zeros(n, c, 2 * height, 2 * width, dtype=x.dtype)
    for channel in range(c):
        low, dy, dx, dxy = (x[:, i] for i in (channel, c + 3 * channel, c + 3 * channel + 1, c + 3 * channel + 2))
        for i in range(2 * height):
            for j in range(2 * width):
                at = (slice(None), i // 2, j // 2)
                sign_y, sign_x = (-1) ** (i % 2), (-1) ** (j % 2)
                image[:, channel, i, j] = 0.5 * (
                    low[at] + sign_y * dy[at] + sign_x * dx[at] + sign_y * sign_x * dxy[at]
                )
    return image


def forward_haar(image: Tensor) -> Tensor:
    """[N, C, 2H, 2W] -> [N, 4C, H, W], the transform that `inverse_haar` undoes."""
    a, b = image[:, :, ::2, ::2], image[:, :, ::2, 1::2]
    c, d = image[:, :, 1::2, ::2], image[:, :, 1::2, 1::2]
    high = torch.stack([a + b - c - d, a - b + c - d, a - b - c + d], dim=2)  # [N, C, 3, H, W]
    return torch.cat([a + b + c + d, high.flatten(1, 2)], dim=1) / 2


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (2, 12, 3, 5)])
def test_inverse_haar_equals_naive_loop(shape):
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(inverse_haar(x), naive_inverse_haar(x))


def test_inverse_haar_reconstructs_the_image():
    image = torch.randn(2, 3, 8, 6, dtype=torch.float64)
    torch.testing.assert_close(inverse_haar(forward_haar(image)), image)


def test_inverse_haar_keeps_energy():
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(inverse_haar(x).square().sum(), x.square().sum())


def test_inverse_haar_does_not_depend_on_memory_layout():
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(inverse_haar(x.contiguous(memory_format=torch.channels_last)), inverse_haar(x))


def test_inverse_haar_gradient():
    x = torch.randn(1, 8, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(inverse_haar, x)


def test_pixel_norm_gives_unit_mean_square():
    z = pixel_norm(5 * torch.randn(4, 512))
    torch.testing.assert_close(z.square().mean(dim=1), torch.ones(4))


def test_pixel_norm_of_zero_is_zero():
    assert torch.equal(pixel_norm(torch.zeros(1, 8)), torch.zeros(1, 8))


@pytest.mark.parametrize("fan_in", [1, 9])
def test_modulation_is_a_scaled_affine_map(fan_in):
    modulation = Modulation(w_dim=4, channels=6, fan_in=fan_in)
    w = torch.randn(3, 4)
    factors = modulation(w)
    assert factors.shape == (3, 6, 1, 1)
    torch.testing.assert_close(factors[:, :, 0, 0], (w @ modulation.weight.T + modulation.bias) / fan_in**0.5)


def test_resample():
    """Means of squares where pictures become smaller, PIL's bilinear filter where they become larger."""
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(resample(images, 4), images.unflatten(2, (4, 2)).unflatten(4, (4, 2)).mean(dim=(3, 5)))
    assert torch.equal(resample(images, 8), images)
    enlarged = [Image.fromarray(plane.numpy()).resize((32, 32), Image.Resampling.BILINEAR) for plane in images[0]]
    torch.testing.assert_close(resample(images, 32)[0], torch.from_numpy(np.stack(enlarged)))

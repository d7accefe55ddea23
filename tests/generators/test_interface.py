"""psp_hub.generators.base: what every generator can do."""

import pytest
import torch
from torch import Tensor

from psp_hub.generators.base import Generator
from psp_hub.latents import random_z
from tests.tiny_stylegan2 import tiny_stylegan2


@pytest.fixture(params=["MobileStyleGAN", "StyleGAN2"])
def generator(request, tiny_generator) -> Generator:
    """With 8 styles."""
    return tiny_generator if request.param == "MobileStyleGAN" else tiny_stylegan2()


@pytest.fixture
def ws(generator: Generator) -> Tensor:
    return torch.randn(3, 8, generator.w_dim, generator=torch.Generator().manual_seed(1))


def test_mapping_truncates_around_w_avg(generator):
    z = random_z(2, generator.w_dim, seed=0)
    w = generator.mapping(z)
    assert w.shape == (2, generator.w_dim)
    torch.testing.assert_close(generator.mapping(z, truncation_psi=0.5), (w + generator.w_avg) / 2)


@pytest.mark.parametrize("noise_mode", ["const", "none"])
def test_batch_equals_one_by_one(generator, ws, noise_mode):
    generator, ws = generator.double(), ws.double()  # float32 rounds differently in other batch sizes
    one_by_one = torch.cat([generator.synthesis(row[None], noise_mode) for row in ws])
    torch.testing.assert_close(generator.synthesis(ws, noise_mode), one_by_one)


@pytest.mark.parametrize(("rows", "less"), [((8,), 0), ((1, 7), 0), ((1, 8), 1)])
def test_wrong_shape_of_ws_is_refused(generator, rows, less):
    for shape in ((*rows, generator.w_dim - less), (1, 8, generator.w_dim, 1)):
        with pytest.raises(ValueError, match=rf"ws has shape .*expected \[N, 8, {generator.w_dim}\]"):
            generator.synthesis(torch.zeros(shape))


def test_const_noise_repeats(generator, ws):
    assert torch.equal(generator.synthesis(ws), generator.synthesis(ws, "const"))


def test_random_noise_repeats_with_its_seed(generator, ws):
    first, again, other = (generator.synthesis(ws, "random", torch.Generator().manual_seed(i)) for i in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_random_noise_differs_between_rows(generator, ws):
    images = generator.synthesis(ws[:1].expand(2, -1, -1), "random", torch.Generator().manual_seed(5))
    assert not torch.allclose(images[0], images[1])


def test_wrong_noise_mode_is_refused(generator, ws):
    with pytest.raises(ValueError, match="noise_mode is 'loud', expected one of const, random, none"):
        generator.synthesis(ws, "loud")

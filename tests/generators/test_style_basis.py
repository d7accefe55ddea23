"""psp_hub.generators.style_basis: the directions of the styles, by how much they change the factors of channels."""

import copy

import pytest
import torch
from torch import nn

from psp_hub.generators.style_basis import style_basis, to_ws
from psp_hub.layers import Modulation
from psp_hub.refinement import picture, refine
from tests.tiny_stylegan2 import tiny_stylegan2


@pytest.fixture(params=["mobile", "stylegan2"])
def generator(request, tiny_generator):
    return tiny_generator if request.param == "mobile" else tiny_stylegan2()


@torch.no_grad()
def test_the_directions_and_their_order(generator):
    basis = style_basis(generator)
    unit = torch.eye(generator.w_dim)
    assert basis.shape == (generator.num_ws, generator.w_dim, generator.w_dim)
    counts = basis.square().sum(dim=1, keepdim=True).round()  # [num_ws, 1, w_dim], 0 for what changes nothing
    torch.testing.assert_close(basis.mT @ basis, unit * counts, rtol=0, atol=1e-4)
    for maps, number in zip(generator.synthesis.modulations(), counts.sum(dim=(1, 2)), strict=True):
        assert number == min(generator.w_dim, sum(modulation.out_features for modulation in maps))
    for maps, directions in zip(generator.synthesis.modulations(), basis, strict=True):
        change = sum((modulation.weight @ directions).square().sum(dim=0) for modulation in maps)  # [w_dim]
        assert (change.diff() > -1e-4 * change.max()).all() and change[-1] > 1.5 * change.mean()


def test_it_is_found_once_for_the_same_weights(tiny_generator):
    first = style_basis(tiny_generator)
    assert style_basis(tiny_generator) is first
    copied = copy.deepcopy(tiny_generator)
    assert style_basis(copied) is not first and style_basis(copied).equal(first)
    with torch.no_grad():
        tiny_generator.synthesis.conv.modulation.weight.normal_()
    assert not style_basis(tiny_generator).equal(first)
    assert style_basis(copied).equal(first)


def test_found_in_inference_mode_it_serves_gradients(tiny_generator):
    with torch.inference_mode():
        style_basis(tiny_generator)
    start = tiny_generator.w_avg.expand(1, 8, -1)
    assert not refine(tiny_generator, start, torch.zeros(1, 3, 256, 256), 2).equal(start)


@torch.no_grad()
def test_every_map_is_read_by_the_style_it_is_listed_with(generator):
    listed = generator.synthesis.modulations()
    modulations = [module for module in generator.synthesis.modules() if isinstance(module, Modulation)]
    assert sorted(map(id, modulations)) == sorted(id(modulation) for maps in listed for modulation in maps)
    seen = {}
    for modulation in modulations:
        modulation.register_forward_hook(lambda module, inputs, _: seen.update({module: inputs[0]}))
    ws = torch.randn(1, generator.num_ws, generator.w_dim)
    with torch.enable_grad():  # the banded way does not call the modules
        generator.synthesis(ws.requires_grad_())
    for i, maps in enumerate(listed):
        assert all(seen[modulation].equal(ws[:, i]) for modulation in maps)


def test_coordinates(tiny_generator):
    basis, coordinates = style_basis(tiny_generator), torch.zeros(1, 8, 32)
    coordinates[0, 3, 30] = 2.0
    expected = torch.zeros(8, 32)
    expected[3] = 2 * basis[3, :, 30]
    assert expected.abs().max() > 0
    torch.testing.assert_close(to_ws(coordinates, basis)[0], expected)


class Turned(nn.Module):
    """A mapping network whose W is turned."""

    def __init__(self, mapping: nn.Module, turn: torch.Tensor):
        super().__init__()
        self.mapping, self.turn, self.w_avg = mapping, turn, mapping.w_avg @ turn

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.mapping(z) @ self.turn


def test_refinement_does_not_depend_on_the_axes_of_w(tiny_generator):
    """The same generator with all of W turned finds the same face: Adam alone would not."""
    rng = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(32, 32, generator=rng)).Q
    turned = copy.deepcopy(tiny_generator)
    with torch.no_grad():
        for maps in turned.synthesis.modulations():
            for modulation in maps:
                modulation.weight.copy_(modulation.weight @ turn)
        turned.mapping = Turned(turned.mapping, turn)
        ws = tiny_generator.mapping(torch.randn(2, 32, generator=rng))[:, None].expand(-1, 8, -1)
        target, start = picture(tiny_generator, ws[:1]), ws[1:]
        torch.testing.assert_close(picture(turned, ws[:1] @ turn), target, rtol=1e-3, atol=1e-3)
    found, found_turned = (refine(g, s, target, 6) for g, s in ((tiny_generator, start), (turned, start @ turn)))
    with torch.no_grad():
        before, after = picture(tiny_generator, start), picture(tiny_generator, found)
        after_turned = picture(turned, found_turned)
    assert (after_turned - after).square().mean() < 0.01 * (after - before).square().mean()

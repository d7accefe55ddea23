"""psp_hub.latents and psp_hub.mixing: groups of styles, truncation, mixing, seeds."""

import pytest
import torch

from psp_hub.latents import random_z, style_indices, truncate
from psp_hub.mixing import mix


@pytest.fixture
def ws() -> torch.Tensor:
    return torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("groups", "num_ws", "expected"),
    [
        (["coarse"], 16, [0, 1, 2]),
        (["medium"], 16, [3, 4, 5, 6]),
        (["fine"], 18, list(range(7, 18))),
        (["fine", "coarse"], 9, [0, 1, 2, 7, 8]),
        (["coarse", "medium", "fine"], 14, list(range(14))),
        ([], 16, []),
        ("medium", 16, [3, 4, 5, 6]),  # one name instead of several
        (["medium", "fine"], 5, [3, 4]),  # a small generator has no fine styles
    ],
)
def test_style_indices(groups, num_ws, expected):
    assert style_indices(groups, num_ws) == expected


def test_style_indices_refuses_unknown_group():
    with pytest.raises(ValueError, match="hair.*expected some of coarse, medium, fine"):
        style_indices(["fine", "hair"], 16)


@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 3)])
def test_truncate_moves_along_the_line_to_the_average(shape):
    w, w_avg = torch.randn(shape), torch.randn(3)
    torch.testing.assert_close(truncate(w, w_avg, 0.25), 0.25 * w + 0.75 * w_avg)


def test_truncate_with_psi_1_changes_nothing():
    w = torch.randn(4, 3)
    assert torch.equal(truncate(w, torch.randn(3), 1.0), w)


def test_truncate_with_psi_0_is_the_average():
    w_avg = torch.randn(3)
    assert torch.equal(truncate(torch.randn(4, 3), w_avg, 0.0), w_avg.expand(4, 3))


@pytest.mark.parametrize("style_shape", [(1, 3), (2, 3), (1, 5, 3), (2, 5, 3)])
def test_mix_replaces_the_chosen_styles_and_no_others(ws, style_shape):
    style = torch.randn(style_shape)
    mixed = mix(ws, style, [1, 3])
    full = (style[:, None] if style.ndim == 2 else style).expand(2, 5, 3)
    assert torch.equal(mixed[:, [0, 2, 4]], ws[:, [0, 2, 4]])
    torch.testing.assert_close(mixed[:, [1, 3]], full[:, [1, 3]])


@pytest.mark.parametrize("strength", [0.25, torch.tensor(0.25)])
def test_mix_strength_interpolates(ws, strength):
    style = torch.randn(1, 3)
    torch.testing.assert_close(mix(ws, style, [0], strength)[:, 0], 0.75 * ws[:, 0] + 0.25 * style)


def test_mix_strength_0_keeps_every_style(ws):
    assert torch.equal(mix(ws, torch.randn(2, 3), [0, 1], 0.0), ws)


def test_mix_one_face_with_many_styles(ws):
    style = torch.randn(4, 3)
    mixed = mix(ws[:1], style, [2])
    assert torch.equal(mixed[:, :2], ws[:1, :2].expand(4, 2, 3))
    torch.testing.assert_close(mixed[:, 2], style)


@pytest.mark.parametrize(
    ("num", "style_shape"),
    [
        (2, (3, 3)),  # rows that do not pair up
        (2, (4, 3)),
        (1, (2, 4)),  # another w_dim
        (1, (2, 5, 4)),
        (1, (2, 6, 3)),  # another num_ws
        (1, (2, 1, 3)),
        (1, (3,)),
        (1, ()),
        (1, (1, 1, 5, 3)),
    ],
)
def test_mix_refuses_shapes_that_do_not_fit(ws, num, style_shape):
    rows = "any" if num == 1 else "2 or 1"
    with pytest.raises(ValueError, match=rf"style has shape .*expected \[{rows}, 3\] or \[{rows}, 5, 3\]"):
        mix(ws[:num], torch.randn(style_shape), [0])


def test_mix_leaves_its_input_alone(ws):
    before = ws.clone()
    mix(ws, torch.randn(1, 3), [0, 1, 2, 3, 4])
    assert torch.equal(ws, before)


def test_mix_passes_gradients_to_both(ws):
    style = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: mix(a, b, [1, 2], 0.3), (ws.double().requires_grad_(), style))


def test_random_z_is_standard_normal():
    z = random_z(64, 512, seed=0)
    assert z.shape == (64, 512)
    assert abs(z.mean()) < 0.02
    assert abs(z.std() - 1) < 0.02


def test_random_z_rows_do_not_depend_on_their_number():
    assert torch.equal(random_z(5, 8, seed=3)[:2], random_z(2, 8, seed=3))


def test_random_z_differs_between_rows_and_seeds():
    rows = torch.cat([random_z(3, 8, seed=0), random_z(3, 8, seed=100)])
    assert len({tuple(row.tolist()) for row in rows}) == 6


def test_random_z_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    random_z(2, 8, seed=0)
    assert torch.equal(torch.get_rng_state(), state)

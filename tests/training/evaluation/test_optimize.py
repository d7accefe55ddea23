"""training/evaluation/optimize.py: styles of a picture, found through a tiny generator."""

import math

import pytest
import torch

from training.evaluation.optimize import learning_rate_factor, optimize, picture, reconstruction_loss, spread

LOSS = reconstruction_loss()


@pytest.fixture
def target(tiny_generator):
    """A picture of that generator, and the w that drew it."""
    w = tiny_generator.mapping(torch.randn(1, 32, generator=torch.Generator().manual_seed(3)))
    with torch.no_grad():
        return picture(tiny_generator, w[:, None].expand(-1, 8, -1)), w


@pytest.mark.parametrize(("space", "num_styles"), [("w", 1), ("w+", 8)])
def test_the_picture_is_found(tiny_generator, target, space, num_styles):
    images, _ = target
    before = LOSS(picture(tiny_generator, tiny_generator.w_avg.expand(1, 8, -1)), images).item()
    losses = []
    ws = optimize(tiny_generator, images, LOSS, 25, space, progress=lambda step, loss: losses.append((step, loss)))
    after = LOSS(picture(tiny_generator, ws), images).item()
    assert after < before / 4
    assert ws.shape == (1, 8, 32) and not ws.requires_grad
    assert len(ws[0].unique(dim=0)) == num_styles
    assert [step for step, _ in losses] == list(range(1, 26)) and losses[0][1].shape == (1,)
    if space == "w+":
        assert losses[0][1].item() == pytest.approx(before)  # no noise there


def test_two_steps_against_adam_by_hand(tiny_generator, target):
    images, _ = target
    w, m, v = tiny_generator.w_avg.expand(1, 8, -1).clone(), 0.0, 0.0
    for step in (1, 2):
        w.requires_grad_(True)
        (gradient,) = torch.autograd.grad(LOSS(picture(tiny_generator, w), images).sum(), w)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        unbiased = m / (1 - 0.9**step), v / (1 - 0.999**step)
        rate = 0.3 * learning_rate_factor(step - 1, 2)
        w = (w - rate * unbiased[0] / (unbiased[1].sqrt() + 1e-8)).detach()
    torch.testing.assert_close(optimize(tiny_generator, images, LOSS, 2, "w+", learning_rate=0.3), w)


def test_each_picture_of_a_batch_is_on_its_own(tiny_generator, target):
    images = torch.cat([target[0], -target[0]])
    both = optimize(tiny_generator, images, LOSS, 3)
    torch.testing.assert_close(both[1:], optimize(tiny_generator, images[1:], LOSS, 3), rtol=1e-4, atol=1e-4)


def test_the_generator_is_left_alone(tiny_generator, target):
    before = {name: value.clone() for name, value in tiny_generator.state_dict().items()}
    with torch.no_grad():  # as in evaluation
        optimize(tiny_generator, target[0], LOSS, 2)
    assert all(torch.equal(value, before[name]) for name, value in tiny_generator.state_dict().items())
    assert all(value.grad is None and value.requires_grad for value in tiny_generator.parameters())


def test_start(tiny_generator, target):
    images, w = target
    exact = w[:, None].expand(-1, 8, -1)
    losses = {}
    for space in ("w", "w+"):
        optimize(
            tiny_generator, images, LOSS, 1, space, exact, progress=lambda _, x, key=space: losses.update({key: x})
        )
    assert losses == {"w": pytest.approx(0, abs=1e-9), "w+": pytest.approx(0, abs=1e-9)}
    apart = torch.cat([exact[:, :4] + 1, exact[:, 4:] - 1], dim=1)  # the mean over the layers is exact
    optimize(tiny_generator, images, LOSS, 1, "w", apart, progress=lambda _, x: losses.update(mean=x))
    assert losses["mean"].item() == pytest.approx(0, abs=1e-6)
    two = optimize(tiny_generator, images.expand(2, -1, -1, -1), LOSS, 1, "w+", exact)
    torch.testing.assert_close(two[0], two[1])


def test_noise_is_of_the_seed_and_in_w_alone(tiny_generator, target):
    def run(space, seed, start=None):
        return optimize(tiny_generator, target[0], LOSS, 2, space, start, seed=seed)

    assert torch.equal(run("w", 1), run("w", 1)) and not torch.equal(run("w", 1), run("w", 2))
    assert torch.equal(run("w+", 1), run("w+", 2))
    start = tiny_generator.w_avg.expand(1, 8, -1)
    assert torch.equal(run("w", 1, start), run("w", 2, start))


def test_learning_rate_rises_stays_and_falls():
    factors = [learning_rate_factor(step, 100) for step in range(100)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert factors[5:76] == pytest.approx([1] * 71)
    assert factors[75:] == pytest.approx([(1 + math.cos(math.pi * i / 25)) / 2 for i in range(25)])
    assert all(learning_rate_factor(step, 1) > 0.99 for step in range(1))


def test_spread_against_a_loop(tiny_generator):
    rows = [torch.randn(1, 32, generator=torch.Generator().manual_seed(i)) for i in range(1000)]
    squares = [(tiny_generator.mapping(z) - tiny_generator.w_avg).square().sum().item() for z in rows]
    assert spread(tiny_generator) == pytest.approx((sum(squares) / 1000) ** 0.5, rel=1e-4)


def test_reconstruction_loss_adds_the_distance():
    x, y = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    distance = lambda x, y: torch.tensor([1.0, 2.0])  # noqa: E731
    expected = [(x[i] - y[i]).square().mean().item() + 0.5 * (i + 1) for i in range(2)]
    assert reconstruction_loss(distance, 0.5)(x, y).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": "z"}, "space is 'z', expected one of w, w+"),
        ({"steps": 0}, "steps is 0, expected 1 or more"),
        ({"targets": torch.zeros(1, 3, 64, 64)}, "targets have shape"),
        ({"start": torch.zeros(2, 8, 32)}, "start has shape .2, 8, 32., expected .1 or 1, 8, 32."),
        ({"start": torch.zeros(1, 32)}, "start has shape"),
    ],
)
def test_bad_input(tiny_generator, arguments, message):
    arguments = {"targets": torch.zeros(1, 3, 256, 256), "steps": 1} | arguments
    with pytest.raises(ValueError, match=message.replace("+", "[+]")):
        optimize(tiny_generator, loss=LOSS, **arguments)

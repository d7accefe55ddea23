"""training.run.optimizers: Ranger against its formula, the recipes of the optimisers."""

import math
import sys

import pytest
import torch
from torch import Tensor

from training.run.optimizers import build_optimizer, build_scheduler
from training.settings.optimizer import RECIPES, OptimizerSettings
from training.settings.run import parse_args


def arguments(*more: str) -> OptimizerSettings:
    return parse_args(["--task", "sketch", "--output_dir", "x", "--pairs_dir", "x", *more]).optimizer


def ranger(weight: Tensor, gradients: list[Tensor], lr: float) -> Tensor:
    """The published optimiser of pSp, step by step: centred gradients, RAdam, and Lookahead every sixth step."""
    weight, slow, (beta1, beta2), eps = weight.clone(), weight.clone(), (0.95, 0.999), 1e-5
    mean, square = torch.zeros_like(weight), torch.zeros_like(weight)
    longest = 2 / (1 - beta2) - 1
    for step, gradient in enumerate(gradients, start=1):
        if gradient.ndim > 1:
            gradient = gradient - gradient.mean(dim=tuple(range(1, gradient.ndim)), keepdim=True)
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        length = longest - 2 * step * beta2**step / (1 - beta2**step)
        if length > 5:
            variance = (1 - beta2**step) * (length - 4) / (longest - 4) * (length - 2) / length * longest
            size = math.sqrt(variance / (longest - 2)) / (1 - beta1**step)
            weight = weight - lr * size * mean / (square.sqrt() + eps)
        else:
            weight = weight - lr / (1 - beta1**step) * mean
        if step % 6 == 0:
            slow = slow + 0.5 * (weight - slow)
            weight = slow.clone()
    return weight


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 3, 3)], ids=str)
def test_ranger_is_that_of_the_paper(shape):
    rng = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(shape, generator=rng, dtype=torch.float64))
    gradients = list(torch.randn(20, *shape, generator=rng, dtype=torch.float64))
    expected = ranger(weight.detach(), gradients, lr=1e-2)
    optimizer = build_optimizer(arguments("--optimizer", "ranger", "--learning_rate", "0.01"), [weight])
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
    torch.testing.assert_close(weight.detach(), expected, rtol=0, atol=1e-12)


def test_the_first_steps_of_ranger_go_downhill():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = build_optimizer(arguments("--optimizer", "ranger"), [weight])
    for _ in range(3):
        before = weight.item()
        weight.grad = torch.ones(1)
        optimizer.step()
        assert weight.item() < before


def test_recipes_fill_in_what_is_not_given():
    for name, recipe in RECIPES.items():
        settings = arguments("--optimizer", name)
        assert {field: getattr(settings, field) for field in vars(recipe)} == vars(recipe)
    settings = arguments("--optimizer", "ranger", "--learning_rate", "0", "--lr_scheduler", "cosine")
    assert (settings.learning_rate, settings.lr_scheduler, settings.max_grad_norm) == (0, "cosine", 0)


def test_the_learning_rate_rises_and_falls():
    settings = arguments("--max_train_steps", "10", "--lr_warmup_steps", "2", "--learning_rate", "0.5")
    optimizer = build_optimizer(settings, [torch.nn.Parameter(torch.ones(1))])
    scheduler = build_scheduler(settings, optimizer)
    rates = []
    for _ in range(10):
        optimizer.step()
        rates.append(scheduler.get_last_lr()[0])
        scheduler.step()
    assert rates[:3] == [0, 0.25, 0.5] and sorted(rates[2:], reverse=True) == rates[2:] and rates[-1] < 0.05


@pytest.mark.parametrize("name", ["ranger", "soap"])
def test_an_optimizer_without_its_package_is_explained(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(ValueError, match=f"--optimizer {name} needs pytorch-optimizer: pip install"):
        build_optimizer(arguments("--optimizer", name), [torch.nn.Parameter(torch.ones(1))])


def test_soap_finds_the_directions_that_adam_does_not_see():
    """A valley that lies across the axes, a hundred times as steep as long: the same rate leads further down it."""
    rng = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(16, 16, generator=rng)).Q
    slopes, start = torch.logspace(-1, 1, 16), torch.randn(16, 8, generator=rng)
    losses = {}
    for name in ("adamw", "soap"):
        weight = torch.nn.Parameter(start.clone())
        settings = arguments("--optimizer", name, "--learning_rate", "0.05", "--adam_weight_decay", "0")
        optimizer = build_optimizer(settings, [weight])
        for _ in range(100):
            optimizer.zero_grad()
            loss = (slopes[:, None] * (turn @ weight)).square().sum()
            loss.backward()
            optimizer.step()
        losses[name] = loss.item()
    assert losses["soap"] < losses["adamw"] / 2

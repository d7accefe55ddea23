"""The optimisers of a run, its learning rate, and the average of its weights."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from diffusers.optimization import SchedulerType, get_scheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler


@dataclass(frozen=True)
class Recipe:
    """What a run does by default with an optimiser; each field is the flag of that name."""

    learning_rate: float
    lr_scheduler: str
    lr_warmup_steps: int
    adam_weight_decay: float
    max_grad_norm: float  # 0: gradients are not clipped


# Ranger's row is the published training of pSp, which also trains without a moving average: --ema_decay 0.
RECIPES = {
    "adamw": Recipe(1e-3, "cosine", 200, 0.05, 1.0),
    "ranger": Recipe(1e-4, "constant", 0, 0.0, 0.0),
}
ADAMW_BETAS = (0.9, 0.99)
RANGER_BETAS, RANGER_EPS = (0.95, 0.999), 1e-5


def add_optimizer_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the optimisation; those of `RECIPES` depend on --optimizer, see `fill_recipe`."""
    group = parser.add_argument_group("optimisation", "defaults in brackets are for adamw, then for ranger")

    def add(name: str, kind: type, text: str) -> None:
        values = ", ".join(
            f"{getattr(recipe, name):g}" if kind is not str else getattr(recipe, name) for recipe in all_
        )
        group.add_argument(f"--{name}", type=kind, help=f"{text} ({values})")

    all_ = RECIPES.values()
    group.add_argument("--optimizer", choices=list(RECIPES), default="adamw", help="ranger is the paper's")
    group.add_argument("--train_batch_size", type=int, default=32, help="per process")
    group.add_argument("--gradient_accumulation_steps", type=int, default=1, help="batches to one step")
    group.add_argument("--max_train_steps", type=int, default=8000)
    add("learning_rate", float, "at its height")
    add("lr_scheduler", str, "one of " + ", ".join(kind.value for kind in SchedulerType))
    add("lr_warmup_steps", int, "steps until then")
    add("adam_weight_decay", float, "of both optimisers")
    add("max_grad_norm", float, "gradients are scaled down to it; 0 leaves them as they are")
    group.add_argument("--ema_decay", type=float, default=0.999, help="of the average that is exported; 0 for none")


def fill_recipe(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Give the flags that were left out the values of the optimiser's recipe, and check the others."""
    for name, value in vars(RECIPES[args.optimizer]).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    schedulers = [kind.value for kind in SchedulerType if kind is not SchedulerType.PIECEWISE_CONSTANT]
    if args.lr_scheduler not in schedulers:
        parser.error(f"--lr_scheduler is {args.lr_scheduler!r}, expected one of {', '.join(schedulers)}")
    for name in ("train_batch_size", "gradient_accumulation_steps", "max_train_steps"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}, expected 1 or more")


def build_optimizer(args: argparse.Namespace, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that the flags name.

    Raises:
        ValueError: ranger without the package that has it.
    """
    options = {"lr": args.learning_rate, "weight_decay": args.adam_weight_decay}
    if args.optimizer == "adamw":
        return torch.optim.AdamW(parameters, betas=ADAMW_BETAS, **options)
    try:
        from pytorch_optimizer import Ranger
    except ImportError as error:
        raise ValueError("--optimizer ranger needs pytorch-optimizer: pip install 'psp-hub[training]'") from error
    # In its first steps the variance is not yet known, and RAdam takes plain momentum steps. The package does so only
    # on this flag; without it, its version 4.1 takes them in the wrong direction.
    return Ranger(parameters, betas=RANGER_BETAS, eps=RANGER_EPS, degenerated_to_sgd=True, **options)


def build_scheduler(args: argparse.Namespace, optimizer: torch.optim.Optimizer) -> LRScheduler:
    return get_scheduler(
        args.lr_scheduler,
        optimizer,
        num_warmup_steps=args.lr_warmup_steps,
        num_training_steps=args.max_train_steps,
    )


def ema_update(decay: float) -> Callable[[Tensor, Tensor, int | Tensor], Tensor]:
    """Exponential moving average whose decay grows from 0.1 to `decay`, so that the first steps are soon forgotten."""

    def update(average: Tensor, current: Tensor, num_averaged: int | Tensor) -> Tensor:
        if not current.is_floating_point():  # counters
            return current
        n = int(num_averaged)
        return torch.lerp(current, average, min(decay, (1 + n) / (10 + n)))

    return update

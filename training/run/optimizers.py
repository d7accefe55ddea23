"""The optimisers of a run, its learning rate, and the average of its weights."""

from collections.abc import Callable, Iterable

import torch
from diffusers.optimization import get_scheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from training.settings.optimizer import OptimizerSettings

ADAMW_BETAS = (0.9, 0.99)
RANGER_BETAS, RANGER_EPS = (0.95, 0.999), 1e-5


def build_optimizer(settings: OptimizerSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that the settings name.

    Raises:
        ValueError: ranger without the package that has it.
    """
    options = {"lr": settings.learning_rate, "weight_decay": settings.adam_weight_decay}
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, betas=ADAMW_BETAS, **options)
    try:
        from pytorch_optimizer import Ranger
    except ImportError as error:
        raise ValueError("--optimizer ranger needs pytorch-optimizer: pip install 'psp-hub[training]'") from error
    # In its first steps the variance is not yet known, and RAdam takes plain momentum steps. The package does so only
    # on this flag; without it, its version 4.1 takes them in the wrong direction.
    return Ranger(parameters, betas=RANGER_BETAS, eps=RANGER_EPS, degenerated_to_sgd=True, **options)


def build_scheduler(settings: OptimizerSettings, optimizer: torch.optim.Optimizer) -> LRScheduler:
    """The course of the learning rate."""
    return get_scheduler(
        settings.lr_scheduler,
        optimizer,
        num_warmup_steps=settings.lr_warmup_steps,
        num_training_steps=settings.max_train_steps,
    )


def ema_update(decay: float) -> Callable[[Tensor, Tensor, int | Tensor], Tensor]:
    """Exponential moving average whose decay grows from 0.1 to `decay`, so that the first steps are soon forgotten."""

    def update(average: Tensor, current: Tensor, num_averaged: int | Tensor) -> Tensor:
        if not current.is_floating_point():  # counters
            return current
        n = int(num_averaged)
        return torch.lerp(current, average, min(decay, (1 + n) / (10 + n)))

    return update

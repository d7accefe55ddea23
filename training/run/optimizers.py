"""The optimisers of a run, its learning rate, and the average of its weights."""

from collections.abc import Callable, Iterable

import torch
from diffusers.optimization import get_scheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from training.settings.optimizer import OptimizerSettings

ADAMW_BETAS = (0.9, 0.99)
RANGER_BETAS, RANGER_EPS = (0.95, 0.999), 1e-5
SOAP_BETAS = (0.9, 0.95)
# The largest side of a weight matrix that gets a basis of its own, for its cost grows with the cube; and for how many
# steps it is kept.
SOAP_MAX_SIDE, SOAP_FREQUENCY = 2048, 10


def build_optimizer(settings: OptimizerSettings, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser that the settings name.

    SOAP (Vyas et al. 2024) is Adam in a basis that turns with the gradients of each weight matrix. Styles need one:
    along some directions of w a face changes a hundred times as much as along others.

    Raises:
        ValueError: ranger or soap without the package that has it.
    """
    options = {"lr": settings.learning_rate, "weight_decay": settings.adam_weight_decay}
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(parameters, betas=ADAMW_BETAS, **options)
    try:
        from pytorch_optimizer import SOAP, Ranger
    except ImportError as error:
        raise ValueError(
            f"--optimizer {settings.optimizer} needs pytorch-optimizer: pip install 'psp-hub[training]'"
        ) from error
    if settings.optimizer == "soap":
        options |= {"max_precondition_dim": SOAP_MAX_SIDE, "precondition_frequency": SOAP_FREQUENCY}
        return SOAP(parameters, betas=SOAP_BETAS, **options)
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

"""How the weights are changed; what is left out, the optimiser's recipe says."""

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

import tyro

# Those of diffusers that need no further options.
Scheduler = Literal["linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"]


@dataclass(frozen=True)
class Recipe:
    """What a run does by default with an optimiser; each field is the flag of that name."""

    learning_rate: float
    lr_scheduler: Scheduler
    lr_warmup_steps: int
    adam_weight_decay: float
    max_grad_norm: float  # 0: gradients are not clipped


# Ranger's row is the published training of pSp, which also trains without a moving average: --ema_decay 0.
RECIPES = {
    "adamw": Recipe(1e-3, "cosine", 200, 0.05, 1.0),
    "ranger": Recipe(1e-4, "constant", 0, 0.0, 0.0),
    "soap": Recipe(1e-3, "cosine", 200, 0.05, 1.0),
}


def defaults(name: str) -> Any:
    """For the help: what a flag is by default, with each optimiser."""
    values = [f"{getattr(recipe, name)} with {optimizer}" for optimizer, recipe in RECIPES.items()]
    return tyro.conf.arg(help_behavior_hint=f"(default: {', '.join(values)})")


@dataclass(frozen=True)
class OptimizerSettings:
    """The optimisation."""

    optimizer: Literal["adamw", "ranger", "soap"] = "adamw"
    """ranger is the paper's; soap learns more from each step, which takes a little longer"""
    train_batch_size: int = 32
    """per process"""
    gradient_accumulation_steps: int = 1
    """batches to one step"""
    max_train_steps: int = 8000
    """where training ends"""
    learning_rate: Annotated[float | None, defaults("learning_rate")] = None
    """at its height"""
    lr_scheduler: Annotated[Scheduler | None, defaults("lr_scheduler")] = None
    """how it rises and falls"""
    lr_warmup_steps: Annotated[int | None, defaults("lr_warmup_steps")] = None
    """steps until it is at its height"""
    adam_weight_decay: Annotated[float | None, defaults("adam_weight_decay")] = None
    """of all optimisers"""
    max_grad_norm: Annotated[float | None, defaults("max_grad_norm")] = None
    """gradients are scaled down to it; 0 leaves them as they are"""
    ema_decay: float = 0.999
    """of the average that is exported; 0 for none"""

    def resolved(self) -> "OptimizerSettings":
        """These, with the values of the optimiser's recipe where none were given."""
        recipe = asdict(RECIPES[self.optimizer])
        return replace(self, **{name: value for name, value in recipe.items() if getattr(self, name) is None})

    def check(self) -> None:
        """Raise a ValueError where these are out of range."""
        for name in ("train_batch_size", "gradient_accumulation_steps", "max_train_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} is {getattr(self, name)}, expected 1 or more")

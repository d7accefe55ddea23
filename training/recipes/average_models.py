"""Average the encoders of several models of one task, such as a starter and what was trained on from it.

    python training/recipes/average_models.py sketch runs/sketch/model --shares 0.5 0.5 --output_dir runs/average

A model that went on learning something else forgets a part of what it knew; weights between the two often keep both
(Wortsman et al. 2022, arXiv 2109.01903). What chance alone sets apart, such as the order of examples, averages out
(Izmailov et al. 2018, arXiv 1803.05407). Only for models of which one started from the other, or all from one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from psp_hub.model import PSPModel, load_model
from training.settings.flags import parse_checked, refuse


def check_alike(models: Sequence[PSPModel], shares: Sequence[float]) -> None:
    """Raise ValueError unless `average` can take these."""
    if len(shares) != len(models) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"the shares are {tuple(shares)}, expected {len(models)} of at least 0 that add up to 1")
    first = models[0]
    shapes = {name: tuple(value.shape) for name, value in first.encoder.state_dict().items()}
    for model in models[1:]:
        if model.config.task != first.config.task:
            raise ValueError(f"the models are of {first.config.task} and {model.config.task}, expected one task")
        others = {name: tuple(value.shape) for name, value in model.encoder.state_dict().items()}
        if different := dict.fromkeys(sorted(name for name, _ in shapes.items() ^ others.items())):
            raise ValueError(f"the encoders differ in {', '.join(different)}, expected the same tensors")


@torch.no_grad()
def average(models: Sequence[PSPModel], shares: Sequence[float]) -> PSPModel:
    """The first of the models, changed in place: its encoder has the weighted mean of all weights and statistics.

    Args:
        shares: one per model, at least 0, that add up to 1.

    Raises:
        ValueError: other shares, or models of another task or with other encoders.
    """
    check_alike(models, shares)
    states = [model.encoder.state_dict() for model in models]
    for name, value in states[0].items():
        if value.is_floating_point():  # the rest counts batches
            value.copy_(sum(share * state[name].float() for share, state in zip(shares, states, strict=True)))
    return models[0]


@dataclass(frozen=True)
class AverageSettings:
    """The models, and how much of each."""

    models: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL ...", help_behavior_hint="(required)")]
    ]
    """starters, folders or repositories on the Hub"""
    output_dir: Path
    """of the average"""
    shares: Annotated[tuple[float, ...] | None, tyro.conf.arg(metavar="FLOAT ...", help_behavior_hint="")] = None
    """one per model, adding up to 1; by default all alike"""

    def check(self) -> None:
        """Raise a ValueError unless there is a model."""
        if not self.models:
            raise ValueError("expected MODEL ...")


def parse_args(words: list[str] | None = None) -> AverageSettings:
    return parse_checked(AverageSettings, words, __doc__)


def main(settings: AverageSettings) -> None:
    shares = settings.shares or [1 / len(settings.models)] * len(settings.models)
    try:
        averaged = average([load_model(model) for model in settings.models], shares)
    except ValueError as error:
        refuse(error)
    averaged.save_pretrained(settings.output_dir)


if __name__ == "__main__":
    main(parse_args())

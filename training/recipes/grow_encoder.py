"""Deepen the encoder of a model; it answers as before, and training goes on with more parameters.

    python training/recipes/grow_encoder.py sketch --stage_depths 3 4 3 --output_dir grown
    python training/recipes/grow_encoder.py inversion --fine_widths 32 48 64 --output_dir grown
    python training/recipes/grow_encoder.py inversion --residual --fine_widths 32 48 64 --output_dir grown

The new residual blocks end each stage and add nothing at first (Net2Net, Chen et al. 2016, arXiv 1511.05641): the last
normalisation of each begins at zero, from where it learns (Goyal et al. 2017, arXiv 1706.02677, section 5.1). A fine
stem is added to the features of the stem, and its last convolution begins at zero, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from torch import nn

from psp_hub.encoder import PSPEncoder
from psp_hub.model import load_model
from psp_hub.trunk import ResidualBlock
from training.settings.flags import Switch, parse, refuse


def last_normalisation(block: ResidualBlock) -> nn.BatchNorm2d:
    """What scales all that a block adds to its shortcut; squeeze and excitation come after it."""
    return [layer for layer in block.residual if isinstance(layer, nn.BatchNorm2d)][-1]


@torch.no_grad()
def grow(encoder: PSPEncoder, stage_depths: Sequence[int] = (), fine_widths: Sequence[int] = ()) -> PSPEncoder:
    """A deeper encoder that gives the same answers.

    Args:
        stage_depths: residual blocks of each stage of the trunk, at least as many as now; () for as many.
        fine_widths: of a fine stem, for an encoder without one; () for none.

    Raises:
        ValueError: another number of stages, fewer blocks than now, a second fine stem, or one that does not fit.
    """
    now = tuple(encoder.config.stage_depths)
    depths = tuple(stage_depths) or now
    if fine_widths and encoder.config.fine_widths:
        raise ValueError(f"the encoder has a fine stem of {tuple(encoder.config.fine_widths)}, expected none")
    if len(depths) != len(now) or any(new < old for new, old in zip(depths, now, strict=True)):
        raise ValueError(f"the stages have {now} blocks, got {depths}, expected {len(now)} numbers, none smaller")
    changes = {"stage_depths": depths} | ({"fine_widths": tuple(fine_widths)} if fine_widths else {})
    grown = PSPEncoder.from_config(encoder.config, **changes).to(encoder.dtype)
    if fine_widths:
        grown.trunk.fine_stem[-1].weight.zero_()
    for stage, old in zip(grown.trunk.stages, now, strict=True):
        for block in stage[old:]:
            last_normalisation(block).weight.zero_()
    grown.load_state_dict(grown.state_dict() | encoder.state_dict())
    return grown.train(encoder.training)


def grow_residual(encoder: PSPEncoder, *sizes: Sequence[int]) -> PSPEncoder:
    """The same for the encoder of all passes after the first, which has to be there; see `grow`."""
    if encoder.residual_encoder is None:
        raise ValueError("the model has no residual encoder, expected one that looks again")
    grown = grow(encoder.residual_encoder, *sizes)
    own = {name: grown.config[name] for name in (*encoder.config.residual, "stage_depths", "fine_widths")}
    new = PSPEncoder.from_config(encoder.config, residual=own).to(encoder.dtype)
    state = {f"residual_encoder.{name}": weight for name, weight in grown.state_dict().items()}
    new.load_state_dict(encoder.state_dict() | state)
    return new.train(encoder.training)


@dataclass(frozen=True)
class GrowthSettings:
    """The model, and how deep its encoder becomes."""

    model: tyro.conf.Positional[str]
    """a starter, a folder or a repository on the Hub"""
    output_dir: Path
    """of the deeper model"""
    stage_depths: tuple[int, ...] = ()
    """residual blocks of each stage; by default as many as it has"""
    fine_widths: tuple[int, ...] = ()
    """channels of a fine stem's convolutions, one for each halving of the stem's stride; by default none is added"""
    residual: Switch = False
    """grow the encoder of the passes after the first"""


def parse_args(words: list[str] | None = None) -> GrowthSettings:
    return parse(GrowthSettings, words, __doc__)


def main(settings: GrowthSettings) -> None:
    try:
        model = load_model(settings.model)
        change = grow_residual if settings.residual else grow
        model.encoder = change(model.encoder, settings.stage_depths, settings.fine_widths)
    except ValueError as error:
        refuse(error)
    model.save_pretrained(settings.output_dir)


if __name__ == "__main__":
    main(parse_args())

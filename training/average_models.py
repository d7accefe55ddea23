"""Average the encoders of two models of one task, such as a starter and what was trained on from it.

    python training/average_models.py sketch runs/sketch/model --share 0.5 --output_dir runs/average

A model that went on learning something else forgets a part of what it knew; weights between the two often keep both
(Wortsman et al. 2022, arXiv 2109.01903). Only for models of which one started from the other, or both from a third.
"""

import argparse
from pathlib import Path

import torch

from psp_hub.model import PSPModel
from training.validation import load_model


@torch.no_grad()
def average(first: PSPModel, second: PSPModel, share: float) -> PSPModel:
    """`first`, changed in place: its encoder's weights moved by `share`, 0 to 1, to those of `second`.

    Raises:
        ValueError: a share out of range, or models of another task or with other encoders.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of the second model is {share}, expected 0 to 1")
    if first.config.task != second.config.task:
        raise ValueError(f"the models are of {first.config.task} and {second.config.task}, expected one task")
    ours, theirs = first.encoder.state_dict(), second.encoder.state_dict()
    shapes = [{name: tuple(value.shape) for name, value in state.items()} for state in (ours, theirs)]
    if shapes[0] != shapes[1]:
        other = sorted(name for name, _ in shapes[0].items() ^ shapes[1].items())
        raise ValueError(f"the encoders differ in {', '.join(dict.fromkeys(other))}, expected the same tensors")
    for name, value in ours.items():
        if value.is_floating_point():  # the rest counts batches
            value.copy_(torch.lerp(value.float(), theirs[name].float(), share))
    return first


def main(args: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs=2, metavar="MODEL", help="a starter, a folder or a repository on the Hub")
    parser.add_argument("--share", type=float, default=0.5, help="of the second one, 0 to 1")
    parser.add_argument("--output_dir", type=Path, required=True)
    parsed = parser.parse_args(args)
    try:
        averaged = average(*map(load_model, parsed.models), parsed.share)
    except ValueError as error:
        parser.error(str(error))
    averaged.save_pretrained(parsed.output_dir)


if __name__ == "__main__":
    main()

"""Make one model of the first encoder of one and the residual encoder of another, trained beside each other.

    python training/recipes/join_encoders.py runs/inversion/model runs/residual/model --base_rank 256 \
        --output_dir runs/joined

Two encoders are larger than a starter may be: `--base_rank` leaves the largest layer, that of the base style, with
what its largest singular values make of it.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro

from psp_hub.encoder import PSPEncoder
from psp_hub.model import PSPModel, load_model
from training.settings.flags import OrNone, parse, refuse

PREFIX = "residual_encoder."
LINEAR, REDUCE = "heads.base.linear.weight", "heads.base.reduce.weight"


@torch.no_grad()
def join(first: PSPEncoder, second: PSPEncoder, base_rank: int = 0) -> PSPEncoder:
    """The first encoder, with the residual encoder of the second.

    Args:
        base_rank: of the linear layer of the base style of the first; 0 leaves it as it is.

    Raises:
        ValueError: the second has no residual encoder, they do not fit together, or the rank cannot be had.
    """
    residual = second.config.get("residual")
    if not residual:
        raise ValueError("the second model has no residual encoder, expected one trained with --residual_encoder")
    for name in ("in_channels", "num_ws", "w_dim"):
        if first.config[name] != second.config[name]:
            raise ValueError(f"{name} is {first.config[name]} and {second.config[name]}, expected the same of both")
    state = {name: weight for name, weight in first.state_dict().items() if not name.startswith(PREFIX)}
    changes = {"residual": dict(residual)}
    if base_rank:
        if first.config.head != "shared":
            raise ValueError(f"base_rank is {base_rank} with {first.config.head!r} heads, expected 0")
        if first.config.base_rank or not 0 < base_rank <= first.config.w_dim:
            raise ValueError(
                f"base_rank is {base_rank}, expected 1 to {first.config.w_dim}, of a layer of full rank: "
                f"the first model has a rank of {first.config.base_rank or first.config.w_dim}"
            )
        u, values, vh = torch.linalg.svd(state[LINEAR].float(), full_matrices=False)
        state[REDUCE] = values[:base_rank, None].sqrt() * vh[:base_rank]  # [rank, width * S * S]
        state[LINEAR] = u[:, :base_rank] * values[:base_rank].sqrt()  # [w_dim, rank]
        changes["base_rank"] = base_rank
    joined = PSPEncoder.from_config(first.config, **changes).to(first.dtype)
    state |= {name: weight for name, weight in second.state_dict().items() if name.startswith(PREFIX)}
    joined.load_state_dict(state)
    return joined.eval()


@dataclass(frozen=True)
class JoinSettings:
    """The two models, and what becomes of them."""

    first: tyro.conf.Positional[str]
    """whose encoder makes the first pass: a starter, a folder or a repository on the Hub"""
    second: tyro.conf.Positional[str]
    """whose residual encoder makes the others, as many as it says"""
    output_dir: Path
    """of the model of both"""
    base_rank: int = 0
    """of the base style's linear layer; 0 leaves it as it is"""
    face_size: OrNone[int] = None
    """pixels of the face that the residual encoder sees (default: as the second model has it)"""


def parse_args(words: list[str] | None = None) -> JoinSettings:
    return parse(JoinSettings, words, __doc__)


def main(settings: JoinSettings) -> None:
    try:
        first, second = load_model(settings.first), load_model(settings.second)
        encoder = join(first.encoder, second.encoder, settings.base_rank)
        face_size = settings.face_size or second.config.face_size
        config = replace(first.config, num_passes=second.config.num_passes, face_size=face_size)
        model = PSPModel(encoder, first.generator, config)
    except ValueError as error:
        refuse(error)
    model.save_pretrained(settings.output_dir)


if __name__ == "__main__":
    main(parse_args())

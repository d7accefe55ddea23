r"""Let an encoder move its answers along a direction by as much as its own features say, without a step of training.

    python training/recipes/fold_direction.py inversion --direction turn --pairs_dir frontal-photos frontal-pairs \
        --output_dir runs/straightened

The pairs have the pictures that go in and the styles that are wanted, such as those of the same faces looking straight
ahead (training/recipes/frontal_pairs.py). How far each answer is from its target along the direction is fitted, by
ridge regression, to the features that the offsets of its styles are made from, and that line is added to the last
linear layer. Everything else of the answer stays as it was, so a training that goes on from there has little to do.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from psp_hub.config import ENCODER_SIZE
from psp_hub.directions import Direction, load_directions
from psp_hub.encoder import PSPEncoder
from psp_hub.latents import GROUP_STARTS, style_indices
from psp_hub.model import PSPModel, load_model
from psp_hub.precision import quick_autocast
from psp_hub.tasks import get_task
from training.data.pairs import PairStore, all_ws
from training.memory import keep_freed_memory
from training.run.start import without_residual
from training.settings.flags import Folders, OrNone, parse_checked, refuse

BATCH_SIZE = 16
HELD_OUT = 10  # one of so many
GROUPS = list(GROUP_STARTS)


@dataclass(frozen=True)
class FoldSettings:
    """The model, the direction, and what it is fitted to."""

    model: tyro.conf.Positional[str]
    """a starter, a folder or a repository on the Hub; of its passes, the first is kept"""
    pairs_dir: Folders
    """of pictures and the styles that are wanted"""
    output_dir: Path
    """of the new model"""
    direction: str = "turn"
    """the name of one that moves the styles of a single group"""
    directions: str = "mobilestylegan-ffhq"
    """the generator that they ship for, or a file of others"""
    task: OrNone[str] = None
    """of the new model; by default that of the old one"""
    ridge: float = 0.01
    """of the regression, relative to the mean variance of the features"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range."""
        if not self.ridge > 0:
            raise ValueError(f"--ridge is {self.ridge}, expected more than 0")


def parse_args(words: list[str] | None = None) -> FoldSettings:
    return parse_checked(FoldSettings, words, __doc__)


@torch.no_grad()
def read_pairs(
    encoder: PSPEncoder, w_avg: Tensor, pairs: PairStore, level: int, direction: Direction
) -> tuple[Tensor, Tensor]:
    """Features of the group's offsets [N, width], and how many steps of the direction each answer lacks [N]."""
    found: list[Tensor] = []
    hook = encoder.heads.map2style[level].register_forward_hook(lambda module, inputs, out: found.append(out.float()))
    styles = style_indices([GROUPS[level]], encoder.config.num_ws)
    vector, steps = direction.vector.expand(encoder.config.num_ws, -1)[styles], []  # [count, w_dim]
    for images, w in tqdm(DataLoader(pairs, BATCH_SIZE), desc="reading pairs", unit="batch"):
        with quick_autocast("cpu"):
            answers = encoder(images).float() + w_avg  # [N, num_ws, w_dim]
        ws = all_ws(w, encoder.config.num_ws)
        steps.append(((ws - answers)[:, styles] * vector).sum(dim=(1, 2)) / vector.square().sum())
    hook.remove()
    return torch.cat(found), torch.cat(steps)


def fit_line(features: Tensor, steps: Tensor, ridge: float) -> tuple[Tensor, Tensor, float]:
    """Weights [width] and bias [] of steps [N] in features [N, width], and R² on one of `HELD_OUT`, left out."""
    held_out = torch.arange(len(steps)) % HELD_OUT == 0
    centre, middle = features[~held_out].mean(dim=0), steps[~held_out].mean()
    x, y = (features[~held_out] - centre).double(), (steps[~held_out] - middle).double()
    gram = x.T @ x
    gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    weights = torch.linalg.solve(gram, x.T @ y).float()
    bias = middle - centre @ weights
    rest = steps[held_out] - features[held_out] @ weights - bias
    return weights, bias, 1 - (rest.var() / steps[held_out].var()).item()


@torch.no_grad()
def fold(encoder: PSPEncoder, level: int, direction: Direction, weights: Tensor, bias: Tensor) -> None:
    """Add (weights · features + bias) steps of the direction to the offsets of its group."""
    offset, styles = encoder.heads.offsets[level], style_indices([GROUPS[level]], encoder.config.num_ws)
    vector = direction.vector.expand(encoder.config.num_ws, -1)[styles].flatten().to(offset.weight)  # [count * w_dim]
    offset.weight += vector[:, None] * weights.to(vector)
    offset.bias += vector * bias.to(vector)


def main(settings: FoldSettings) -> None:
    keep_freed_memory()
    try:
        model = load_model(settings.model)
        encoder, generator = without_residual(model.encoder).eval(), model.generator
        if encoder.config.head != "shared":
            raise ValueError(f"the encoder has {encoder.config.head!r} heads, expected 'shared'")
        directions = load_directions(settings.directions)
        if settings.direction not in directions:
            raise ValueError(f"there is no direction {settings.direction!r}, expected one of {', '.join(directions)}")
        direction = directions[settings.direction]
        if len(direction.groups) != 1:
            raise ValueError(f"{direction.name} moves {' and '.join(direction.groups)} styles, expected one group")
        pairs = PairStore(settings.pairs_dir)
        task = settings.task or model.config.task
        config = replace(model.config, task=task, num_passes=1, face_size=ENCODER_SIZE)
        get_task(config.task)
    except ValueError as error:
        refuse(error)
    level = GROUPS.index(direction.groups[0])
    features, steps = read_pairs(encoder, generator.w_avg.float(), pairs, level, direction)
    weights, bias, explained = fit_line(features, steps, settings.ridge)
    fold(encoder, level, direction, weights, bias)
    print(f"{len(steps)} pairs lack {steps.abs().mean():.3f} steps of {direction.name}")
    print(f"explained on one of {HELD_OUT}, left out: {explained:.3f} of the variance")
    PSPModel(encoder, generator, config).save_pretrained(settings.output_dir)


if __name__ == "__main__":
    main(parse_args())

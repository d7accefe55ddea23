r"""Pairs for frontalization: the pictures of a store, and the styles of the same faces looking straight ahead.

    python training/recipes/frontal_pairs.py --pairs_dir pairs --output_dir frontal-pairs

Only a generator offers such pairs: how far a face is turned is read off its picture, by the face parser, and its
styles move along the direction `turn` by as many steps as take it back. One step turns all faces by nearly the same;
how much is measured first, on some of the store. Photos have no styles; training/recipes/distil_pairs.py gives them
those of an encoder, and what it writes is a store, too. The pictures stay as they are; faces whose nose is not seen
are left out. The same command goes on, and does what a store has grown by.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from psp_hub.directions import Direction, apply_directions, load_directions
from psp_hub.face_parser import FaceParser
from psp_hub.generators import load_generator
from psp_hub.generators.base import Generator
from psp_hub.images.preprocessing import images_to_tensor
from training.data.pairs import IMAGE_SIZE, write_encoded_shard
from training.evaluation.yaw import yaws
from training.memory import keep_freed_memory
from training.recipes.distil_pairs import Item, store_shards
from training.settings.flags import OrNone, parse_checked

BATCH_SIZE = 25
TURN = "turn"
MAX_STEPS = 4.0  # a face that would need more was read wrongly


@dataclass(frozen=True)
class FrontalSettings:
    """Pairs, their generator, and what is known of it."""

    pairs_dir: Path
    """a store of pairs"""
    output_dir: Path
    """of the new pairs"""
    generator: str = "mobilestylegan-ffhq"
    """that of the pairs, with a direction `turn`"""
    directions: OrNone[str] = None
    """file of its directions, if they do not ship with the package"""
    num_measured: int = 32
    """faces on which a step of `turn` is measured"""

    def check(self) -> None:
        """Raise a ValueError where these are out of range."""
        if self.num_measured < 1:
            raise ValueError(f"--num_measured is {self.num_measured}, expected 1 or more")


def parse_args(words: list[str] | None = None) -> FrontalSettings:
    return parse_checked(FrontalSettings, words, __doc__)


def all_styles(items: list[Item], num_ws: int) -> Tensor:
    """ws [N, num_ws, w_dim] of pairs with one w each, or with mixed styles."""
    return torch.stack([w.float().expand(num_ws, w.shape[-1]) for _, _, w in items if w is not None])


@torch.no_grad()
def yaw_per_step(generator: Generator, turn: Direction, ws: Tensor, parser: FaceParser) -> float:
    """How much one step of `turn` adds to the yaw of the faces ws [N, num_ws, w_dim]: a median.

    Raises:
        ValueError: it turns none of them.
    """
    found = []
    for face in ws.split(1):
        ends = [apply_directions(face, {TURN: step}, {TURN: turn}) for step in (-1.0, 1.0)]
        images = generator.synthesis.preview(torch.cat(ends).to(generator.w_avg), IMAGE_SIZE).float()
        left, right = yaws(F.adaptive_avg_pool2d(images, IMAGE_SIZE).clamp(-1, 1), parser)
        found.append((right - left) / 2)
    slope = float(np.nanmedian(found)) if not np.isnan(found).all() else float("nan")
    if not abs(slope) > 0.01:
        raise ValueError(f"a step of {TURN!r} adds {slope:.3g} to the yaw of {len(ws)} faces, expected more")
    return slope


def straighten(ws: Tensor, yaw: np.ndarray, turn: Direction, slope: float) -> Tensor:
    """Faces ws [N, num_ws, w_dim] of this yaw [N], turned back."""
    steps = np.clip(-yaw / slope, -MAX_STEPS, MAX_STEPS).tolist()
    return torch.cat(
        [apply_directions(face, {TURN: step}, {TURN: turn}) for face, step in zip(ws.split(1), steps, strict=True)]
    )


def main(settings: FrontalSettings) -> None:
    keep_freed_memory()
    generator, parser = load_generator(settings.generator), FaceParser.from_starter()
    turn = load_directions(settings.directions or settings.generator)[TURN]
    settings.output_dir.mkdir(parents=True, exist_ok=True)
    slope: float | None = None
    for name, some in tqdm(store_shards(settings.pairs_dir, None), unit="shard"):
        if (settings.output_dir / name).exists():
            continue
        items = list(some)
        ws = all_styles(items, generator.num_ws)
        if slope is None:
            slope = yaw_per_step(generator, turn, ws[: settings.num_measured], parser)
        images = images_to_tensor([Image.open(io.BytesIO(picture)) for _, picture, _ in items])
        yaw = np.concatenate([yaws(batch, parser) for batch in images.split(BATCH_SIZE)])
        seen = np.flatnonzero(np.isfinite(yaw)).tolist()
        pictures = {items[i][0]: items[i][1] for i in seen}
        write_encoded_shard(settings.output_dir / name, pictures, straighten(ws[seen], yaw[seen], turn, slope))


if __name__ == "__main__":
    main(parse_args())

"""Fit the small copy of the generator (`training.networks.small_generator`) to the pictures of pairs.

All weights go on learning from their published values, with the stored pictures as targets. Prints the error before
and after, and how much time the copy saves.

    python training/recipes/fit_small_generator.py --pairs_dir pairs --size 64 --output small-64.safetensors

It is exact where it was fitted: pairs with the styles that an encoder answers (`make_pairs.py --styles_dir`) leave
less that the encoder could learn to please the copy alone.
"""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, Subset
from tqdm import tqdm

from psp_hub.generators import load_generator
from psp_hub.generators.base import Generator
from psp_hub.precision import quick_autocast
from training.data.pairs import PairStore, all_ws
from training.memory import keep_freed_memory
from training.networks.small_generator import SmallSynthesis
from training.settings.flags import Folders, OrNone, parse

HELD_OUT, TIMED = 64, 5
STEPS, BATCH_SIZE, LEARNING_RATE = 400, 8, 2e-4


@torch.no_grad()
def picture_error(small: SmallSynthesis, num_ws: int, pairs: Subset) -> float:
    """Mean squared error in [-1, 1] against the stored pictures made as small."""
    errors = []
    for images, w in DataLoader(pairs, BATCH_SIZE):
        drawn = small(all_ws(w, num_ws)).float()
        errors.append((drawn - F.adaptive_avg_pool2d(images, drawn.shape[-1])).square().mean(dim=(1, 2, 3)))
    return torch.cat(errors).mean().item()


def seconds(network: nn.Module, ws: Tensor) -> float:
    """Median of drawing pictures one by one and following the gradient back to the styles, in bfloat16
    where that saves time."""
    network.requires_grad_(False)
    durations = []
    for one in ws.split(1):
        start, one = time.perf_counter(), one.clone().requires_grad_()
        with quick_autocast("cpu"):
            images = network(one)
        torch.autograd.grad(images.float().square().mean(), one)
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


@dataclass(frozen=True)
class SmallGeneratorSettings:
    """What is fitted, and to which pairs."""

    pairs_dir: Folders
    """of pairs"""
    output: Path
    """a safetensors file"""
    generator: str = "mobilestylegan-ffhq"
    """name of a generator or a saved folder"""
    size: int = 64
    """of the last feature maps; pictures are twice as large"""
    steps: int = STEPS
    """of Adam"""
    start_from: OrNone[Path] = None
    """a copy that this program fitted before, of this size"""


def parse_args(words: list[str] | None = None) -> SmallGeneratorSettings:
    return parse(SmallGeneratorSettings, words, __doc__)


def start(generator: Generator, settings: SmallGeneratorSettings) -> SmallSynthesis:
    """The copy to be fitted.

    Raises:
        ValueError: a file that does not fit.
    """
    if not settings.start_from:
        return SmallSynthesis(generator, settings.size)
    small = SmallSynthesis.from_file(settings.start_from, generator)
    if small.size != settings.size:
        raise ValueError(f"{settings.start_from} has size {small.size}, expected --size {settings.size}")
    return small


def main(settings: SmallGeneratorSettings) -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    generator = load_generator(settings.generator)
    small = start(generator, settings)
    pairs = PairStore(settings.pairs_dir)
    held_out, rest = Subset(pairs, range(HELD_OUT)), Subset(pairs, range(HELD_OUT, len(pairs)))
    print(f"error on {HELD_OUT} held-out faces, not fitted: {picture_error(small, generator.num_ws, held_out):.5f}")
    optimizer = torch.optim.Adam(small.requires_grad_(True).parameters(), LEARNING_RATE, betas=(0.9, 0.99))
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, settings.steps)
    sampler = RandomSampler(rest, replacement=True, num_samples=settings.steps * BATCH_SIZE)
    progress = tqdm(DataLoader(rest, BATCH_SIZE, sampler=sampler), total=settings.steps)
    for images, w in progress:
        with quick_autocast("cpu"):
            drawn = small(all_ws(w, generator.num_ws)).float()
        loss = F.mse_loss(drawn, F.adaptive_avg_pool2d(images, drawn.shape[-1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        progress.set_postfix(loss=loss.item())
    small.save(settings.output)
    print(f"error on {HELD_OUT} held-out faces: {picture_error(small.eval(), generator.num_ws, held_out):.5f}")
    ws = all_ws(torch.stack([held_out[i][1] for i in range(min(TIMED, len(held_out)))]), generator.num_ws)
    ratio = seconds(generator.synthesis, ws) / seconds(small, ws)
    print(f"seconds of the generator over its own, forward and back: {ratio:.1f}")


if __name__ == "__main__":
    main(parse_args())

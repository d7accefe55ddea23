"""Line drawings that are stored beside pictures, and the order in which examples are trained on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.data.pairs import read_picture, read_tar


class LineArt:
    """Line drawings of the pictures of a store, by index, as `training/recipes/make_line_art.py` wrote them."""

    def __init__(self, folder: Path | None):
        self.positions: dict[int, tuple[Path, int, int]] = {}
        for path in sorted(folder.glob("lines-*.tar")) if folder else ():
            self.positions |= {index: (path, *position) for index, position in read_tar(path).items()}

    def get(self, index: int) -> Tensor | None:
        """Ink [1, H, W] in [0, 1], or None if this picture has no line drawing."""
        if index not in self.positions:
            return None
        ink = np.array(read_picture(*self.positions[index]).convert("L"))
        return torch.from_numpy(ink)[None].float() / 255


class StepBatches:
    """Batches of (epoch, i, gentle_share) keys from batch `first` to batch `last`, counted from 0.

    They are cut from one endless row of examples, each epoch a permutation of its own, so that what a step sees does
    not depend on how its examples are dealt to processes and batches. Starting at a batch instead of skipping those
    before it makes resuming exact and immediate. The share of gentle drawings falls from 1 at the first step to 0
    after `gentle_steps` batches.

    Args:
        indices: positions of the training examples; one that is there twice is seen twice in an epoch.
        batches_per_step: that make one step of the optimiser, of all processes together.

    Raises:
        ValueError: no examples.
    """

    drop_last = True

    def __init__(
        self,
        indices: list[int],
        batch_size: int,
        seed: int,
        first: int,
        last: int,
        gentle_steps: int = 0,
        batches_per_step: int = 1,
    ):
        if not indices:
            raise ValueError("no training examples, expected one or more")
        self.indices, self.batch_size, self.seed, self.first, self.last = indices, batch_size, seed, first, last
        self.gentle_steps, self.batches_per_step = gentle_steps, batches_per_step
        self.orders: dict[int, np.ndarray] = {}  # of the last epochs that were asked for

    def __len__(self) -> int:
        return self.last - self.first

    def __iter__(self) -> Iterator[list[tuple[int, int, float]]]:
        return map(self.keys, range(self.first, self.last))

    def keys(self, number: int) -> list[tuple[int, int, float]]:
        """The batch of this number, counted from 0."""
        share = 0.0
        if self.gentle_steps:
            first_of_step = number - number % self.batches_per_step
            share = max(0.0, 1 - first_of_step / self.gentle_steps)
        examples = range(number * self.batch_size, (number + 1) * self.batch_size)
        return [(*self.example(position), share) for position in examples]

    def example(self, position: int) -> tuple[int, int]:
        """Epoch and index of the example at a position in the row."""
        epoch, place = divmod(position, len(self.indices))
        if epoch not in self.orders:
            kept = {old: order for old, order in self.orders.items() if old == epoch - 1}
            self.orders = kept | {epoch: np.random.default_rng((self.seed, epoch)).permutation(self.indices)}
        return epoch, int(self.orders[epoch][place])

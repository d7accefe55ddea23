"""Training examples: (input of the task, w), made from pairs, each a function of (seed, epoch, index) alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.drawings import LINE_ART_SHARE, draw, draw_gently
from training.faces import FacePhotos
from training.pairs import GeneratedPairs, PairStore, read_picture, read_tar


class LineArt:
    """Line drawings of the pictures of a store, by index, as `training/make_line_art.py` wrote them."""

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


class Drawings(Dataset):
    """Drawings made from the pictures of a store and, after them, from photos of faces; anew in every epoch.

    The key is (epoch, i) rather than i: an item depends on its key and the seed alone, so that a resumed run, or
    another number of workers, sees the same drawings. A third number in the key is the share of gentle drawings (see
    `draw_gently`) that it is taken from.

    Args:
        store: pairs with known w, stored or generated.
        line_art: line drawings of the store's pictures.
        seed: of all random choices.
        faces: photos, whose w is unknown, with the recognition vector [D] of each.
        line_art_share: how often a picture that has a line drawing shows it.
    """

    def __init__(
        self,
        store: PairStore | GeneratedPairs,
        line_art: LineArt,
        seed: int,
        faces: "LabelledFaces | None" = None,
        line_art_share: float = LINE_ART_SHARE,
    ):
        self.store, self.line_art, self.seed, self.faces = store, line_art, seed, faces
        self.line_art_share = line_art_share

    def __len__(self) -> int:
        return len(self.store) + (len(self.faces.photos) if self.faces else 0)

    def __getitem__(self, key: tuple[int, int] | tuple[int, int, float]) -> dict[str, Tensor]:
        """Returns input [1, 256, 256] in [0, 1], image [3, 256, 256] in [-1, 1], w [w_dim], and for runs with faces
        has_w [] and identity [D] (each zero where unknown)."""
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: list[tuple[int, int] | tuple[int, int, float]]) -> list[dict[str, Tensor]]:
        """Several items, as `__getitem__` gives them; what a DataLoader asks for."""
        positions = [key[1] for key in keys if key[1] < len(self.store)]
        if isinstance(self.store, GeneratedPairs):
            pairs = iter(self.store.get_many(positions) if positions else [])
        else:
            pairs = (self.store[i] for i in positions)
        return [self.make(key, pairs) for key in keys]

    def make(self, key: tuple[int, int] | tuple[int, int, float], pairs: Iterator[tuple[Tensor, Tensor]]) -> dict:
        """One item; if it is a pair, it is the next of `pairs`."""
        epoch, i, gentle_share = *key[:2], key[2] if len(key) > 2 else 0.0
        rng = np.random.default_rng((self.seed, epoch, i))
        item: dict[str, Tensor] = {}
        if i < len(self.store):
            item["image"], item["w"] = next(pairs)
            lines = self.line_art.get(self.store.indices[i])
            if self.faces:
                item |= {"has_w": torch.tensor(True), "identity": torch.zeros_like(self.faces.identity[0])}
        else:
            face = i - len(self.store)
            item = {"image": self.faces.photos[face], "w": torch.zeros_like(self.store.w[0], dtype=torch.float32)}
            item |= {"has_w": torch.tensor(False), "identity": self.faces.identity[face]}
            lines = self.faces.line_art.get(self.faces.photos.indices[face])
        gentle = gentle_share > 0 and rng.random() < gentle_share
        draw_one = draw_gently if gentle else draw
        return item | {"input": draw_one(item["image"], rng, lines, line_art_share=self.line_art_share)}


@dataclass
class LabelledFaces:
    """Photos, their line drawings and their recognition vectors [N, D]."""

    photos: FacePhotos
    line_art: LineArt
    identity: Tensor


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


def split(store: PairStore | GeneratedPairs, num_validation: int) -> tuple[list[int], list[int]]:
    """Positions of the training pairs and of the held-out ones: the last pairs of the first folder.

    Raises:
        ValueError: none, or more than half of the first folder would be held out.
    """
    end = store.store_ends[0]
    if not 1 <= num_validation <= end // 2:
        raise ValueError(f"{num_validation} validation pairs, expected 1 to {end // 2}, half of the first folder")
    held_out = range(end - num_validation, end)
    return [i for i in range(len(store)) if i not in held_out], list(held_out)

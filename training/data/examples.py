"""Training examples of any task, from any mixture of pairs and pictures: each a function of (seed, epoch, i) alone."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from psp_hub.tasks import TaskSpec
from training.data.augmentation import Augmentation, Target
from training.data.folders import Pictures, read, read_photo
from training.data.pairs import GeneratedPairs, PairStore
from training.data.sources import SOURCES
from training.data.stored_sources import read_pair
from training.data.stroke_pairs import StrokePairs
from training.strokes import ATTRIBUTES, Facts

Hints = Callable[[int], Tensor | None]  # what is stored for the source of a picture, by its index
Key = tuple[int, int] | tuple[int, int, float]  # epoch, i, share of gentle inputs
AUGMENTATION = 1  # random numbers of their own, so that the sources are the same with and without augmentation
OTHERS = 4  # that are drawn for a photo to be blended with the one that fits best


def no_hints(index: int) -> None:
    return None


class Part(Protocol):
    """Targets of one kind."""

    def __len__(self) -> int: ...

    def get_many(self, positions: list[int]) -> list[Target]: ...

    def name(self, i: int) -> str:
        """What messages call a target."""


class Pairs:
    """Pictures whose w is known.

    Args:
        store: stored or generated.
        hints: line art or label maps of its pictures, by their index.
        rows: positions in the store, where not each is there once.
    """

    def __init__(self, store: PairStore | GeneratedPairs, hints: Hints = no_hints, rows: Sequence[int] | None = None):
        self.store, self.hints, self.rows = store, hints, range(len(store)) if rows is None else rows

    def __len__(self) -> int:
        return len(self.rows)

    def get_many(self, positions: list[int]) -> list[Target]:
        positions = [self.rows[i] for i in positions]
        if isinstance(self.store, GeneratedPairs):
            pairs = self.store.get_many(positions) if positions else []
        else:
            pairs = [self.store[i] for i in positions]
        hints = [self.hints(self.store.indices[i]) for i in positions]
        return [Target(image, w, hint=hint) for (image, w), hint in zip(pairs, hints, strict=True)]

    def name(self, i: int) -> str:
        return f"pair {self.store.indices[self.rows[i]]}"


class Photos:
    """Pictures whose w is unknown, with or without stored sources.

    Args:
        targets: the pictures.
        rows: which of them, as (target, source) positions; the second counts where `sources` are given.
        sources: the pictures that belong to them.
        input_kind: of the task: how sources are read. Label maps are hints, for they are painted anew.
        hints: line art or label maps of the targets, by their position.
        identity: recognition vectors [number of rows, D].
        said: what the inputs show, [number of rows, A], see `Target`.
        repeats: how often each is there, every time with a source of its own.
    """

    def __init__(
        self,
        targets: Pictures,
        rows: Sequence[tuple[int, int]],
        sources: Pictures | None = None,
        input_kind: str = "photo",
        hints: Hints = no_hints,
        identity: Tensor | None = None,
        repeats: int = 1,
        said: Tensor | None = None,
    ):
        self.targets, self.rows, self.sources, self.input_kind = targets, rows, sources, input_kind
        self.hints, self.identity, self.repeats, self.said = hints, identity, repeats, said

    def __len__(self) -> int:
        return len(self.rows) * self.repeats

    def get_many(self, positions: list[int]) -> list[Target]:
        return [self.get(i % len(self.rows)) for i in positions]

    def get(self, row: int) -> Target:
        target, source = self.rows[row]
        hint, stored = self.hints(target), None
        if self.sources is None:
            image = read(self.targets, target, read_photo)
        else:
            image, stored = read_pair(self.targets, self.sources, (target, source), self.input_kind)
            if self.input_kind == "labels":
                hint, stored = stored, None
        identity = None if self.identity is None else self.identity[row]
        said = None if self.said is None else self.said[row]
        return Target(image, None, identity, hint, stored, said)

    def name(self, i: int) -> str:
        return self.targets.name(self.rows[i % len(self.rows)][0])


class Examples(Dataset):
    """The parts of a mixture one after the other, with the inputs of a task; anew in every epoch.

    The key is (epoch, i) rather than i: an item depends on its key and the seed alone, so that a resumed run, or
    another number of workers, sees the same. A third number in the key is the share of gentle inputs (see
    `training.data.sources`) that it is taken from.

    Args:
        parts: the mixture.
        task: how inputs are made.
        seed: of all random choices.
        w_dim: of the generator.
        augmentation: of the targets; none by default.
        options: of the source's maker, beside those of the row.
        unchanged: positions that are not augmented: what is held out.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        task: TaskSpec,
        seed: int,
        w_dim: int,
        augmentation: Augmentation | None = None,
        options: Mapping[str, Any] | None = None,
        unchanged: Collection[int] = (),
    ):
        self.parts, self.task, self.seed = list(parts), task, seed
        shapes = [part.store.w_shape for part in self.parts if isinstance(part, Pairs | StrokePairs)]
        self.w_shape = max(shapes, key=len, default=torch.Size([w_dim]))
        self.augmentation, self.unchanged = augmentation or Augmentation(), unchanged
        self.options = {**task.source_options, **(options or {})}
        self.starts = np.cumsum([0, *map(len, self.parts)]).tolist()
        identities = [part.identity for part in self.parts if isinstance(part, Photos) and part.identity is not None]
        self.says_attributes = any(isinstance(part, StrokePairs) for part in self.parts)
        self.nothing_said = torch.full((len(ATTRIBUTES),), float("nan"))
        self.identity_dim = identities[0].shape[1] if identities else None

    def __len__(self) -> int:
        return self.starts[-1]

    def locate(self, i: int) -> tuple[int, int]:
        """The number of the part, and the position in it, of example i.

        Raises:
            IndexError: there is no such example.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"example {i} of {len(self)}")
        part = bisect_right(self.starts, i) - 1
        return part, i - self.starts[part]

    def name(self, i: int) -> str:
        part, position = self.locate(i)
        return self.parts[part].name(position)

    def __getitem__(self, key: Key) -> dict[str, Tensor]:
        """Returns input [C, 256, 256] (what the encoder takes), image [3, 256, 256] in [-1, 1] (the target), w [w_dim]
        (zero if unknown; [num_ws, w_dim] if some pairs have mixed styles), has_w [], for inputs that are label maps
        the one before it was painted, labels [256, 256], and, if any part has it, identity [D] (zero if unknown) and
        said [A] (the attributes that the input shows, 0 or 1, NaN where it says nothing) and is_symbols [] (it is
        written as strokes)."""
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: list[Key]) -> list[dict[str, Tensor]]:
        """Several items, as `__getitem__` gives them; what a DataLoader asks for."""
        places = [self.locate(key[1]) for key in keys]
        targets: dict[int, Target] = {}
        for number, part in enumerate(self.parts):
            wanted = [place for place, (owner, _) in enumerate(places) if owner == number]
            if wanted:  # together: a generator draws them in one run
                targets |= zip(wanted, part.get_many([places[place][1] for place in wanted]), strict=True)
        return [self.make(key, targets[place]) for place, key in enumerate(keys)]

    def draw_others(self, i: int, rng: np.random.Generator) -> list[Target]:
        """Other pictures of the part that example i is of, some of them, none held out."""
        number, own = self.locate(i)
        part, start = self.parts[number], self.starts[number]
        drawn = rng.integers(len(part), size=OTHERS).tolist()
        others = [j for j in drawn if part.name(j) != part.name(own) and start + j not in self.unchanged]
        return part.get_many(others)

    def make(self, key: Key, target: Target) -> dict[str, Tensor]:
        """One item."""
        epoch, i, gentle_share = *key[:2], key[2] if len(key) > 2 else 0.0
        if i not in self.unchanged:
            rng = np.random.default_rng((self.seed, epoch, i, AUGMENTATION))
            target = self.augmentation(self.augmentation.blended(target, partial(self.draw_others, i), rng), rng)
        source = target.source
        if source is None:
            rng = np.random.default_rng((self.seed, epoch, i))
            gentle = gentle_share > 0 and rng.random() < gentle_share
            source = SOURCES[self.task.source](target.image, rng, target.hint, gentle, **self.options)
        item = {"input": source, "image": target.image, "has_w": torch.tensor(target.w is not None)}
        item["w"] = torch.zeros(self.w_shape) if target.w is None else target.w.expand(self.w_shape)
        if self.task.source == "labels":
            item["labels"] = target.hint
        if self.says_attributes:
            is_symbols = isinstance(target.hint, Facts)
            said = torch.from_numpy(target.hint.attributes) if is_symbols else target.said
            item["said"] = self.nothing_said if said is None else said
            item["is_symbols"] = torch.tensor(is_symbols)
        if self.identity_dim is not None:
            known = target.identity is not None
            item["identity"] = target.identity if known else torch.zeros(self.identity_dim)
        return item

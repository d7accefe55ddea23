"""What a model is measured on: pictures, the input that is made of each or stored with it, and their w if known."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from psp_hub.face_parser import FaceParser
from psp_hub.images.folder import listed
from psp_hub.tasks import TaskSpec
from training.data.drawings import draw_photo
from training.data.folders import FolderPictures, find_problems, match, read, read_photo
from training.data.painted_maps import one_hot
from training.data.pairs import PairStore
from training.data.sources import SOURCES
from training.data.stored_sources import read_pair
from training.networks.hed import EdgeDetector


@dataclass(frozen=True)
class Example:
    """One picture to measure on.

    Args:
        name: of the picture.
        input: what the encoder takes, [C, 256, 256].
        image: the target, [3, 256, 256] in [-1, 1].
        w: [w_dim] if it comes from the generator.
        factor: how many times smaller than the target the input was (super-resolution).
        remake: makes the input of any other picture in just the same way (super-resolution).
    """

    name: str
    input: Tensor
    image: Tensor
    w: Tensor | None = None
    factor: int | None = None
    remake: Callable[[Tensor], Tensor] | None = None


class ExampleSet(Protocol):
    """Examples in their order, each made when it is asked for."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Example]: ...


class SourceMaker:
    """Makes the inputs of a task from pictures: that of number i is the same every time.

    Args:
        task: its row of the table.
        seed: of the random choices.
        detector: finds the clean lines that some drawings show.
        parser: finds label maps.
        drawing_style: one style for all drawings, by default the whole family.
        factors: of super-resolution, by default the task's.
    """

    def __init__(
        self,
        task: TaskSpec,
        seed: int,
        detector: EdgeDetector | None = None,
        parser: FaceParser | None = None,
        drawing_style: str | None = None,
        factors: Sequence[int] | None = None,
    ):
        self.task, self.seed, self.detector, self.parser = task, seed, detector, parser
        self.drawing_style, self.factors = drawing_style, factors

    def example(self, i: int, name: str, image: Tensor, w: Tensor | None = None) -> Example:
        """Picture number i, [3, 256, 256] in [-1, 1], with its input.

        Raises:
            ValueError: a label map is needed, and there is no parser.
        """
        rng = np.random.default_rng((self.seed, i))
        if self.task.source == "degradation":
            factor = int(rng.choice(self.factors or self.task.source_options["factors"]))
            remake = self.degradation(i, factor)
            return Example(name, remake(image), image, w, factor, remake)
        if self.task.source == "drawing":
            lines = self.detector(image[None])[0] if self.detector else None
            return Example(
                name, draw_photo(image, rng, lines, self.drawing_style, **self.task.source_options), image, w
            )
        if self.task.source == "labels":
            return Example(name, self.labels(image), image, w)
        return Example(name, SOURCES[self.task.source](image, rng, **self.task.source_options), image, w)

    def degradation(self, i: int, factor: int) -> Callable[[Tensor], Tensor]:
        """Function of a picture: the same picture with the damage of number i."""
        options = {**self.task.source_options, "factors": (factor,)}
        return lambda image: SOURCES["degradation"](image, np.random.default_rng((self.seed, i, 1)), **options)

    def labels(self, image: Tensor) -> Tensor:
        """One-hot label map [19, 256, 256] of a picture, as the parser finds it."""
        if self.parser is None:
            raise ValueError("pictures without label maps need a face parser (--parser), or maps (--source_dir)")
        with torch.no_grad():
            logits = self.parser(image[None].to(self.parser.device))
        return one_hot(logits[0].argmax(dim=0).to(torch.uint8).cpu()).float()


class PairExamples:
    """The last `count` pairs of a store; all of them for 0."""

    def __init__(self, folder: Path, count: int, maker: SourceMaker):
        self.store, self.maker = PairStore([folder]), maker
        self.positions = range(len(self.store))[-count:]
        self.names = [str(self.store.indices[position]) for position in self.positions]

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Example]:
        for i, position in enumerate(self.positions):
            yield self.maker.example(i, self.names[i], *self.store[position])


class PhotoExamples:
    """The last `count` photos of a folder, in the order of their names; all of them for 0.

    Args:
        sources: folder of their inputs, of the same names, suffixes apart; by default they are made.

    Raises:
        ValueError: no photos, pictures without a partner, or some that cannot be read; all are tried first, so that
            no long measurement ends with the last one.
    """

    def __init__(self, folder: Path, count: int, maker: SourceMaker, sources: Path | None = None):
        self.photos, self.maker = FolderPictures(folder), maker
        self.sources = FolderPictures(sources, maker.task.input_kind) if sources else None
        everything = match(self.sources, self.photos) if sources else [(None, i) for i in range(len(self.photos))]
        self.positions = everything[-count:]
        paths = (self.photos.paths[position] for _, position in self.positions)
        self.names = [path.relative_to(self.photos.folder).as_posix() for path in paths]
        problems = find_problems(self.read, range(len(self.positions)), "photos").values()
        if problems:
            raise ValueError(f"{len(problems)} pictures cannot be used: {listed(list(problems))}")

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Example]:
        for i, name in enumerate(self.names):
            image, source = self.read(i)
            yield self.maker.example(i, name, image) if source is None else Example(name, source, image)

    def read(self, i: int) -> tuple[Tensor, Tensor | None]:
        """Photo number i, and its input if that is stored."""
        source, position = self.positions[i]
        if self.sources is None:
            return read(self.photos, position, read_photo), None
        image, stored = read_pair(self.photos, self.sources, (position, source), self.maker.task.input_kind)
        return image, one_hot(stored).float() if self.maker.task.input_kind == "labels" else stored

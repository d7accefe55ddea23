"""Folders of pictures: what is in them, which belong together, and which cannot be read."""

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from psp_hub.images import preprocessing
from psp_hub.images.folder import find_pictures, listed
from psp_hub.images.part_masks import describe_parts, group_parts, merge_parts
from psp_hub.images.preprocessing import ENCODER_SIZE, images_to_tensor, open_image

File = Path | io.BytesIO | Image.Image
T = TypeVar("T")


class Pictures(Protocol):
    """A row of picture files, in a folder or in a table."""

    def __len__(self) -> int: ...

    def file(self, i: int) -> File:
        """What `open_image` opens.

        Raises:
            ValueError: there is none.
        """

    def name(self, i: int) -> str:
        """What messages call it."""


class FolderPictures:
    """The pictures of a folder and those below it, in the order of their paths.

    Args:
        folder: where they are.
        kind: `labels` if they are label maps: then a mask for each part of a face makes one (`images.part_masks`).

    Raises:
        ValueError: no such folder, no pictures in it, or masks of parts where others are expected.
    """

    def __init__(self, folder: Path, kind: str = "photo"):
        self.folder, self.files = folder, group_parts(find_pictures(folder, below=True))
        self.paths = list(self.files)
        parts = [path for path in self.paths if len(self.files[path]) > 1]
        self.has_parts = bool(parts)
        if parts and kind != "labels":
            raise ValueError(
                f"{folder} holds masks of the parts of faces, such as {self.files[parts[0]][0]}: together they are "
                "label maps, the --source_dir of --task segmentation. The photos of CelebAMask-HQ are in CelebA-HQ-img"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, i: int) -> Path | Image.Image:
        files = self.files[self.paths[i]]
        return merge_parts(files) if len(files) > 1 else files[0]

    def name(self, i: int) -> str:
        path = self.paths[i]
        return describe_parts(path) if len(self.files[path]) > 1 else str(path)

    def stems(self, numbered: bool = False) -> dict[str, int]:
        """Position of each picture by its path in the folder, less the suffix.

        Args:
            numbered: by its name alone where that is a number, however many zeros that begins with.

        Raises:
            ValueError: two have the same.
        """
        stems: dict[str, int] = {}
        twice = []
        for i, path in enumerate(self.paths):
            stem = (
                path.relative_to(self.folder).as_posix().removesuffix("" if len(self.files[path]) > 1 else path.suffix)
            )
            if numbered and (name := stem.rpartition("/")[2]).isdecimal():
                stem = str(int(name))
            if stem in stems:
                twice.append(f"{self.name(stems[stem])} and {self.name(i)}")
            stems[stem] = i
        if twice:
            raise ValueError(f"{len(twice)} names are there twice, apart from the suffix: {listed(twice)}")
        return stems


def match(sources: FolderPictures, targets: FolderPictures) -> list[tuple[int, int]]:
    """Positions (source, target) of the pictures of the same name, suffixes apart, in the order of the targets.

    CelebAMask-HQ calls a photo 7 and its masks 0/00007: there, the same number is the same name.

    Raises:
        ValueError: pictures without a partner, or two that have the same.
    """
    source_of, target_of = (pictures.stems(sources.has_parts) for pictures in (sources, targets))
    alone = [sources.name(i) for stem, i in source_of.items() if stem not in target_of]
    alone += [targets.name(i) for stem, i in target_of.items() if stem not in source_of]
    if alone:
        raise ValueError(
            f"{len(alone)} pictures have no partner of the same name in the other folder "
            f"({sources.folder}, {targets.folder}): {listed(alone)}"
        )
    return [(source_of[stem], i) for stem, i in target_of.items()]


def read(pictures: Pictures, i: int, reader: Callable[[File], T]) -> T:
    """What `reader` makes of one picture.

    Raises:
        ValueError: it cannot be read; the message begins with its name.
    """
    try:
        return reader(pictures.file(i))
    except ValueError as error:
        raise ValueError(f"{pictures.name(i)}: {error}") from error


def read_photo(file: File) -> Tensor:
    """Any picture -> [3, 256, 256] in [-1, 1]; as in the original, its sides are stretched to a square."""
    return photo_to_tensor(open_image(file))


def photo_to_tensor(photo: Image.Image) -> Tensor:
    """The same, of a picture that is open."""
    return images_to_tensor([photo.resize((ENCODER_SIZE, ENCODER_SIZE))])[0]


def read_labels(file: File) -> Tensor:
    """A label map in numbers or in the official colours -> classes [256, 256], uint8, without mixing neighbours.

    Raises:
        ValueError: not a picture, not a label map, or one with a single class (see `psp_hub.images.preprocessing`).
    """
    labels = preprocessing.read_labels(open_image(file, keep_mode=True))
    return torch.from_numpy(preprocessing.resize_labels(labels, ENCODER_SIZE).copy())


def find_problems(attempt: Callable[[int], object], positions: Sequence[int], what: str) -> dict[int, str]:
    """Try all positions, with all cores; what the ValueError of those that fail says, by position.

    The processes of a distributed run share the work, and all get the whole answer.
    """

    def problem(i: int) -> str | None:
        try:
            attempt(i)
        except ValueError as error:
            return str(error)
        return None

    shared = dist.is_available() and dist.is_initialized()
    rank, num_processes = (dist.get_rank(), dist.get_world_size()) if shared else (0, 1)
    mine = positions[rank::num_processes]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(max(1, cores // num_processes)) as pool:  # decoding a picture lets other threads run
        problems = tqdm(
            pool.map(problem, mine), f"checking {what}", len(mine), leave=False, disable=None if rank == 0 else True
        )
        found = {i: text for i, text in zip(mine, problems, strict=True) if text}
    if shared:
        parts: list[dict[int, str]] = [{}] * num_processes
        dist.all_gather_object(parts, found)
        found = {i: text for part in parts for i, text in part.items()}
    return dict(sorted(found.items()))

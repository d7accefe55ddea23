"""What a study asks: pairs of answers to the same input, in an order of each voter's own.

A folder of a study is one kind of input. It holds `inputs/` and a folder for each system; pictures of the same name,
suffixes apart, belong together.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from PIL import Image

from psp_hub.images.folder import find_pictures, listed
from psp_hub.images.pictures import open_image

INPUTS = "inputs"
PAIRS_PER_CHECK = 10
# In the place of a system: an answer whose tiles are shuffled. No folder can have this name.
SHUFFLED = "/shuffled"
TILES = 8  # of a shuffled picture, in each direction

Files = dict[str, Path]  # name of a picture, without its suffix -> file


@dataclass(frozen=True)
class Pair:
    """Two answers to one input.

    Args:
        kind: of input: the name of its folder.
        name: of the input.
        systems: that answered.
    """

    kind: str
    name: str
    systems: tuple[str, str]


@dataclass(frozen=True)
class Question:
    """A pair as a voter sees it; one of the two may be `SHUFFLED`, which makes it an attention check."""

    kind: str
    name: str
    left: str
    right: str

    @property
    def key(self) -> tuple[str, str, frozenset[str]]:
        """What is asked, whichever of the two is left."""
        return self.kind, self.name, frozenset((self.left, self.right))

    @property
    def is_check(self) -> bool:
        return SHUFFLED in (self.left, self.right)

    @property
    def shown(self) -> tuple[str, str]:
        """The systems whose pictures are left and right; a shuffled picture is made of the other one."""
        if not self.is_check:
            return self.left, self.right
        system = self.right if self.left == SHUFFLED else self.left
        return system, system


class Study:
    """The pictures of a study, and its pairs.

    Args:
        folders: one for each kind of input.
        ours: the system that every pair has; by default every two systems meet.

    Raises:
        ValueError: a folder that is no study, fewer than two systems, pictures that a system lacks or that nobody
            asked for, or that cannot be opened; all are named.
    """

    def __init__(self, folders: Sequence[Path], ours: str | None = None):
        if not folders:
            raise ValueError("there is no folder to ask about, expected one for each kind of input")
        names = [folder.resolve().name for folder in folders]
        if len(set(names)) < len(names):
            raise ValueError(f"the folders are called {', '.join(names)}; expected a name of its own for each kind")
        self.files = {name: read_kind(folder) for name, folder in zip(names, folders, strict=True)}
        self.pairs: list[Pair] = []
        for kind, columns in self.files.items():
            systems = sorted(columns.keys() - {INPUTS})
            if ours is not None and ours not in systems:
                raise ValueError(f"{kind} has no system {ours}, but {', '.join(systems)}")
            meetings = [pair for pair in combinations(systems, 2) if ours is None or ours in pair]
            self.pairs += [Pair(kind, name, pair) for name in sorted(columns[INPUTS]) for pair in meetings]

    def questions(self, voter: str) -> list[Question]:
        """All questions for one voter: always the same, in an order and with sides that are the voter's own."""
        rng = random.Random(voter)
        asked = []
        for pair in rng.sample(self.pairs, len(self.pairs)):
            left, right = rng.sample(pair.systems, 2)
            asked.append(Question(pair.kind, pair.name, left, right))
        answers = sorted({(pair.kind, pair.name, system) for pair in self.pairs for system in pair.systems})
        for i, (kind, name, system) in enumerate(rng.sample(answers, math.ceil(len(asked) / PAIRS_PER_CHECK))):
            left, right = rng.sample((system, SHUFFLED), 2)
            place = i + PAIRS_PER_CHECK * i + rng.randrange(PAIRS_PER_CHECK)  # one in each stretch of pairs
            asked.insert(place, Question(kind, name, left, right))
        return asked

    def pictures(self, question: Question, side: int) -> tuple[Image.Image, Image.Image, Image.Image]:
        """Input, left and right answer, fitted to a square of `side`: nothing tells a system but what it painted."""
        columns = self.files[question.kind]
        source, *answers = (
            fitted(open_image(columns[column][question.name]), side) for column in (INPUTS, *question.shown)
        )
        left, right = (
            shuffled(picture, question.name) if system == SHUFFLED else picture
            for picture, system in zip(answers, (question.left, question.right), strict=True)
        )
        return source, left, right


def read_kind(folder: Path) -> dict[str, Files]:
    """The pictures of one folder of a study, by column: `inputs` and each system.

    Raises:
        ValueError: see `Study`.
    """
    found = sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
    columns = {path.name: read_files(path) for path in found if path.is_dir()}
    systems = sorted(columns.keys() - {INPUTS})
    if INPUTS not in columns or len(systems) < 2:
        got = f"it holds {', '.join(columns)}" if columns else "it holds no folders"
        raise ValueError(f"{folder} is no study: {got}; expected {INPUTS} and two systems or more")
    problems = unequal(columns)
    for column, files in columns.items():
        for path in files.values():
            try:
                open_image(path)
            except ValueError as error:
                problems.append(f"{column}: {error}")
    if problems:
        raise ValueError(f"{folder} cannot be shown: {'; '.join(problems)}")
    return columns


def read_files(folder: Path) -> Files:
    """The pictures of a folder by their names without suffixes.

    Raises:
        ValueError: no pictures, or two of one name.
    """
    files: Files = {}
    for path in find_pictures(folder):
        if path.stem in files:
            raise ValueError(f"{folder} has {files[path.stem].name} and {path.name}, expected one picture of a name")
        files[path.stem] = path
    return files


def unequal(columns: dict[str, Files]) -> list[str]:
    """What each system lacks, and has beside the inputs, in words."""
    problems, wanted = [], columns[INPUTS].keys()
    for system, files in columns.items():
        for names, verb in ((wanted - files.keys(), "lacks"), (files.keys() - wanted, "has no input for")):
            if names:
                problems.append(f"{system} {verb} {listed(sorted(names))}")
    return problems


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """A picture enlarged or made smaller so that its longer side is `side`."""
    scale = side / max(picture.size)
    size = [max(1, round(length * scale)) for length in picture.size]
    return picture.convert("RGB").resize((size[0], size[1]), Image.Resampling.LANCZOS)


def shuffled(picture: Image.Image, name: str) -> Image.Image:
    """The tiles of a picture in another order, which depends on its name; what divides into no tile stays."""
    width, height = (length // TILES for length in picture.size)
    places = [(x * width, y * height) for x in range(TILES) for y in range(TILES)]
    result = picture.copy()
    for place, (x, y) in zip(places, random.Random(name).sample(places, len(places)), strict=True):
        result.paste(picture.crop((x, y, x + width, y + height)), place)
    return result

"""Which systems training/compare.py puts side by side, and on what."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.settings.evaluation import MetricNetworkSettings, check_folders
from training.settings.flags import Folders, OrNone


@dataclass(frozen=True)
class SystemSettings:
    """What is compared."""

    models: tuple[str, ...] = ()
    """starters, saved folders or repositories on the Hub"""
    answers_dirs: Folders = ()
    """of other systems: pictures with the names of the inputs, one folder each"""

    def check(self) -> None:
        """Raise a ValueError for nothing to compare, two of one name, or folders that are missing."""
        if not (self.models or self.answers_dirs):
            raise ValueError("there is nothing to compare, expected --models or --answers_dirs")
        check_folders(self.answers_dirs)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"two are called {', '.join(twice)}; a folder's name is that of its column")

    @property
    def names(self) -> list[str]:
        """Of the columns: of a folder the last part, or the one before where that is only `model`."""
        return [column_name(name) for name in (*self.models, *map(str, self.answers_dirs))]


def column_name(source: str) -> str:
    """What the column of a model or folder is called."""
    path = Path(source)
    return path.parent.name if path.name == "model" and path.parent.name else path.name


@dataclass(frozen=True)
class CompareSettings:
    """All settings of a comparison."""

    task: Literal["sketch", "segmentation"]
    """what goes in"""
    output_dir: Path
    """of the table, the figure and the answers"""
    pairs_dir: OrNone[Path] = None
    """pairs that training has not seen: the last ones are used"""
    num_pairs: int = 100
    """0 for all"""
    faces_dir: OrNone[Path] = None
    """aligned photos: the last ones by name are used"""
    num_faces: int = 100
    """0 for all"""
    source_dir: OrNone[Path] = None
    """drawings or label maps of the photos, of the same names; by default they are made"""
    drawing_style: OrNone[str] = None
    """one style of drawing for all; by default the whole family"""
    num_varied: int = 20
    """inputs whose variations are drawn, for their diversity"""
    num_variations: int = 4
    """of each of these"""
    num_shown: int = 8
    """inputs in the figure"""
    device: OrNone[str] = None
    """by default a GPU, where there is one"""
    seed: int = 1234
    """of what is random in the inputs and variations"""
    systems: SystemSettings = SystemSettings()
    networks: MetricNetworkSettings = MetricNetworkSettings()

    def check(self) -> None:
        """Raise a ValueError where these are out of range, or do not fit together."""
        check_folders((self.pairs_dir, self.faces_dir, self.source_dir))
        if (self.pairs_dir is None) == (self.faces_dir is None):
            raise ValueError("expected --faces_dir or --pairs_dir, one of them")
        if self.source_dir and not self.faces_dir:
            raise ValueError("--source_dir needs --faces_dir: the photos that its inputs belong to")
        if min(self.num_pairs, self.num_faces, self.num_varied) < 0 or self.num_variations < 2 or self.num_shown < 1:
            raise ValueError("numbers of pictures are 0 or more, --num_variations 2 or more, --num_shown 1 or more")
        self.systems.check()
        self.networks.check()

"""Drawings by people who can draw, the photos that they drew, and what is known of these: the layout of FS2K.

A folder has `sketches/NAME.webp` (or another picture format), `photos/NAME.webp` and `attributes.jsonl`, with a line
for each: `name`, `gender` (0 man, 1 woman), `smile` (0 smiles), `hair` (0 has hair). Names whose number ends in 9 are
kept for measuring; no training sees them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from psp_hub.images.preprocessing import prepare_tensor
from training.data.folders import FolderPictures, match, read, read_photo

HELD_OUT = "9"
# Of each attribute: the field of the file, and the number that means that it is shown.
FIELDS = {"woman": ("gender", 1), "smile": ("smile", 0), "bald": ("hair", 1)}


@dataclass(frozen=True)
class ArtistDrawing:
    """One drawing with its photo.

    Args:
        name: of both.
        shows: what the file says of the photo, for each of `FIELDS`. Bald includes heads under a hat.
    """

    name: str
    shows: dict[str, bool]
    sketches: FolderPictures
    photos: FolderPictures
    positions: tuple[int, int]

    @property
    def measures(self) -> bool:
        """Whether it is kept for measuring."""
        return self.name.endswith(HELD_OUT)

    def input(self) -> Tensor:
        """The drawing as the encoder gets it, [1, 256, 256] in [0, 1]."""
        return read(self.sketches, self.positions[0], lambda file: prepare_tensor(file, "drawing"))[0]

    def image(self) -> Tensor:
        """The photo, [3, 256, 256] in [-1, 1]."""
        return read(self.photos, self.positions[1], read_photo)


class Artists:
    """All drawings of a folder, in the order of their names.

    Raises:
        ValueError: the folder has not this layout; drawings, photos and lines do not belong together.
    """

    def __init__(self, folder: Path):
        sketches, photos = FolderPictures(folder / "sketches"), FolderPictures(folder / "photos")
        lines = read_attributes(folder / "attributes.jsonl")
        self.drawings = []
        for source, target in match(sketches, photos):
            name = photos.paths[target].stem
            if name not in lines:
                raise ValueError(f"{folder / 'attributes.jsonl'} has no line for {name}")
            self.drawings.append(ArtistDrawing(name, lines[name], sketches, photos, (source, target)))

    def __len__(self) -> int:
        return len(self.drawings)

    def __iter__(self) -> Iterator[ArtistDrawing]:
        return iter(self.drawings)


def read_attributes(path: Path) -> dict[str, dict[str, bool]]:
    """What each photo shows, by its name.

    Raises:
        ValueError: no such file, or a line that lacks a field.
    """
    found = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found[row["name"]] = {name: row[field] == shown for name, (field, shown) in FIELDS.items()}
    except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a file of attributes: {error!r}") from error
    return found

"""What photos show, as far as somebody wrote it down: a file of lines of JSON.

    {"name": "1-0001", "woman": 1, "smile": 0}

A name is that of a photo, suffix apart; attributes that a line leaves out are not known.
"""

import json
from pathlib import Path

import torch
from torch import Tensor

from psp_hub.images.folder import listed
from training.data.examples import Photos
from training.data.folders import FolderPictures
from training.strokes import ATTRIBUTES


def read_photo_attributes(path: Path, photos: Photos) -> Tensor:
    """The attributes of each row of some photos in a folder, 0, 1 or NaN (not known), [number of rows, A].

    Raises:
        ValueError: no such file, a line that is not as above, or a name that no photo has.
    """
    targets = photos.targets
    if not isinstance(targets, FolderPictures):
        raise ValueError(f"{path}: attributes are for photos in a folder, expected --target_dir")
    lines, stems = read_lines(path), targets.stems()
    if missing := [name for name in lines if name not in stems]:
        raise ValueError(f"{path} names {len(missing)} photos that {targets.folder} has not: {listed(missing)}")
    position = {stems[name]: values for name, values in lines.items()}
    nothing = torch.full((len(ATTRIBUTES),), float("nan"))
    return torch.stack([position.get(target, nothing) for target, _ in photos.rows])


def read_lines(path: Path) -> dict[str, Tensor]:
    """The attributes [A] by name."""
    found = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            name = row.pop("name")
            if unknown := row.keys() - set(ATTRIBUTES):
                raise ValueError(f"{path}: unknown attributes {sorted(unknown)}, expected {', '.join(ATTRIBUTES)}")
            if wrong := [value for value in row.values() if value not in (0, 1)]:
                raise ValueError(f"{path}: {name} has the value {wrong[0]!r}, expected 0 or 1")
            found[name] = torch.tensor([float(row.get(attribute, "nan")) for attribute in ATTRIBUTES])
    except (OSError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a file of attributes: {error!r}") from error
    return found

"""Label maps as CelebAMask-HQ ships them: for each face a black-and-white mask of each of its parts.

CelebA-HQ-img/0.jpg                             a photo
CelebAMask-HQ-mask-anno/0/00000_hair.png, ...   its masks, white where the part is; 2,000 faces a folder
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from psp_hub.images.label_maps import labels_to_image
from psp_hub.images.pictures import open_image

# The data set's names of its parts, classes 1 to 18, in the order in which its authors merge them: where two overlap,
# the later one lies over the earlier one.
PARTS = (
    *("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"),
    *("mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)
NAME = re.compile(rf"(.+?)_({'|'.join(PARTS)})")
MIDDLE = 128  # a pixel of a mask that was smoothed is in the part from here on
NEARLY = 48  # so far from black or white a smoothed or compressed mask may be ...
MAX_GREY = 0.1  # ... and for this part of its pixels, at its borders, farther


def group_parts(pictures: Iterable[Path]) -> dict[Path, list[Path]]:
    """The files that each picture is made of: itself, or several masks of one face.

    Two or more files that are called NAME_PART belong together if those of the first such NAME are masks indeed.

    Args:
        pictures: files, those of one folder next to each other.

    Returns:
        Files by path, in the order given; masks by the path of NAME, which is no file.
    """
    found: dict[Path, list[Path]] = {}
    plain: dict[Path, list[Path]] = {}
    for path in pictures:
        named = NAME.fullmatch(path.stem)
        found.setdefault(path.with_name(named[1]) if named else path, []).append(path)
        plain[path] = [path]
    groups = [name for name, files in found.items() if len(files) > 1]
    if not groups or not all(map(is_mask, found[groups[0]])):
        return plain
    return {name if len(files) > 1 else files[0]: files for name, files in found.items()}


def is_mask(path: Path) -> bool:
    """Whether a file is a picture in black and white, or in black alone."""
    try:
        read_mask(path)
    except ValueError:
        return False
    return True


def read_mask(path: Path) -> np.ndarray:
    """Where a part is, [H, W], bool.

    Raises:
        ValueError: a file that cannot be read, or more than black and white in it.
    """
    values = np.asarray(open_image(path).convert("L"))
    if len(present := np.unique(values)) <= 2 and present[0] == 0:
        return values > 0
    grey = (values > NEARLY) & (values < 255 - NEARLY)
    if present[0] > NEARLY or present[-1] < 255 - NEARLY or grey.mean() > MAX_GREY:
        raise ValueError(f"{path.name} is no mask of a part: expected white where it is, and black elsewhere")
    return values >= MIDDLE


def merge_parts(files: Sequence[Path]) -> Image.Image:
    """The label map of one face, of its masks.

    Args:
        files: named NAME_PART, in any order; a part without a mask is not there.

    Returns:
        A palette picture of the numbers 0 to 18 (see `psp_hub.images.label_maps`), of the size of the masks.

    Raises:
        ValueError: a file that is no mask, of another part or of another size, or two of one part.
    """
    by_part: dict[int, Path] = {}
    for path in files:
        named = NAME.fullmatch(path.stem)
        if not named:
            raise ValueError(f"{path.name} is not named after a part; expected NAME_PART, one of {', '.join(PARTS)}")
        number = PARTS.index(named[2]) + 1
        if number in by_part:
            raise ValueError(f"{by_part[number].name} and {path.name} are both masks of {named[2]}, expected one")
        by_part[number] = path
    labels: np.ndarray | None = None
    for number, path in sorted(by_part.items()):
        mask = read_mask(path)
        labels = np.zeros(mask.shape, np.uint8) if labels is None else labels
        if mask.shape != labels.shape:
            (height, width), (others_height, others_width) = mask.shape, labels.shape
            raise ValueError(
                f"{path.name} has {width} x {height} pixels, the masks before it {others_width} x {others_height}"
            )
        labels[mask] = number
    if labels is None:
        raise ValueError("got no masks, expected those of the parts of a face")
    return labels_to_image(labels)


def describe_parts(name: Path) -> str:
    """What messages call the masks of one face."""
    return f"{name}_*"

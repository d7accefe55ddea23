"""Folders of pictures: which files are pictures, and which look like some and are left out.

The command line, training and evaluation ask here, so that one folder means the same pictures everywhere.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from psp_hub.images.formats import picture_suffixes

logger = logging.getLogger(__name__)

# Pictures of other programs, of cameras and of phones, by suffix, where nothing that is installed opens them.
OTHER_SUFFIXES = frozenset(
    """
    .heic .heif .hif .jp2 .j2k .jpf .jpx .jxl .jxr .svg .svgz .psd .psb .xcf .kra .ora .clip .procreate .eps .ai
    .dng .cr2 .cr3 .nef .arw .orf .raf .rw2 .mpo .tga .ico .icns .exr .hdr .dds .pcx .dib .emf .wmf
    """.split()
)
# Of files with other suffixes, or none, these formats are known by their first bytes; the rest begin as texts do.
SNIFFED = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "TIFF")
MAX_NAMED = 20  # of the files that a message is about


def find_pictures(folder: Path, below: bool = False) -> list[Path]:
    """Paths of the pictures in a folder, sorted; what is hidden is left out.

    A link to nothing is among them, so that it is reported with the other broken ones. What looks like a picture and
    is left out, such as the photo of a phone in a format that is not read, is counted and named in the log.

    Args:
        folder: an existing one.
        below: also in the folders in it.

    Raises:
        ValueError: not a folder, or no pictures in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    suffixes = picture_suffixes()
    files = list(walk(folder, below))
    pictures = sorted(path for path in files if path.suffix.lower() in suffixes)
    others = sorted(path for path in files if path.suffix.lower() not in suffixes and looks_like_picture(path))
    names = listed([path.relative_to(folder).as_posix() for path in others])
    if not pictures:
        looks = f"; {len(others)} look like some and cannot be read: {names}" if others else ""
        if not below and (folders := sorted(path.name for path in folder.iterdir() if path.is_dir())):
            looks += f"; it holds folders ({listed(folders)}), give one of them"
        raise ValueError(
            f"there are no pictures in the folder {folder}{looks}; expected names that end in {', '.join(suffixes)}"
        )
    if others:
        one = len(others) == 1
        logger.warning(
            "%d %s in %s and %s left out: %s. Pictures that are read have names in %s",
            *(len(others), "file looks like a picture" if one else "files look like pictures", folder),
            *("is" if one else "are", names, ", ".join(suffixes)),
        )
    return pictures


def walk(folder: Path, below: bool, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """The files of a folder that are not hidden, and links to nothing.

    Args:
        below: also what is in the folders in it.
        above: the folders that this one lies in, for links that lead back there.
    """
    status = folder.stat()
    if (here := (status.st_dev, status.st_ino)) in above:
        return
    for entry in os.scandir(folder):
        if entry.name.startswith((".", "__MACOSX")):
            continue
        if entry.is_dir():
            yield from walk(Path(entry.path), below, above | {here}) if below else ()
        elif entry.is_file() or entry.is_symlink():  # pipes and devices are neither
            yield Path(entry.path)


def looks_like_picture(path: Path) -> bool:
    """Whether a file without one of the `picture_suffixes` is a picture, by its suffix or by its first bytes."""
    if path.suffix.lower() in OTHER_SUFFIXES:
        return True
    try:
        with open(path, "rb") as file:
            prefix = file.read(16)
    except OSError:  # a link to nothing, or a file that others may not read
        return False
    Image.init()
    accepts = (Image.OPEN[name][1] for name in SNIFFED if name in Image.OPEN)
    return len(prefix) == 16 and any(accept is not None and accept(prefix) is True for accept in accepts)


def listed(names: Sequence[str]) -> str:
    """At most `MAX_NAMED` names, and how many more there are."""
    more = f", and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more

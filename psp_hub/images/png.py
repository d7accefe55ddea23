"""Faces as PNG files, quickly."""

import zlib
from pathlib import Path
from typing import BinaryIO

from PIL import Image


def save_png(image: Image.Image, file: str | Path | BinaryIO) -> None:
    """Write a picture, without zlib's search for repetitions.

    Photos have hardly any: for them the file is no larger than with it, and the search takes longer than the face.
    """
    image.save(file, "PNG", compress_type=zlib.Z_HUFFMAN_ONLY)

"""Pictures as people hand them in, opened safely."""

import io
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from psp_hub.images.colours import KEYS, to_srgb
from psp_hub.images.formats import FORMATS, HEADER, explain, explain_broken, explain_tiff, is_unsigned, read_header

MAX_PIXELS = 64_000_000
MIN_SIDE = 8
LIGHT = 160  # of what is drawn on a transparent ground, the darkest is lighter: on white it could not be seen
# What Pillow's readers raise on broken files.
BROKEN = (
    *(OSError, SyntaxError, ValueError, LookupError, TypeError, RuntimeError, EOFError, struct.error, zlib.error),
    Image.DecompressionBombError,  # a frame inside the file is far larger than the file says
)

Source = str | Path | Image.Image | np.ndarray | BinaryIO


def open_image(source: Source, keep_mode: bool = False) -> Image.Image:
    """Open a picture safely and turn it upright (EXIF).

    Colours become sRGB, as the profile in the file says. Transparency is put on white, or on black if all that is
    visible is light; of an animation the first frame is taken. 16-bit greys are scaled to 8 bit. 32-bit
    and floating-point greys do not say what white is: it is the first of 1 (floating point only), 255 and 65535 that
    no value exceeds; if values are negative or greater, the darkest becomes black and the brightest white.

    Args:
        source: path, file open for reading in binary mode, array (see `array_to_image`), or a picture (it is not
            changed, apart from being loaded).
        keep_mode: leave transparency, palettes, wide greys and the profile as they are, for those who know what they
            mean; `flatten` does the rest.

    Returns:
        A picture of mode "RGB" or "L" (unless `keep_mode`), of the original size (after turning).

    Raises:
        ValueError: missing, empty, damaged or not a picture; more than MAX_PIXELS pixels (found out before decoding)
            or a side shorter than MIN_SIDE.
    """
    if isinstance(source, Image.Image):
        return _decode(source, Path(getattr(source, "filename", "")).name or "The picture", keep_mode)
    if isinstance(source, np.ndarray):
        return _decode(array_to_image(source), "The array", keep_mode)
    if not isinstance(source, str | Path):
        if not hasattr(source, "read"):
            got = type(source).__name__
            raise ValueError(f"got {got}, expected a picture, an array, the name of a file, or an open file")
        if isinstance(source, io.TextIOBase):
            raise ValueError("the file is open as a text, expected in binary mode: open(name, 'rb')")
        name = getattr(source, "name", "")  # an int for files opened by descriptor
        return _open_file(source, Path(name).name if isinstance(name, str) and name else "The picture", keep_mode)
    if re.match(r"[a-z]+://", str(source)):
        raise ValueError(f"{source} is an address: download the picture, and give the name of the file.")
    path = Path(source)
    if path.is_dir():
        raise ValueError(f"{path.name or path} is a folder; a picture file (PNG, JPEG, ...) is expected.")
    try:
        if not path.is_file() and path.exists():  # opening a pipe would wait for ever
            raise ValueError(f"{path.name} is no file, but a pipe or a device; a picture file is expected.")
        file = open(path, "rb")
    except FileNotFoundError as error:
        raise ValueError(f"There is no file {path.name}; check its name and folder ({path}).") from error
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}.") from error
    with file:
        return _open_file(file, path.name, keep_mode)


def _open_file(file: BinaryIO, name: str, keep_mode: bool) -> Image.Image:
    """Read an open file's header, then decode it; `name` is for the messages."""
    file.seek(0)
    prefix = file.read(HEADER)
    if not prefix:
        raise ValueError(f"{name} is empty: the file has 0 bytes. Was it saved or downloaded completely?")
    with _damage_reported(name, file):
        image = read_header(file, prefix)
    if image is None:
        kinds = ", ".join(FORMATS[:-1])
        known = explain(prefix, name)
        raise ValueError(known or f"{name} is not a picture this program can read; expected one of {kinds}.")
    if problem := explain_tiff(image, name):
        raise ValueError(problem)
    return _decode(image, name, keep_mode, file)


def array_to_image(array: np.ndarray) -> Image.Image:
    """An array as a picture.

    Args:
        array: [H, W] or [H, W, 1] grey, or label numbers; [H, W, 3] RGB; [H, W, 4] with transparency. Integers from 0
            to 255 (or uint16 up to 65535), floats in [0, 1], or booleans.

    Raises:
        ValueError: another shape, other values or another type.
    """
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (3, 4))) or not array.size:
        raise ValueError(f"the array has shape {array.shape}, expected [H, W], [H, W, 3] or [H, W, 4]")
    if array.dtype.kind not in "buif":
        raise ValueError(f"the array is of {array.dtype}, expected uint8, or floats in [0, 1]")
    low, high = array.min(), array.max()
    if array.dtype.kind == "f":
        if not 0 <= low <= high <= 1:
            raise ValueError(f"the array has floats from {low:g} to {high:g}, expected [0, 1]; or uint8, 0 to 255")
        return Image.fromarray((array * 255.0).round().astype(np.uint8))
    if array.dtype == np.bool_:
        return Image.fromarray(array.astype(np.uint8) * 255)
    if array.dtype == np.uint16:
        return Image.fromarray(array if array.ndim == 2 else (array / 257).round().astype(np.uint8))
    if low < 0 or high > 255:
        raise ValueError(f"the array has integers from {low} to {high}, expected 0 to 255")
    return Image.fromarray(np.ascontiguousarray(array.astype(np.uint8)))


def _decode(image: Image.Image, name: str, keep_mode: bool, file: BinaryIO | None = None) -> Image.Image:
    """Check the size, decode, turn upright, and make it RGB or L unless `keep_mode`; `file` is for the messages."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS // 1_000_000} million pixels"
        raise ValueError(f"{name} is too large: {width} x {height} pixels, but the limit is {limit}. Make it smaller.")
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"{name} is too small: {width} x {height} pixels; at least {MIN_SIDE} x {MIN_SIDE} expected.")
    with _damage_reported(name, file):
        image.load()
        upright = ImageOps.exif_transpose(image)
        if is_unsigned(image):
            upright = Image.fromarray(np.asarray(upright, np.int32).view(np.uint32).astype(np.float32))
        upright.format = image.format  # a label map in a lossy format is none
        return upright if keep_mode else flatten(upright)


@contextmanager
def _damage_reported(name: str, file: BinaryIO | None = None) -> Iterator[None]:
    """Say that a file is damaged, unless its kind of pixels is what is not supported."""
    try:
        yield
    except BROKEN as error:
        problem = explain_broken(file, name) if file is not None else None
        message = f"{name} is damaged or incomplete and cannot be opened. Save or download it again."
        raise ValueError(problem or message) from error


def flatten(image: Image.Image) -> Image.Image:
    """Any mode -> "RGB" or "L" in sRGB, transparency put on white, or on black if all that is visible is light.

    Where nothing at all is visible, the transparency is ignored.
    """
    if image.mode.startswith("I") or image.mode == "F":
        grey = _wide_grey_to_8_bit(image)
        grey.info = {key: image.info[key] for key in KEYS if key in image.info}
        return to_srgb(grey)
    image = to_srgb(image)
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data and shows_something(image := image.convert("RGBA")):
        image = Image.alpha_composite(Image.new("RGBA", image.size, ground(image)), image)
    return image.convert(mode)


def shows_something(image: Image.Image) -> bool:
    """Whether any of an RGBA picture can be seen; where nothing can, the alpha is a mistake, and the colours count."""
    return bool(np.asarray(image.getchannel("A")).any())


def ground(image: Image.Image) -> str:
    """The colour to put an RGBA picture on: white strokes, or a picture that the alpha alone shows, need black."""
    alpha = image.getchannel("A")
    half = int(np.asarray(alpha).max()) // 2
    if int(np.asarray(alpha).min()) > half:  # a sheet that is there everywhere
        return "white"
    visible = alpha.point(lambda value: 255 * (value > half))
    counts = np.cumsum(image.convert("RGB").convert("L").histogram(visible))
    darkest = int(np.searchsorted(counts, 0.005 * counts[-1], side="right"))
    return "black" if darkest >= LIGHT else "white"


def _wide_grey_to_8_bit(image: Image.Image) -> Image.Image:
    """Pillow's convert("L") clips at 255, so that nearly everything would be white."""
    grey = np.nan_to_num(np.asarray(image).astype(np.float32), nan=0.0)
    darkest, white = float(grey.min()), 65535.0
    if not image.mode.startswith("I;16"):
        brightest = float(grey.max())
        whites = (1.0, 255.0, white) if image.mode == "F" else (255.0, white)
        fitting = [white for white in whites if brightest <= white and darkest >= 0]
        if not fitting:
            grey, fitting = grey - darkest, [max(brightest - darkest, 1e-6)]
        white = fitting[0]
    return Image.fromarray((grey / white * 255).round().astype(np.uint8))

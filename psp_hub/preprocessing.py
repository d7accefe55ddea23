"""Pictures to tensors and back. The numbers of the image formats live here and nowhere else."""

import logging
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageFile, ImageFilter, ImageOps
from torch import Tensor

logger = logging.getLogger(__name__)

# The usual picture files only: readers of rarer formats run other programs (EPS) or are seldom tested.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")
MAX_PIXELS = 64_000_000
MIN_SIDE = 8
# What Pillow's readers raise on broken files.
BROKEN = (OSError, SyntaxError, ValueError, LookupError, TypeError, RuntimeError, EOFError, struct.error, zlib.error)
BROKEN += (Image.DecompressionBombError,)  # a frame inside the file is far larger than the file says

ENCODER_SIZE = 256
NUM_CLASSES = 19  # of CelebAMask-HQ, in its official order

LINE_CONTRAST = 0.05  # between a line and its surroundings, to tell light lines from dark ones
EVEN_PAPER = 4 / 255  # the lighter half of the border differs by less: no shading to remove
PAPER_TOLERANCE = 0.1  # within this part of the fitted paper, a pixel is paper (with noise) and not ink
MIN_INK = 0.0005  # part of the pixels that must be ink
MIN_CONTRAST = 0.02  # darkness of the faintest line taken for a drawing: 1 is black, 0 the paper
MAX_DARKEST = 0.005  # the darkest ink: the darkest tenth of what is drawn, but not more than this part of the pixels
CLEARLY_DARK = 0.75  # fainter drawings are strengthened until their darkest ink is this dark ...
MAX_GAIN = 8.0  # ... but not more than this, so as not to make a drawing of the paper's grain
INK_LEVEL = 160  # darker than this is a stroke, when the extent of a drawing is measured
SMALL_DRAWING = 0.6  # a drawing is small if its strokes span less than this part of the sheet ...
FILLED_FRAME = 0.82  # ... and is then enlarged to this part: hair to chin in an aligned photo
MAX_ZOOM = 4.0  # the finest scale at which a small drawing is cleaned anew


def open_image(source: str | Path | Image.Image | BinaryIO) -> Image.Image:
    """Open a picture safely and turn it upright (EXIF).

    Transparency is put on white; of an animation the first frame is taken. 16-bit greys are scaled to 8 bit. 32-bit
    and floating-point greys do not say what white is: it is the first of 1 (floating point only), 255 and 65535 that
    no value exceeds; if values are negative or greater, the darkest becomes black and the brightest white.

    Args:
        source: path, file open for reading in binary mode, or a picture (it is not changed, apart from being loaded).

    Returns:
        A picture of mode "RGB" or "L", of the original size (after turning).

    Raises:
        ValueError: missing, empty, damaged or not a picture; more than MAX_PIXELS pixels (found out before decoding)
            or a side shorter than MIN_SIDE.
    """
    if isinstance(source, Image.Image):
        return _decode(source, Path(getattr(source, "filename", "")).name or "The picture")
    if not isinstance(source, str | Path):
        name = getattr(source, "name", "")  # an int for files opened by descriptor
        return _open_file(source, Path(name).name if isinstance(name, str) and name else "The picture")
    path = Path(source)
    if path.is_dir():
        raise ValueError(f"{path.name} is a folder; a picture file (PNG, JPEG, ...) is expected.")
    try:
        file = open(path, "rb")
    except FileNotFoundError as error:
        raise ValueError(f"There is no file {path.name}; check its name and folder ({path}).") from error
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror}.") from error
    with file:
        return _open_file(file, path.name)


def prepare_drawing(image: Image.Image, size: int = ENCODER_SIZE) -> Image.Image:
    """Make any picture of a drawing ready for the encoder: dark lines on white, square, nothing stretched.

    White-on-black drawings are inverted. The paper becomes white (grey paper, smooth shading of a photographed paper),
    faint drawings are strengthened, and a small drawing on a large sheet is enlarged, as the encoder expects a face
    that fills the frame. Any other clean dark-on-white drawing of `size` pixels stays as it is.

    Args:
        image: picture of any mode and shape (see `open_image`).
        size: side of the result in pixels.

    Returns:
        A picture of mode "L", `size` x `size`: 255 is paper, 0 black ink; wide and tall drawings are centred on paper.

    Raises:
        ValueError: nothing is drawn (less than MIN_INK of the picture is ink).
    """
    grey = _flatten(image).convert("L")
    square = _clean_square(grey, size)
    if part := _small_drawing(square):
        left, top, side = part
        zoom = min(size / side, MAX_ZOOM)  # cleaned anew at a finer scale, rather than blown up
        large = _clean_square(grey, round(size * zoom))
        frame = Image.new("L", (round(side * zoom),) * 2, 255)
        frame.paste(large, (-round(left * zoom), -round(top * zoom)))
        square = frame.resize((size, size), Image.Resampling.BICUBIC)
    return square


def _clean_square(grey: Image.Image, size: int) -> Image.Image:
    """Resize to fit, clean, and centre on white paper."""
    scale = size / max(grey.size)
    fitted = tuple(max(1, round(side * scale)) for side in grey.size)
    # Antialiased, so that no line is lost, and without LANCZOS' halos, which would be brighter than the paper.
    grey = grey.resize(fitted, Image.Resampling.HAMMING)
    clean = _clean(np.asarray(grey, np.float32) / 255)
    drawing = Image.fromarray((clean * 255).round().astype(np.uint8))
    # Padding comes last: by now the paper's colour is white, and a 8 x 8,000,000 picture was never made square.
    square = Image.new("L", (size, size), 255)
    square.paste(drawing, ((size - drawing.width) // 2, (size - drawing.height) // 2))
    return square


def _small_drawing(square: Image.Image) -> tuple[float, float, float] | None:
    """Left, top and side of the part that a small drawing should fill the frame with; None if it is large enough."""
    left, top, right, bottom = square.point(lambda value: 255 * (value < INK_LEVEL)).getbbox() or (0, 0, *square.size)
    extent = max(right - left, bottom - top)
    if extent >= SMALL_DRAWING * square.width:
        return None
    side = extent / FILLED_FRAME
    return (left + right - side) / 2, (top + bottom - side) / 2, side


def drawings_to_tensor(drawings: list[Image.Image]) -> Tensor:
    """Pictures of one size (taken as "L") -> [N, 1, H, W] in [0, 1] (1 is paper): pSp's convention."""
    arrays = np.stack([np.asarray(drawing.convert("L")) for drawing in drawings])  # [N, H, W]
    return torch.from_numpy(arrays)[:, None].float() / 255


def prepare_tensor(image: Image.Image, input_kind: str) -> Tensor:
    """One picture of any size -> the encoder's input [1, C, 256, 256].

    Args:
        image: what a person gives.
        input_kind: a key of `PREPARATIONS`.

    Raises:
        ValueError: unknown kind, or a picture that cannot be used.
    """
    if input_kind not in PREPARATIONS:
        raise ValueError(f"input_kind is {input_kind!r}, expected one of {', '.join(PREPARATIONS)}")
    return PREPARATIONS[input_kind](open_image(image))


# How the pictures of each kind of task become tensors.
PREPARATIONS: dict[str, Callable[[Image.Image], Tensor]] = {
    "drawing": lambda image: drawings_to_tensor([prepare_drawing(image)]),
    "photo": lambda image: images_to_tensor([image.resize((ENCODER_SIZE, ENCODER_SIZE), Image.Resampling.BILINEAR)]),
    "labels": lambda image: labels_to_tensor(image),
}


def labels_to_tensor(image: Image.Image) -> Tensor:
    """A map of the classes of CelebAMask-HQ, one number a pixel -> one-hot [1, 19, 256, 256].

    Resized without mixing neighbours (the original interpolated the numbers, and got classes that were not there).

    Raises:
        ValueError: a colour picture, or numbers that are no class.
    """
    if image.mode != "L":
        raise ValueError(f"a label map is a grey picture of the numbers 0 to {NUM_CLASSES - 1}, got {image.mode}")
    labels = np.asarray(image.resize((ENCODER_SIZE, ENCODER_SIZE), Image.Resampling.NEAREST), np.int64)
    if labels.max() >= NUM_CLASSES:
        raise ValueError(f"the label map has the number {labels.max()}, expected 0 to {NUM_CLASSES - 1}")
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels), NUM_CLASSES)  # [256, 256, 19]
    return one_hot.permute(2, 0, 1)[None].float()


def images_to_tensor(images: list[Image.Image]) -> Tensor:
    """RGB pictures of one size -> [N, 3, H, W] in [-1, 1]."""
    arrays = np.stack([np.asarray(image.convert("RGB")) for image in images])  # [N, H, W, 3]
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 127.5 - 1


def tensor_to_images(images: Tensor) -> list[Image.Image]:
    """[N, 3, H, W] in [-1, 1] (values outside are clamped) -> RGB pictures."""
    arrays = ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return [Image.fromarray(array) for array in arrays.permute(0, 2, 3, 1).cpu().numpy()]


def _open_file(file: BinaryIO, name: str) -> Image.Image:
    """Read an open file's header, then decode it; `name` is for the messages."""
    file.seek(0)
    prefix = file.read(16)
    if not prefix:
        raise ValueError(f"{name} is empty: the file has 0 bytes. Was it saved or downloaded completely?")
    with _damage_reported(name):
        image = _read_header(file, prefix)
    if image is None:
        kinds = ", ".join(FORMATS[:-1])
        raise ValueError(f"{name} is not a picture this program can read; expected one of {kinds}.")
    return _decode(image, name)


def _read_header(file: BinaryIO, prefix: bytes) -> ImageFile.ImageFile | None:
    """What Image.open does, less its check of the size: that one warns, or raises without telling the size."""
    Image.init()
    for name, (factory, accepts) in Image.OPEN.items():
        if name in FORMATS and accepts(prefix) is True:
            file.seek(0)
            return factory(file, "")
    return None


def _decode(image: Image.Image, name: str) -> Image.Image:
    """Check the size, decode, turn upright, make RGB or L."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        limit = f"{MAX_PIXELS // 1_000_000} million pixels"
        raise ValueError(f"{name} is too large: {width} x {height} pixels, but the limit is {limit}. Make it smaller.")
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"{name} is too small: {width} x {height} pixels; at least {MIN_SIDE} x {MIN_SIDE} expected.")
    with _damage_reported(name):
        image.load()
        image = ImageOps.exif_transpose(image)
        return _flatten(image)


@contextmanager
def _damage_reported(name: str) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        message = f"{name} is damaged or incomplete and cannot be opened. Save or download it again."
        raise ValueError(message) from error


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode -> "RGB" or "L", transparency put on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _wide_grey_to_8_bit(image)
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _wide_grey_to_8_bit(image: Image.Image) -> Image.Image:
    """Pillow's convert("L") clips at 255, so that nearly everything would be white."""
    grey = np.nan_to_num(np.asarray(image).astype(np.float32), nan=0.0)
    darkest, white = float(grey.min()), 65535.0
    if not image.mode.startswith("I;16"):
        brightest = float(grey.max())
        whites = (1.0, 255.0, white) if image.mode == "F" else (255.0, white)
        white = next((white for white in whites if brightest <= white and darkest >= 0), None)
        if white is None:
            grey, white = grey - darkest, max(brightest - darkest, 1e-6)
    return Image.fromarray((grey / white * 255).round().astype(np.uint8))


def _clean(grey: np.ndarray) -> np.ndarray:
    """Dark ink on white paper from any greys; [H, W] in [0, 1], both."""
    if grey.max() - grey.min() < MIN_CONTRAST:
        raise ValueError("The drawing is empty: the picture has one colour only. Draw some lines first.")
    if _is_white_on_black(grey):
        logger.info("The drawing is light on dark: it is inverted.")
        grey = 1 - grey
    light = grey / _paper(grey)  # 1 is paper
    # Grain of the paper: what is brighter than the paper is noise, and as much noise lies below.
    brighter = light[light > 1] - 1
    noise = min(float(np.sqrt(np.mean(brighter**2))), PAPER_TOLERANCE / 2) if brighter.size else 0.0
    ink = 1 - (light / (1 - 2 * noise)).clip(0, 1)
    drawn = float((ink > MIN_CONTRAST + 2 * noise).mean())
    if drawn < MIN_INK:
        raise ValueError("The drawing is empty: hardly anything on it is darker than the paper. Draw stronger lines.")
    # A few spots, where thin lines meet, do not make a faint drawing dark.
    darkest = float(np.quantile(ink, 1 - min(max(drawn / 10, MIN_INK), MAX_DARKEST)))
    gain = min(max(CLEARLY_DARK / darkest, 1.0), MAX_GAIN)
    return (1 - ink * gain).clip(0, 1)


def _border(grey: np.ndarray) -> np.ndarray:
    """The outermost two pixels on each side."""
    return np.concatenate([part.ravel() for part in (grey[:2], grey[-2:], grey[:, :2], grey[:, -2:])])


def _is_white_on_black(grey: np.ndarray) -> bool:
    """Border and most of the picture are dark (dark hair has a light border), and its lines are not."""
    middle = np.quantile(grey, (MIN_INK, 1 - MIN_INK)).mean()  # of darkest and brightest, not black and white
    if np.median(_border(grey)) >= middle or np.median(grey) >= middle:
        return False
    # Paper in a spot of light or on a dark table is dark around as well; a median filter wipes out its lines alone.
    image = Image.fromarray((grey * 255).round().astype(np.uint8))
    lines = grey - np.asarray(image.filter(ImageFilter.MedianFilter(11)), np.float32) / 255
    dark, light = -lines[lines < -LINE_CONTRAST].sum(), lines[lines > LINE_CONTRAST].sum()
    return bool(dark <= 2 * light)


def _paper(grey: np.ndarray) -> np.ndarray | float:
    """Grey of the paper: one number if the border is even, else a smooth surface [H, W] that also passes under ink."""
    middle, high = np.quantile(_border(grey), (0.5, 0.9))
    if high - middle <= EVEN_PAPER and middle > grey.mean() - EVEN_PAPER:
        return max(float(middle), EVEN_PAPER)
    # Light falls off smoothly, so a parabola in x and y is enough, and no area of dark hair can bend it.
    y, x = (axis.ravel() for axis in np.meshgrid(*(np.linspace(-1, 1, side) for side in grey.shape), indexing="ij"))
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)  # [HW, 6]
    pixels = grey.ravel().astype(np.float64)
    surface = np.full_like(pixels, np.median(pixels))
    for _ in range(20):  # an upper envelope: what is below (ink) hardly counts
        surface = _weighted_fit(terms, pixels, np.where(pixels > surface, 0.99, 0.01))
    for _ in range(2):  # then the middle of the paper alone
        surface = _weighted_fit(terms, pixels, np.abs(pixels - surface) < PAPER_TOLERANCE * surface)
    return surface.clip(0.25 * grey.max()).reshape(grey.shape)


def _weighted_fit(terms: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted least squares, evaluated at every pixel."""
    weighted = terms.T * weights
    return terms @ np.linalg.lstsq(weighted @ terms, weighted @ values, rcond=None)[0]

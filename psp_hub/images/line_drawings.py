"""Pictures of drawings, cleaned as the encoder expects them: dark lines on white paper, filling the frame."""

import logging
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from psp_hub.config import ENCODER_SIZE
from psp_hub.images.main_part import main_part
from psp_hub.images.pictures import flatten
from psp_hub.images.sheets import flat_page, local_paper

logger = logging.getLogger(__name__)

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
SOFT_EDGE = 3  # px around strokes that are not as dark
MAX_ZOOM = 4.0  # the finest scale at which a small drawing is cleaned anew


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
    grey = flat_page(flatten(image).convert("L"))
    square = _clean_square(grey, size)
    if small := _small_drawing(square):
        left, top, side = small.frame
        zoom = min(size / side, MAX_ZOOM)  # cleaned anew at a finer scale, rather than blown up
        large = _clean_square(grey, round(size * zoom))
        if small.alone is not None:  # what lies beside it is no part of it
            x, y, end_x, end_y = (round(length * zoom) for length in small.alone)
            part, large = large.crop((x, y, end_x, end_y)), Image.new("L", large.size, 255)
            large.paste(part, (x, y))
        frame = Image.new("L", (round(side * zoom),) * 2, 255)
        frame.paste(large, (-round(left * zoom), -round(top * zoom)))
        square = frame.resize((size, size), Image.Resampling.BICUBIC)
    return square


def clean_drawing(image: Image.Image, size: int = ENCODER_SIZE) -> Image.Image:
    """As `prepare_drawing`, but everything stays in its place: a small drawing is not enlarged.

    For drawings that belong to a photo of the same frame. `fit_square` says which pixel goes where.
    """
    return _clean_square(flatten(image).convert("L"), size)


def fit_square(size: tuple[int, int], side: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of a picture that is made to fit into a square of `side`, and its left and top corner there."""
    width, height = (max(1, round(length * side / max(size))) for length in size)
    return (width, height), ((side - width) // 2, (side - height) // 2)


def _clean_square(grey: Image.Image, size: int) -> Image.Image:
    """Resize to fit, clean, and centre on white paper."""
    fitted, corner = fit_square(grey.size, size)
    # Antialiased, so that no line is lost, and without LANCZOS' halos, which would be brighter than the paper.
    grey = grey.resize(fitted, Image.Resampling.HAMMING)
    clean = _clean(np.asarray(grey, np.float32) / 255)
    drawing = Image.fromarray((clean * 255).round().astype(np.uint8))
    # Padding comes last: by now the paper's colour is white, and a 8 x 8,000,000 picture was never made square.
    square = Image.new("L", (size, size), 255)
    square.paste(drawing, corner)
    return square


class _Small(NamedTuple):
    """A small drawing on a sheet, in pixels of it."""

    frame: tuple[float, float, float]  # left, top and side of the part that it should fill the frame with
    alone: tuple[int, int, int, int] | None  # the box of the drawing, if something is beside it; with its soft edge


def _small_drawing(square: Image.Image) -> _Small | None:
    """Where a small drawing is, apart from a signature or a hole far from it; None if it is large enough."""
    ink = square.point(lambda value: 255 * (value < INK_LEVEL))
    left, top, right, bottom = whole = ink.getbbox() or (0, 0, *square.size)
    if max(right - left, bottom - top) >= SMALL_DRAWING * square.width:
        left, top, right, bottom = main_part(np.asarray(ink) > 0)
    extent = max(right - left, bottom - top)
    if extent >= SMALL_DRAWING * square.width:
        return None
    side, box = extent / FILLED_FRAME, (left, top, right, bottom)
    alone = None if box == whole else (left - SOFT_EDGE, top - SOFT_EDGE, right + SOFT_EDGE, bottom + SOFT_EDGE)
    return _Small(((left + right - side) / 2, (top + bottom - side) / 2, side), alone)


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
        even = max(float(middle), EVEN_PAPER)
        local = local_paper(grey, even)
        return even if local is None else local
    # Light falls off smoothly, so a parabola in x and y is enough, and no area of dark hair can bend it.
    y, x = (axis.ravel() for axis in np.meshgrid(*(np.linspace(-1, 1, side) for side in grey.shape), indexing="ij"))
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)  # [HW, 6]
    pixels = grey.ravel().astype(np.float64)
    surface = np.full_like(pixels, np.median(pixels))
    for _ in range(20):  # an upper envelope: what is below (ink) hardly counts
        surface = _weighted_fit(terms, pixels, np.where(pixels > surface, 0.99, 0.01))
    for _ in range(2):  # then the middle of the paper alone
        surface = _weighted_fit(terms, pixels, np.abs(pixels - surface) < PAPER_TOLERANCE * surface)
    smooth = surface.clip(0.25 * grey.max()).reshape(grey.shape)
    local = local_paper(grey, smooth)
    return smooth if local is None else local


def _weighted_fit(terms: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted least squares, evaluated at every pixel."""
    weighted = terms.T * weights
    return terms @ np.linalg.lstsq(weighted @ terms, weighted @ values, rcond=None)[0]

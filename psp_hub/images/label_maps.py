"""Label maps: which part of a face every pixel is, as the 19 classes of CelebAMask-HQ in their official order."""

import logging
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from psp_hub.images.colours import to_srgb
from psp_hub.images.face_classes import (
    BACKGROUND,
    CLASS_NAMES,
    LABEL_ORDERS,
    NUM_CLASSES,
    PALETTE,
    SKIN,
)

if TYPE_CHECKING:
    from torch import Tensor  # for real it would keep the command line's help waiting

logger = logging.getLogger(__name__)


MAX_SIDE = 768  # a larger map is thinned out before it is looked at: the encoder sees a third of that
MAJORITY_FROM = 2.0  # when shrunk by more than this, a pixel becomes what most of its pixels were
SURE = 24.0  # nearer than this to a class' colour a pixel is that class: half the gap between the closest two
EVEN = 40  # neighbours differ by less inside an area; at borders of a smoothed or JPEG map they differ by more
REACH = 3  # so many pixels around a border pixel are asked what it may be
UNLIKE = 75.0  # a pixel is a thin line of its own if its colour is farther than this from all areas around it
FOREIGN = 48.0  # an even area whose colour is farther than this from every class' colour is no class
MAX_FOREIGN = 0.02  # of all pixels
MAX_LISTED = 5
LOSSY = ("JPEG", "AVIF", "HEIF")  # WebP may be either
OVERSHOOT = 32  # of numbers that went through JPEG, none is greater
CLOSE_NUMBERS = 2  # what JPEG and smoothing make of a number differs from a neighbour by no more, mostly
MAX_SPOILT = 0.04  # of the pixels at borders: maps of 32 px have 0.03, larger ones 0.01, halved ones 0.13


def read_labels(image: Image.Image, label_order: str | None = None) -> np.ndarray:
    """The classes of a label map as people save it.

    Three kinds are understood: numbers 0 to 18 (grey, palette, or colour with three equal channels), the official
    colours in a palette of any order, and the official colours in RGB, smoothed or JPEG-compressed ones too. What is
    transparent is background.

    Args:
        image: picture of any mode and size.
        label_order: what the numbers mean, one of `LABEL_ORDERS`; None is the official order.

    Returns:
        [H, W], uint8, 0 to 18; a map with a side of more than `MAX_SIDE` is thinned out to that.

    Raises:
        ValueError: unknown order, another order for a map of colours, numbers that are no class or that went through
            a lossy format, areas in other colours (they are listed), or a single class all over.
    """
    if label_order is not None and label_order not in LABEL_ORDERS:
        raise ValueError(f"label_order is {label_order!r}, expected one of {', '.join(LABEL_ORDERS)}")
    is_lossy = image.format in LOSSY
    if max(image.size) > MAX_SIDE:
        scale = MAX_SIDE / max(image.size)
        image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.NEAREST)
    size = image.height, image.width
    alpha = np.asarray(image.convert("RGBA"))[..., 3] if image.has_transparency_data else np.full(size, 255)
    shown = (alpha >= 128) | (alpha.max() == 0)  # transparent all over is a mistake
    numbers = _numbers(image, prefer_colours=label_order is None)
    if numbers is not None:
        _check_lossless(numbers, is_lossy)
        numbers = _check_numbers(np.where(shown, numbers, BACKGROUND))
        labels = np.array(LABEL_ORDERS[label_order or "celebamask-hq"], np.uint8)[numbers]
    elif label_order in (None, "celebamask-hq"):
        colours = _colours(image)
        labels = _decode_colours(colours * shown[..., None])
    else:
        raise ValueError(f"label_order is {label_order!r}, but the label map has colours, which say it themselves")
    _check_classes(labels)
    return labels


def resize_labels(labels: np.ndarray, size: int) -> np.ndarray:
    """Label map [H, W] -> [size, size], uint8, without new classes between two others; other shapes are stretched."""
    height, width = labels.shape
    if max(height, width) <= MAJORITY_FROM * size:
        return np.asarray(Image.fromarray(labels).resize((size, size), Image.Resampling.NEAREST))
    present = np.unique(labels)
    masks = (Image.fromarray(np.where(labels == number, 255, 0).astype(np.uint8)) for number in present)
    shares = np.stack([np.asarray(mask.resize((size, size), Image.Resampling.BOX)) for mask in masks])
    return present[shares.argmax(axis=0)]


def labels_to_image(labels: "np.ndarray | Tensor") -> Image.Image:
    """Classes [H, W] -> palette picture: its pixels are the numbers, its palette the official colours.

    Raises:
        ValueError: not two dimensions, or numbers that are no class.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2:
        raise ValueError(f"labels has shape {labels.shape}, expected [H, W]")
    image = Image.fromarray(_check_numbers(labels).astype(np.uint8))
    image.putpalette([value for colour in PALETTE for value in colour])  # turns it into a palette picture
    return image


def _numbers(image: Image.Image, prefer_colours: bool) -> np.ndarray | None:
    """The numbers [H, W] that the pixels stand for; None if it is the colours that count."""
    if image.mode == "P":
        numbers = np.asarray(image)
        used = np.unique(numbers)
        named = any(_has_official_colours(shown, used) for shown in (image, to_srgb(image)))
        if prefer_colours and named:
            return None
        greys = _greys(image, used)
        return numbers if greys is None else greys[numbers]
    if image.mode in ("LA", "La"):
        return np.asarray(image.getchannel("L"))
    if len(image.getbands()) == 1:
        return np.asarray(image.convert("L") if image.mode == "1" else image)
    colours = np.asarray(image.convert("RGB"))
    is_grey = (colours == colours[..., :1]).all() and colours.any()
    return colours[..., 0] if is_grey else None


def _greys(image: Image.Image, used: np.ndarray) -> np.ndarray | None:
    """Of a palette whose colours are the numbers themselves, as greys, those: GIF and programs that shrink files
    renumber them. None of others."""
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if used.max() >= len(palette):
        return None
    colours = palette[used]
    is_grey = (colours == colours[:, :1]).all() and colours.max() < NUM_CLASSES
    return palette[:, 0] if is_grey and len(np.unique(colours[:, 0])) == len(used) else None


def _colours(image: Image.Image) -> np.ndarray:
    """RGB [H, W, 3] in sRGB; as they are stored if all of these are official: then the profile is a mistake."""
    stored = np.asarray(image.convert("RGB"))
    converted = to_srgb(image)
    if converted is image or (_nearest_colours(stored) == stored).all():
        return stored
    return np.asarray(converted.convert("RGB"))


def _nearest_colours(colours: np.ndarray) -> np.ndarray:
    """The official colour nearest to each of [..., 3]."""
    return np.array(PALETTE, np.uint8)[_tables()[0][_codes(colours)]]


def _has_official_colours(image: Image.Image, used: np.ndarray) -> bool:
    """Whether the colours of a palette name a different class each: programs that shrink files reorder palettes."""
    palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if used.max() >= len(palette):
        return False
    classes, distances = (table[_codes(palette[used])] for table in _tables())
    return bool(distances.max() <= SURE and len(np.unique(classes)) == len(used))


def _check_lossless(numbers: np.ndarray, is_lossy: bool) -> None:
    """Raise ValueError for numbers that were compressed as if they were colours, or smoothed.

    Between skin (1) and hair (13) either leaves a little of every class: phantom glasses and earrings. Such pixels
    have hardly an equal neighbour, but one whose number is close, or a lower and a higher one opposite each other.
    """
    if numbers.max() >= OVERSHOOT or numbers.max() == 0:  # other mistakes, which have messages of their own
        return
    height, width = numbers.shape
    padded = np.pad(numbers.astype(np.int32), 1, mode="edge")
    around = np.stack([padded[y : y + height, x : x + width] for y, x in np.ndindex(3, 3) if (y, x) != (1, 1)])
    differences = np.abs(around - numbers)  # [8, H, W]
    is_alone = (differences == 0).sum(axis=0) < 2
    is_close = np.where(differences == 0, OVERSHOOT, differences).min(axis=0) <= CLOSE_NUMBERS
    opposite = np.stack([around[:4], around[:3:-1]])  # the last four, from the end, lie across from the first
    is_between = ((opposite.min(axis=0) < numbers) & (numbers < opposite.max(axis=0))).any(axis=0)
    spoilt = is_alone & (is_close | is_between)
    share = float(spoilt.sum() / max((differences > 0).any(axis=0).sum(), 1))
    if is_lossy or share > MAX_SPOILT:
        raise ValueError(
            "The numbers of the label map went through a lossy format, such as JPEG, or were smoothed when it was "
            f"resized: {share:.0%} of the pixels at borders became other classes. Save the map as PNG, and resize it "
            "with the nearest neighbour."
        )


def _check_numbers(numbers: np.ndarray) -> np.ndarray:
    if numbers.size and (wrong := np.unique(numbers[~((numbers >= 0) & (numbers < NUM_CLASSES))])).size:
        if wrong.tolist() == [255] and not np.any((numbers > 0) & (numbers < 255)):
            raise ValueError(
                "The picture is black and white: the mask of one part, expected a label map of all of them. If there "
                "is a mask of each part, as in CelebAMask-HQ, give `psp-hub translate` the folder that they lie in."
            )
        listed = ", ".join(f"{number:g}" for number in wrong[:MAX_LISTED])
        more = f" and {wrong.size - MAX_LISTED} more" if wrong.size > MAX_LISTED else ""
        photo = " Is it a photo?" if wrong.size > NUM_CLASSES else ""
        raise ValueError(
            f"The label map has numbers that are no class: {listed}{more}; expected 0 to {NUM_CLASSES - 1}.{photo}"
        )
    return numbers.astype(np.uint8)


def _check_classes(labels: np.ndarray) -> None:
    present = np.unique(labels)
    if present.size == 1:
        name = CLASS_NAMES[present[0]]
        raise ValueError(f"The label map is {name} all over, which says nothing about a face; expected two classes.")
    if SKIN not in present:
        names = ", ".join(CLASS_NAMES[number] for number in present)
        logger.warning("The label map has no skin, only %s: most of the face is a guess.", names)


@cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """For every colour of 5 bits a channel (see `_codes`): the class nearest to it, and how far away that is."""
    levels = np.arange(32, dtype=np.float32) * 8 + 4
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    distances = np.stack([np.linalg.norm(colours - colour, axis=1) for colour in np.array(PALETTE, np.float32)])
    return distances.argmin(axis=0).astype(np.uint8), distances.min(axis=0)


def _codes(colours: np.ndarray) -> np.ndarray:
    """RGB [..., 3], uint8 -> indices for `_tables`."""
    red, green, blue = (colours[..., i].astype(np.int32) >> 3 for i in range(3))
    return red << 10 | green << 5 | blue


def _decode_colours(colours: np.ndarray) -> np.ndarray:
    """RGB [H, W, 3] -> classes [H, W].

    Inside areas the nearest class counts. Not so where two areas meet in a smoothed picture: halfway between hair and
    background lies the colour of the lower lip. Such a pixel goes to the area close by whose colour is nearest.
    """
    nearest, distances = (table[_codes(colours)] for table in _tables())
    if (np.array(PALETTE, np.uint8)[nearest] == colours).all():
        return nearest  # neither smoothed nor compressed
    picture = Image.fromarray(colours)
    low, high = (np.asarray(picture.filter(rank(3))) for rank in (ImageFilter.MinFilter, ImageFilter.MaxFilter))
    even = (high - low).max(axis=-1) < EVEN
    _check_colours(colours, even & (distances > FOREIGN))
    sure = even & (distances <= SURE)
    areas = np.pad(np.where(sure, nearest, NUM_CLASSES), REACH, constant_values=NUM_CLASSES)
    rows, columns = np.nonzero(~sure)
    from_class = np.linalg.norm(colours[rows, columns, None] - np.array(PALETTE, np.float32), axis=-1)  # [N, 19]
    from_class = np.pad(from_class, ((0, 0), (0, 1)), constant_values=np.inf)
    best, best_distance = nearest[rows, columns], np.full(rows.size, np.inf)
    pixels = np.arange(rows.size)
    for y, x in np.ndindex(2 * REACH + 1, 2 * REACH + 1):
        candidate = areas[rows + y, columns + x]
        distance = from_class[pixels, candidate]
        closer = distance < best_distance
        best, best_distance = np.where(closer, candidate, best), np.where(closer, distance, best_distance)
    own = (distances[rows, columns] <= SURE) & (best_distance > UNLIKE)
    labels = nearest.copy()
    labels[rows, columns] = np.where(own, nearest[rows, columns], best)
    return labels


def _check_colours(colours: np.ndarray, foreign: np.ndarray) -> None:
    """Raise ValueError, with a list of colours, if too many pixels are `foreign`."""
    share = float(foreign.mean())
    if share <= MAX_FOREIGN:
        return
    groups, counts = np.unique(colours[foreign] >> 4, axis=0, return_counts=True)
    largest = counts.argsort()[::-1][:MAX_LISTED]
    listed = (
        "#{:02x}{:02x}{:02x} ({:.0%})".format(*(groups[i].astype(int) * 16 + 8), counts[i] / foreign.size)
        for i in largest
    )
    raise ValueError(
        f"{share:.0%} of the label map is in colours that are no class, such as {', '.join(listed)}. Is it a photo? "
        f"Expected the {NUM_CLASSES} colours of CelebAMask-HQ, or the numbers 0 to {NUM_CLASSES - 1}."
    )

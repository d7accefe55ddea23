"""Masks: where a photo is to be filled in. The page, the command line and Python ask here."""

from functools import reduce

import numpy as np
from PIL import Image, ImageChops

from psp_hub.images.colours import to_srgb
from psp_hub.images.pictures import flatten

MASK_SHAPES = 0.02  # how much the proportions of a mask and its photo may differ
MIDDLE = 128  # from here on a pixel is light, or opaque, if no mask is fainter
NOISE = 16  # a lossy format may leave as much of black


def missing_part(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    """What a mask says is missing.

    If some of the mask is opaque and some transparent, what is opaque is missing, whatever its colour: so painting
    programs save a layer with strokes, those of a faint brush too. Otherwise what is light is, in any colour; of two
    greys, such as the numbers 0 and 1, the lighter one.

    Args:
        mask: of any mode and size, but of the photo's proportions.
        size: width and height of the photo.

    Returns:
        A picture of mode "L" and that size, 255 where something is missing.

    Raises:
        ValueError: other proportions, or nothing or everything is missing.
    """
    (width, height), (mask_width, mask_height) = size, mask.size
    if abs(width * mask_height / (height * mask_width) - 1) > MASK_SHAPES:
        got = f"{mask_width} x {mask_height} pixels"
        raise ValueError(f"The mask has {got}, expected the shape of the photo, {width} x {height}.")
    opaque = split(mask.convert("RGBA").getchannel("A")) if mask.has_transparency_data else None
    if opaque is not None and varies(opaque):
        missing, empty, full = opaque, "transparent", "opaque"
    else:
        colours = mask.convert("RGBA").convert("RGB") if mask.has_transparency_data else flatten(mask)
        missing, empty, full = split(reduce(ImageChops.lighter, colours.split())), "black", "white"
    missing = missing.resize(size, Image.Resampling.NEAREST)
    if not varies(missing):
        colour = full if missing.getbbox() else empty
        raise ValueError(f"The mask is {colour} all over: a part of it should be {full}, to be filled in.")
    return missing


def transparent_part(photo: Image.Image) -> Image.Image | None:
    """The same of a photo that is transparent where something is missing; None if nothing is."""
    if not photo.has_transparency_data:
        return None
    missing = photo.convert("RGBA").getchannel("A").point(lambda value: 0 if value >= MIDDLE else 255)
    return missing if missing.getbbox() else None


def opaque_colours(photo: Image.Image) -> Image.Image:
    """RGB in sRGB, with the colours that may still be under what is transparent: a face is found better with them."""
    if photo.has_transparency_data:
        return to_srgb(photo).convert("RGBA").convert("RGB")
    return flatten(photo).convert("RGB")


def with_hole(photo: Image.Image, mask: Image.Image) -> Image.Image:
    """A photo that is transparent where its mask says that something is missing.

    Args:
        photo: of any mode; what is transparent in it becomes white.
        mask: see `missing_part`.

    Returns:
        An RGBA picture of the photo's size, as inpainting takes it.

    Raises:
        ValueError: other proportions, or nothing or everything is missing.
    """
    missing = missing_part(mask, photo.size)
    photo = flatten(photo).convert("RGB")
    photo.putalpha(missing.point(lambda value: 255 - value))
    return photo


def split(channel: Image.Image) -> Image.Image:
    """255 where a channel is high, 0 elsewhere: from `MIDDLE` on, or half of the highest; of two values the higher."""
    values = np.asarray(channel)
    low, high = int(values.min()), int(values.max())
    level = min(MIDDLE, max(NOISE, high // 2))
    if channel.getcolors(2) and (low == 0 or high - low > NOISE):
        level = max(high, 1)
    return channel.point(lambda value: 255 if value >= level else 0)


def varies(channel: Image.Image) -> bool:
    """Whether a channel that was `split` has both values."""
    values = np.asarray(channel)
    return bool(values.any() and not values.all())

"""Masks: where a photo is to be filled in."""

from PIL import Image, ImageChops

from psp_hub.images.pictures import flatten

MASK_SHAPES = 0.02  # how much the proportions of a mask and its photo may differ


def with_hole(photo: Image.Image, mask: Image.Image) -> Image.Image:
    """A photo that is transparent where the mask is white; where that is black or transparent, the photo stays.

    Args:
        photo: of any mode; what is transparent in it becomes white.
        mask: of any mode and size, but of the photo's proportions.

    Returns:
        An RGBA picture of the photo's size, as inpainting takes it.

    Raises:
        ValueError: other proportions.
    """
    (width, height), (mask_width, mask_height) = photo.size, mask.size
    if abs(width * mask_height / (height * mask_width) - 1) > MASK_SHAPES:
        raise ValueError(f"the mask has {mask_width} x {mask_height} pixels, expected the shape of {width} x {height}")
    if mask.has_transparency_data:
        white, opaque = mask.convert("RGBA").convert("LA").split()
        white = ImageChops.multiply(white, opaque)
    else:
        white = flatten(mask).convert("L")
    known = white.resize(photo.size, Image.Resampling.NEAREST).point(lambda value: 0 if value >= 128 else 255)
    photo = flatten(photo).convert("RGB")
    photo.putalpha(known)
    return photo

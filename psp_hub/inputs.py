"""What people have, made into what a task takes: a photo with a mask, a photo with more in it than a face."""

from PIL import Image, ImageChops

from psp_hub.alignment import align_face, find_faces
from psp_hub.preprocessing import ENCODER_SIZE, flatten

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


def cut_out(photo: Image.Image, small: bool = False) -> tuple[Image.Image, int]:
    """The largest face of a photo, aligned, and how many faces there are.

    Args:
        photo: of any mode and size.
        small: cut it out with as many pixels as it has, if fewer than 256, as super-resolution wants it.

    Raises:
        ValueError: no face, one that is too small or cut off, or a picture that cannot be used.
    """
    faces = find_faces(photo)
    face = faces[0] if faces else None
    size = min(ENCODER_SIZE, max(1, round(face.side))) if small and face else ENCODER_SIZE
    return align_face(photo, face, size).image, len(faces)

"""The face of a photo that a task is about, cut out as it takes it: for the page, the command line and Python."""

from dataclasses import dataclass

from PIL import Image

from psp_hub.alignment.faces import Face, align_face, find_faces, is_aligned
from psp_hub.config import ENCODER_SIZE
from psp_hub.images.masks import missing_part, opaque_colours, transparent_part
from psp_hub.images.pictures import flatten

SMALL = 128  # px: a square picture up to here is taken as it is to be upscaled
SQUARE = 0.1  # how much longer one side of a nearly square picture may be
SMALL_NOTE = "The picture is small and square: all of it is used."


@dataclass(frozen=True)
class CutOut:
    """The square that a network sees.

    Args:
        image: RGB, square.
        note: what a person should know about how it was found; empty if there is nothing.
        missing: mode "L", of the same size, 255 where it is to be filled in; None for other tasks.
    """

    image: Image.Image
    note: str = ""
    missing: Image.Image | None = None

    @property
    def seen(self) -> Image.Image:
        """As the encoder takes it: what is missing is transparent."""
        if self.missing is None:
            return self.image
        image = self.image.convert("RGBA")
        image.putalpha(self.missing.point(lambda value: 255 - value))
        return image


def cut_out(
    photo: Image.Image,
    *,
    small: bool = False,
    masked: bool = False,
    mask: Image.Image | None = None,
    largest: int = ENCODER_SIZE,
    always: bool = False,
) -> CutOut:
    """The largest face of a photo, upright, with what is missing of it cut out alike.

    Small square pictures to be upscaled, and square pictures with a missing part in which no face is found, are taken
    as they are.

    Args:
        photo: of any mode and size (see `open_image`).
        small: for super-resolution: cut out with as many pixels as it has, for that says how much detail there is.
        masked: for inpainting: what is transparent is missing, or what `mask` says (see `missing_part`).
        largest: side of the answer in pixels, at most.
        always: no picture is taken as it is.

    Raises:
        ValueError: no face, one that is too small or cut off, or pictures that cannot be used.
    """
    missing = None
    if masked:
        missing = transparent_part(photo) if mask is None else missing_part(mask, photo.size)
    colours = opaque_colours(photo) if masked else flatten(photo).convert("RGB")
    is_square = max(photo.size) <= (1 + SQUARE) * min(photo.size)
    if small and is_square and max(photo.size) <= SMALL and not always:
        return whole(colours, missing, SMALL_NOTE)
    try:
        faces = find_faces(colours, missing=missing)
        side = crop_side(faces[0], small, largest) if faces else largest
        aligned = align_face(colours, faces[0] if faces else None, side)  # without one, it says so
    except ValueError:
        if is_square and (small or missing is not None) and not always:
            return whole(colours, missing, "No face was found: the picture is used as it is.")
        raise
    note = f"There are {len(faces)} faces in this photo: the largest one is used." if len(faces) > 1 else ""
    if missing is not None:
        missing = cut_out_mask(missing, aligned.face, side, is_aligned(colours, aligned.face))
    return CutOut(aligned.image, note, missing)


def crop_side(face: Face, small: bool, largest: int) -> int:
    """In pixels: half of the largest is enough for a face that has no more, but never less than a network sees."""
    if small:
        return max(1, min(largest, round(face.side)))
    return largest if face.side > largest // 2 else max(largest // 2, ENCODER_SIZE)


def whole(photo: Image.Image, missing: Image.Image | None, note: str) -> CutOut:
    """All of a nearly square picture."""
    side = max(photo.size)
    square = photo.resize((side, side), Image.Resampling.BICUBIC)
    return CutOut(square, note, missing and missing.resize((side, side), Image.Resampling.NEAREST))


def cut_out_mask(missing: Image.Image, face: Face, side: int, already: bool) -> Image.Image:
    """The part of a mask that belongs to the crop of a face; outside of the photo nothing is missing."""
    if already:
        return missing.resize((side, side), Image.Resampling.NEAREST)
    corners = tuple(face.corners.ravel().tolist())
    return missing.transform((side, side), Image.Transform.QUAD, corners, Image.Resampling.NEAREST)

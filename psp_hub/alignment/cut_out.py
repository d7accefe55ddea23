"""Faces of a photo, cut out as a task takes them, and put back: for the page, the command line and Python."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from PIL import Image

from psp_hub.alignment.faces import Face, align_face, find_faces
from psp_hub.alignment.ffhq_crop import Corners
from psp_hub.alignment.pasting import paste_back
from psp_hub.config import ENCODER_SIZE
from psp_hub.images.masks import missing_part, opaque_colours, transparent_part
from psp_hub.images.pictures import flatten

SMALL = 128  # px: a square picture up to here is taken as it is to be upscaled
SQUARE = 0.1  # how much longer one side of a nearly square picture may be
SMALL_NOTE = "The picture is small and square: all of it is used."

Which = int | Literal["all"] | None  # of the faces of a photo: a number from the left, all, or the largest


@dataclass(frozen=True)
class CutOut:
    """The square that a network sees.

    Args:
        image: RGB, square.
        note: what a person should know about how it was found; empty if there is nothing.
        missing: mode "L", of the same size, 255 where it is to be filled in; None for other tasks.
        corners: of the square in the photo, as `paste_back` takes them; None for all of the photo.
        faces: how many there are in the photo.
    """

    image: Image.Image
    note: str = ""
    missing: Image.Image | None = None
    corners: Corners | None = None
    faces: int = 1

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
    which: Which = None,
) -> list[CutOut]:
    """Faces of a photo, upright, with what is missing of them cut out alike.

    Small square pictures to be upscaled, and square pictures with a missing part in which no face is found, are taken
    as they are.

    Args:
        photo: of any mode and size (see `open_image`).
        small: for super-resolution: cut out with as many pixels as it has, for that says how much detail there is.
        masked: for inpainting: what is transparent is missing, or what `mask` says (see `missing_part`).
        largest: side of the answer in pixels, at most.
        always: no picture is taken as it is.
        which: the largest face, the one with this number from the left, or all of them, from left to right; of these,
            faces that are too small or cut off are left out if there are others.

    Returns:
        One, or all.

    Raises:
        ValueError: no face, no such number, a face that is too small or cut off, or pictures that cannot be used.
    """
    missing = None
    if masked:
        missing = transparent_part(photo) if mask is None else missing_part(mask, photo.size)
    colours = opaque_colours(photo) if masked else flatten(photo).convert("RGB")
    is_square = max(photo.size) <= (1 + SQUARE) * min(photo.size) and not always and not isinstance(which, int)
    if small and is_square and max(photo.size) <= SMALL:
        return [whole(colours, missing, SMALL_NOTE)]
    try:
        faces = find_faces(colours, missing=missing)
        return cut_out_faces(colours, missing, faces, which, lambda face: crop_side(face, small, largest))
    except ValueError:
        if is_square and (small or missing is not None):
            return [whole(colours, missing, "No face was found: the picture is used as it is.")]
        raise


def cut_out_faces(
    colours: Image.Image, missing: Image.Image | None, faces: list[Face], which: Which, side_of: Callable[[Face], int]
) -> list[CutOut]:
    """Those of the faces that are asked for, as `cut_out` answers.

    Raises:
        ValueError: none of them can be used.
    """
    faces = faces or [align_face(colours).face]  # filling a gap may hide a face; where there is none, this says so
    cuts, refused = [], []
    for face in choose(faces, which):
        try:
            aligned = align_face(colours, face, side_of(face))
        except ValueError as error:
            refused.append(error)
            continue
        hole = None if missing is None else cut_out_mask(missing, aligned.corners, aligned.image.width)
        cuts.append(CutOut(aligned.image, "", hole, aligned.corners, len(faces)))
    if not cuts:
        raise refused[0]
    note = ""
    if refused:
        note = f"{len(refused)} of the {len(faces)} faces: too small, or cut off at the border. They are left out."
    elif which is None and len(faces) > 1:
        note = f"There are {len(faces)} faces in this photo: the largest one is used."
    return [replace(cuts[0], note=note), *cuts[1:]]


def choose(faces: list[Face], which: Which) -> list[Face]:
    """Some of the faces of a photo, given largest first.

    Raises:
        ValueError: there is no face with this number.
    """
    if which is None:
        return faces[:1]
    from_left = sorted(faces, key=lambda face: float(face.corners[:, 0].mean()))
    if which == "all":
        return from_left
    if not 1 <= which <= len(faces):
        there = "is one face" if len(faces) == 1 else f"are {len(faces)} faces"
        raise ValueError(f"There {there} in this photo; got number {which}, expected 1 to {len(faces)}.")
    return [from_left[which - 1]]


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


def cut_out_mask(missing: Image.Image, corners: Corners, side: int) -> Image.Image:
    """The part of a mask that belongs to a square; outside of the photo nothing is missing."""
    quad = tuple(corners.ravel().tolist())
    return missing.transform((side, side), Image.Transform.QUAD, quad, Image.Resampling.NEAREST)


def put_back(photo: Image.Image, answers: Iterable[Image.Image], cuts: Sequence[CutOut]) -> Image.Image:
    """Put the answers to faces of a photo back where they were cut out, one after the other (see `paste_back`).

    Args:
        photo: that they were cut out of, in the mode of its file.
        answers: for each of `cuts` a square picture, which is needed no longer when the next one is asked for.
        cuts: as `cut_out` answers.

    Raises:
        ValueError: there is no face in one of these places, or there are more answers than places, or fewer.
    """
    for answer, cut in zip(answers, cuts, strict=True):
        photo = paste_back(photo, answer, cut.corners, missing=cut.missing)
    return photo


def check_number(faces: int, cuts: Sequence[CutOut]) -> None:
    """Raise ValueError unless a file has as many faces as were cut out of a photo."""
    if faces != len(cuts):
        raise ValueError(f"There are {faces} faces in this file; expected as many as in the photo, {len(cuts)}.")

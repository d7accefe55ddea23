"""From the file of a photo to the square that a network sees: the largest face, cut out and upright."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from psp_hub.alignment.faces import Face, align_face, find_faces, is_aligned
from psp_hub.demo.faces import Problem
from psp_hub.demo.parts import PAD_SIDE
from psp_hub.images.pictures import ENCODER_SIZE, flatten, open_image

SIDE = 1024  # of faces on the page; crops of small faces have half of it
SMALL = 128  # px: a square picture up to here is taken as it is to be upscaled
SQUARE = 0.1  # how much longer one side of a nearly square picture may be
GAP, BRUSH = "#b8b8c8", "#ff4fd8"  # what is missing, and what is painted over


@dataclass(frozen=True)
class Crop:
    """The square that a network sees.

    Args:
        image: RGB, square, of at most 1024 px where a face was cut out.
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

    @property
    def shown(self) -> Image.Image:
        """As people see it: RGB of SIDE px, a plain colour where it is missing."""
        return self.coloured(GAP, SIDE)

    @property
    def painted(self) -> Image.Image:
        """As the painter shows it: what is missing looks as if it were painted over."""
        return self.coloured(BRUSH, PAD_SIDE)

    def coloured(self, colour: str, side: int) -> Image.Image:
        image = self.image.resize((side, side), Image.Resampling.BICUBIC)
        if self.missing is not None:
            image.paste(colour, mask=self.missing.resize(image.size, Image.Resampling.BILINEAR))
        return image


def read_crop(path: str, task: str, mask_path: str | None = None) -> Crop:
    """Open a photo and cut the largest face out of it.

    Small square pictures to be upscaled, and square pictures with a missing part in which no face is found, are taken
    as they are.

    Args:
        path: picture file.
        task: inversion, super-resolution or inpainting. For the last one, what is transparent is missing.
        mask_path: of a picture of the photo's size, white where something is missing.

    Raises:
        Problem: a file that cannot be used, no face, or one that is too small or cut off.
    """
    try:
        photo = open_image(path, keep_mode=True)
        missing = None
        if task == "inpainting":
            missing = missing_part(photo, mask_path)
            # What is transparent may still have its colours, and a face is found more easily with them.
            photo = photo.convert("RGBA") if photo.has_transparency_data else photo
            photo = photo.convert("RGB") if photo.mode == "RGBA" else flatten(photo).convert("RGB")
        else:
            photo = flatten(photo).convert("RGB")
        return cut_out(photo, task, missing)
    except ValueError as error:
        raise Problem(str(error)) from error


def missing_part(photo: Image.Image, mask_path: str | None) -> Image.Image | None:
    """Mode "L" and 255 where the photo is missing: what is white in the mask, or else transparent in the photo.

    Returns None if there is no mask, and nothing is transparent.

    Raises:
        ValueError: the mask cannot be opened, has another size, or one colour.
    """
    if mask_path is not None:
        mask = open_image(mask_path).convert("L")
        if mask.size != photo.size:
            sizes = "{} x {} pixels, the photo {} x {}".format(*mask.size, *photo.size)
            raise ValueError(f"The mask has {sizes}: the same size is expected.")
        mask = mask.point(lambda value: 255 if value > 127 else 0)
        if len(mask.getcolors()) == 1:
            colour = "white" if mask.getbbox() else "black"
            raise ValueError(f"The mask is {colour} all over: a part of it should be white, to be filled in.")
        return mask
    if not photo.has_transparency_data:
        return None
    missing = photo.convert("RGBA").getchannel("A").point(lambda value: 255 if value < 128 else 0)
    return missing if missing.getbbox() else None


def cut_out(photo: Image.Image, task: str, missing: Image.Image | None) -> Crop:
    """The largest face of an RGB photo, with what is missing of it.

    Raises:
        ValueError: no face, or one that is too small or cut off, where the whole picture cannot be meant.
    """
    is_square = max(photo.size) <= (1 + SQUARE) * min(photo.size)
    if task == "super-resolution" and is_square and max(photo.size) <= SMALL:
        return whole(photo, missing, "The picture is small and square: all of it is used.")
    try:
        faces = find_faces(photo, missing=missing)
        side = crop_side(faces[0], task) if faces else SIDE
        aligned = align_face(photo, faces[0] if faces else None, side)  # without one, it says so
    except ValueError:
        if is_square and (task == "super-resolution" or missing is not None):
            return whole(photo, missing, "No face was found: the picture is used as it is.")
        raise
    note = f"There are {len(faces)} faces in this photo: the largest one is used." if len(faces) > 1 else ""
    if missing is not None:
        missing = cut_out_mask(missing, aligned.face, side, is_aligned(photo, aligned.face))
    return Crop(aligned.image, note, missing)


def crop_side(face: Face, task: str) -> int:
    """In pixels. What is upscaled keeps its size, for that says how much detail there is."""
    if task == "super-resolution":
        return min(SIDE, round(face.side))
    return SIDE if face.side > SIDE // 2 else SIDE // 2


def whole(photo: Image.Image, missing: Image.Image | None, note: str) -> Crop:
    """All of a nearly square picture."""
    side = max(photo.size)
    square = photo.resize((side, side), Image.Resampling.BICUBIC)
    return Crop(square, note, missing and missing.resize((side, side), Image.Resampling.NEAREST))


def cut_out_mask(missing: Image.Image, face: Face, side: int, already: bool) -> Image.Image:
    """The part of a mask that belongs to the crop of a face; outside of the photo nothing is missing."""
    if already:
        return missing.resize((side, side), Image.Resampling.NEAREST)
    corners = tuple(face.corners.ravel().tolist())
    return missing.transform((side, side), Image.Transform.QUAD, corners, Image.Resampling.NEAREST)


def add_painted(missing: Image.Image | None, layers: list[Image.Image], side: int) -> Image.Image | None:
    """What is missing, and what is painted over as well, as `Crop.missing` of `side` px; None if nothing is.

    Args:
        layers: of the painter: transparent where nothing is painted.

    Raises:
        Problem: nothing would be left.
    """
    gone = np.zeros((side, side), bool) if missing is None else np.asarray(missing) > 127
    for layer in layers:
        alpha = layer.convert("RGBA").getchannel("A").resize((side, side), Image.Resampling.BILINEAR)
        gone = gone | (np.asarray(alpha) > 127)
    if gone.all():
        raise Problem("All of the photo is painted over: leave some of it, or there is nothing to go by.")
    return Image.fromarray(gone.astype(np.uint8) * 255) if gone.any() else None


def blend(face: Image.Image, crop: Crop) -> Image.Image:
    """The face where the photo is missing, the photo elsewhere; the edge between them is soft, and lies outside.

    Args:
        face: RGB, of any size; so is the answer.
        crop: with a missing part.
    """
    small = crop.missing.resize((ENCODER_SIZE, ENCODER_SIZE), Image.Resampling.BILINEAR)
    wider = small.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.GaussianBlur(2))  # 1 % of the side
    weight = np.maximum(
        *(np.asarray(mask.resize(face.size, Image.Resampling.BICUBIC)) for mask in (wider, crop.missing))
    )
    photo = crop.image.resize(face.size, Image.Resampling.BICUBIC)
    return Image.composite(face, photo, Image.fromarray(weight))

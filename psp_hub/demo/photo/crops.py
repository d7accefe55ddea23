"""From the file of a photo to the square that a network sees: a face, cut out and upright, or all of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil, isqrt

import numpy as np
from PIL import Image, ImageFilter

from psp_hub.alignment.cut_out import CutOut, Which, cut_out, put_back
from psp_hub.config import ENCODER_SIZE
from psp_hub.demo.parts import PAD_SIDE
from psp_hub.demo.problems import Problem, problems
from psp_hub.images.pictures import open_image
from psp_hub.images.preprocessing import prepare_tensor
from psp_hub.tasks import get_task

SIDE = 1024  # of faces on the page; crops of small faces have half of it
GAP, BRUSH = "#b8b8c8", "#ff4fd8"  # what is missing, and what is painted over


@dataclass(frozen=True)
class Crop(CutOut):
    """The square that a network sees, and how it is shown: where a face was cut out, of at most 1024 px.

    Args:
        path: file of the photo, for a face that is put back into it.
        prepared: what the encoder takes, [1, C, 256, 256]; None until `ready`. An array, for ZeroGPU pickles it.
        others: the other faces of the photo, if all are wanted: this is the first from the left then.
    """

    path: str | None = None
    prepared: np.ndarray | None = None
    others: tuple["Crop", ...] = ()

    @property
    def all(self) -> list["Crop"]:
        """This one, and the others."""
        return [self, *self.others]

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


def read_crop(path: str, task: str, mask_path: str | None = None, face: Which = None) -> Crop:
    """Open a photo and cut a face out of it, or all of them (see `psp_hub.alignment.cut_out`).

    Args:
        path: picture file.
        task: one of `psp_hub.demo.page.PHOTO_TASKS`. For inpainting, what is transparent is missing.
        mask_path: of a picture that says what is missing (see `psp_hub.images.masks.missing_part`).
        face: its number from the left; None is the largest, and with "all" the others come with the first.

    Raises:
        Problem: a file that cannot be used, no face, or one that is too small or cut off.
    """
    spec = get_task(task)
    with problems():
        photo = open_image(path, keep_mode=True)
        mask = None if mask_path is None else open_image(mask_path, keep_mode=True)
        small, masked = spec.shown == "small", spec.shown == "known"
        cuts = cut_out(photo, small=small, masked=masked, mask=mask, largest=SIDE, which=face)
    crops = [Crop(cut.image, cut.note, cut.missing, cut.corners, cut.faces, path) for cut in cuts]
    if not masked or crops[0].missing is not None:  # else what is missing is still to be painted
        crops = [ready(crop, task) for crop in crops]
    return replace(crops[0], others=tuple(crops[1:]))


def ready(crop: Crop, task: str) -> Crop:
    """The crop, prepared for the encoder of a task: once, before a button is pressed."""
    return replace(crop, prepared=prepare_tensor(crop.seen, get_task(task).input_kind).numpy())


def side_by_side(crops: list[Crop], side: int) -> Image.Image:
    """Crops as people see them, in rows, in a picture of this width at most."""
    columns = isqrt(len(crops) - 1) + 1
    cell = side // columns
    sheet = Image.new("RGB", (cell * columns, cell * ceil(len(crops) / columns)), "white")
    for i, crop in enumerate(crops):
        sheet.paste(crop.coloured(GAP, cell), (cell * (i % columns), cell * (i // columns)))
    return sheet


def in_photo(faces: Iterable[Image.Image], crop: Crop) -> Image.Image:
    """The photo that a crop comes from, with these faces in it.

    Args:
        faces: one for each of `crop.all`.

    Raises:
        ValueError: no face is seen there, or the file is gone.
    """
    if crop.path is None:
        raise ValueError("There is no photo that this face could be put back into: upload it first.")
    photo = open_image(crop.path, keep_mode=True)
    return put_back(photo, faces, crop.all)


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
    if crop.missing is None:
        return face
    small = crop.missing.resize((ENCODER_SIZE, ENCODER_SIZE), Image.Resampling.BILINEAR)
    wider = small.filter(ImageFilter.MaxFilter(9)).filter(ImageFilter.GaussianBlur(2))  # 1 % of the side
    weight = np.maximum(
        *(np.asarray(mask.resize(face.size, Image.Resampling.BICUBIC)) for mask in (wider, crop.missing))
    )
    photo = crop.image.resize(face.size, Image.Resampling.BICUBIC)
    return Image.composite(face, photo, Image.fromarray(weight))

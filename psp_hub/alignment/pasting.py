"""A face that was cut out of a photo, or what a model has made of it, back in its place: `paste_back`.

Only the face itself is taken, where both pictures show one. Hair that was drawn anew ends elsewhere than that of the
photo, and the seam shows; the photo's own hair fits what is around it.
"""

import numpy as np
import torch
from PIL import Image, ImageFilter

from psp_hub.alignment.faces import default_parser, shown_parts
from psp_hub.alignment.ffhq_crop import Corners, picture_corners, warp
from psp_hub.config import ENCODER_SIZE
from psp_hub.face_parser import FaceParser
from psp_hub.images.colours import Convert, to_srgb_and_back
from psp_hub.images.face_classes import CLASS_NAMES
from psp_hub.images.masks import opaque_colours
from psp_hub.images.pictures import flatten, open_image
from psp_hub.images.preprocessing import prepare_tensor

FACE = [
    CLASS_NAMES.index(name)
    for name in ("skin", "nose", "glasses", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip")
]
MODES = ("L", "LA", "RGB", "RGBA")  # of photos that stay as they are
# In pixels of an aligned face of 256 px.
SOFT = 8  # in which the answer fades into the photo
WIDER = 4  # around a gap that is filled in
SMOOTH = 4.0  # differences of colour that are finer than this are strands and pores
LEAST = 0.3  # of the face in the photo: if the answer shows less, it is no face as the parser knows them
NO_FACE = "There is no face in this part of the photo, so none can be put back."

Array = np.ndarray


def paste_back(
    photo: Image.Image,
    answer: Image.Image,
    corners: Corners | None = None,
    *,
    missing: Image.Image | None = None,
    parser: FaceParser | None = None,
) -> Image.Image:
    """Put a face back where it was cut out of its photo.

    Within the part that is a face in both pictures, the answer fades into the photo, and takes over its colours from
    there. All other pixels are those of the photo, bit for bit.

    Example:
        >>> aligned = align_face(photo)
        >>> paste_back(photo, model(aligned.image).images[0], aligned.corners)

    Args:
        photo: as it was given to `align_face`, of any mode and size.
        answer: the face that was cut out, or one that was made of it: square, of any size.
        corners: of the square that was cut out, as in `Aligned.corners`; None for all of the photo.
        missing: mode "L", of the square: 255 where the photo was filled in, and then only that part is taken.
        parser: the one that ships unless given.

    Returns:
        A picture of the photo's size, upright (EXIF), with its transparency and its colour profile, and with its mode
        if that is one of `MODES`; others become RGB, RGBA or L.

    Raises:
        ValueError: pictures that cannot be used, corners of no square in the photo, or no face in it.
    """
    photo, to_photo = editable(open_image(photo, keep_mode=True))
    answer = open_image(answer).convert("RGB")
    corners = picture_corners(photo.size) if corners is None else np.asarray(corners, float)
    box = box_of(corners, photo.size)
    piece, corners = photo.crop(box), corners - box[:2]
    colours = flatten(piece).convert("RGB") if missing is None else opaque_colours(piece)
    seen = np.asarray(warp(colours, corners, ENCODER_SIZE), np.float32)
    made = np.asarray(answer.resize((ENCODER_SIZE, ENCODER_SIZE), Image.Resampling.BOX), np.float32)
    if missing is None:
        mask, border = shared_face(seen, made, parser or default_parser(), open_sides(corners, piece.size))
    else:
        mask, border = filled_part(missing)
    face = put(add_smoothly(answer, spread(seen - made, border)), corners, piece.size)
    weight = put(Image.fromarray((255 * mask).round().astype(np.uint8)), corners, piece.size)
    photo.paste(mix(piece, to_photo(face), weight, missing is not None), box[:2])
    return photo


# The photo


def editable(photo: Image.Image) -> tuple[Image.Image, Convert]:
    """A photo of any mode -> one of `MODES`, and what brings RGB pictures in sRGB to its colours.

    What has one of these modes already is not changed, unless its colours cannot be brought back.
    """
    photo, back = to_srgb_and_back(photo, MODES)
    if photo.mode not in MODES or "transparency" in photo.info:
        photo = photo.convert("RGBA") if photo.has_transparency_data else flatten(photo)
    mode = "L" if photo.mode in ("L", "LA") else "RGB"
    return photo, lambda image: back(image).convert(mode)


def box_of(corners: Corners, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The part of a photo of this size in which a square lies: left, top, right, bottom.

    Raises:
        ValueError: it is no square, or lies elsewhere.
    """
    if corners.shape != (4, 2) or not np.isfinite(corners).all():
        raise ValueError(f"the corners have shape {corners.shape}, expected 4 finite points, [4, 2]")
    low = np.clip(np.floor(corners.min(axis=0)), 0, size).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, size).astype(int)
    across, down = corners[3] - corners[0], corners[1] - corners[0]
    if (high <= low).any() or abs(across[0] * down[1] - across[1] * down[0]) < 1:
        got = ", ".join(f"({x:.0f}, {y:.0f})" for x, y in corners)
        raise ValueError(f"the corners {got} are those of no square in a photo of {size[0]} x {size[1]} pixels")
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def mix(piece: Image.Image, face: Image.Image, weight: Image.Image, fills: bool) -> Image.Image:
    """The face over a piece of the photo, whose transparency stays, or goes where it is filled in."""
    if piece.mode in ("L", "RGB"):
        return Image.composite(face, piece, weight)
    *bands, alpha = piece.split()
    over = Image.composite(face, Image.merge(face.mode, bands), weight)
    if fills:
        alpha = Image.composite(Image.new("L", piece.size, 255), alpha, weight)
    return Image.merge(piece.mode, (*over.split(), alpha))


# Where the answer is seen


@torch.no_grad()
def shared_face(seen: Array, made: Array, parser: FaceParser, fading: tuple[bool, ...]) -> tuple[Array, Array]:
    """Where the answer is seen, and how much each pixel of the border says of the difference of the colours.

    Args:
        seen, made: the square of the photo and the answer, [256, 256, 3], 0 to 255.
        fading: as `open_sides` answers.

    Returns:
        Both [256, 256], 0 to 1.

    Raises:
        ValueError: the photo shows no face.
    """
    pictures = [prepare_tensor(Image.fromarray(one.astype(np.uint8)), "photo") for one in (seen, made)]
    logits = parser(torch.cat(pictures))  # [2, 19, 256, 256]
    if shown_parts(logits[0].argmax(dim=0).numpy()) < 2:  # as of what the detector sees
        raise ValueError(NO_FACE)
    shares = logits.softmax(dim=1)[:, FACE].sum(dim=1)  # [2, 256, 256]
    in_photo, in_both = shares[0].numpy(), shares.amin(dim=0).numpy()
    if in_both.sum() < LEAST * in_photo.sum():  # a painting, or a cartoon
        in_both = in_photo
    sure = np.clip(4 * in_both - 2, 0, 1)
    mask = soften(Image.fromarray((255 * sure).astype(np.uint8)).filter(ImageFilter.MedianFilter(5)), fading)
    return mask, (mask > 0.02) * (mask < 0.9) * in_both**2


def soften(mask: Image.Image, fading: tuple[bool, ...]) -> Array:
    """A mask that falls from 1 to 0 within what it was, and towards the sides of the square that are `fading`."""
    left, top, right, bottom = fading
    wider = np.asarray(mask)
    for axis, sides in enumerate(((top, bottom), (left, right))):
        for i, fades in enumerate(sides):
            width = [(0, 0), (0, 0)]
            width[axis] = (0, 2 * SOFT) if i else (2 * SOFT, 0)
            wider = np.pad(wider, width, mode="constant" if fades else "edge")
    narrow = Image.fromarray(wider).filter(ImageFilter.MinFilter(2 * SOFT + 1))
    soft = narrow.filter(ImageFilter.BoxBlur(SOFT / 2)).filter(ImageFilter.BoxBlur(SOFT / 2))
    return np.asarray(soft, np.float32)[2 * SOFT : -2 * SOFT, 2 * SOFT : -2 * SOFT] / 255


def open_sides(corners: Corners, size: tuple[int, int]) -> tuple[bool, ...]:
    """Which sides of the square lie in the photo, where it goes on: left, top, right, bottom of the upright face."""
    outside = np.stack([corners <= 1, corners >= np.array(size) - 1])  # [2, 4, 2]
    return tuple(not (outside[:, i] & outside[:, j]).any() for i, j in ((0, 1), (0, 3), (2, 3), (1, 2)))


def filled_part(missing: Image.Image) -> tuple[Array, Array]:
    """As `shared_face`, for a gap: all of it is seen, and the soft border lies around it, where the photo is known."""
    gap = missing.convert("L").resize((ENCODER_SIZE, ENCODER_SIZE), Image.Resampling.BILINEAR)
    wider = gap.filter(ImageFilter.MaxFilter(2 * WIDER + 1)).filter(ImageFilter.BoxBlur(WIDER / 2))
    hole = np.asarray(gap) > 0
    mask = np.where(hole, 1, np.asarray(wider, np.float32) / 255)
    return mask, ((mask > 0) & ~hole).astype(np.float32)


# Colours, and the way back


def spread(difference: Array, border: Array) -> Array:
    """What is to be added to the answer, so that its colours are those of the photo at the border, smoothly inside.

    It is nearly the membrane that is held by the border: a mean in which the weights fall as the third power of the
    distance (Farbman, Fattal and Lischinski 2011, "Convolution Pyramids").

    Args:
        difference: [256, 256, 3].
        border: weights, [256, 256]; nothing is added if all are 0.
    """
    side = len(border)
    away = np.minimum(np.arange(2 * side), 2 * side - np.arange(2 * side)).astype(float)
    kernel = np.fft.rfft2((away[:, None] ** 2 + away**2 + SMOOTH**2) ** -1.5)

    def gather(values: Array) -> Array:
        return np.fft.irfft2(np.fft.rfft2(values, (2 * side, 2 * side)) * kernel)[:side, :side]

    total = np.maximum(gather(border), 1e-12)
    return np.stack([gather(border * channel) / total for channel in np.moveaxis(difference, -1, 0)], axis=-1)


def add_smoothly(answer: Image.Image, change: Array) -> Image.Image:
    """A picture, and what is added to it, [256, 256, 3], enlarged."""
    bands = []
    for band, channel in zip(answer.split(), np.moveaxis(change.astype(np.float32), -1, 0), strict=True):
        large = Image.fromarray(np.ascontiguousarray(channel)).resize(answer.size, Image.Resampling.BILINEAR)
        total = np.asarray(band, np.float32) + np.asarray(large)
        bands.append(Image.fromarray(total.round().clip(0, 255).astype(np.uint8)))
    return Image.merge("RGB", bands)


def put(square: Image.Image, corners: Corners, size: tuple[int, int]) -> Image.Image:
    """The way back of `warp`: a square picture where it was in one of this size; black around.

    It is made smaller first, so that no pixel is left out.
    """
    axes = np.stack([corners[3] - corners[0], corners[1] - corners[0]])  # of the square's x and y
    lengths = np.linalg.norm(axes, axis=1).round().astype(int)
    width, height = np.clip(lengths, 1, square.size).tolist()
    square = square.resize((width, height), Image.Resampling.LANCZOS)
    scale = np.linalg.inv(axes) * (width, height)  # [2, 2]: a point of the photo times this is one of the square
    shift = -corners[0] @ scale
    coefficients = (scale[0, 0], scale[1, 0], shift[0], scale[0, 1], scale[1, 1], shift[1])
    resample = Image.Resampling.BILINEAR if square.mode == "L" else Image.Resampling.BICUBIC
    return square.transform(size, Image.Transform.AFFINE, coefficients, resample)

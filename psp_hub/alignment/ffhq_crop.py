"""The square of a photo that FFHQ keeps: where it lies around eyes and mouth, and how it is cut out."""

import numpy as np
from PIL import Image, ImageFilter

# FFHQ's square (Karras et al. 2019, as in the program that made the data set): half its side is EYES times the
# distance of the eyes or MOUTH times that from between the eyes to the mouth, whichever is larger, since eyes seen
# from the side are close together. Its centre lies between the eyes and the mouth, CENTRE of the way down.
# `benchmarks/measure_alignment.py` shows that the faces of CelebAMask-HQ lie in it so.
EYES, MOUTH, CENTRE = 2.0, 1.8, 0.1
SUPERSAMPLING = 2, 4  # samples across a pixel of the answer: as many as it has pixels of the photo, within these
QUICK = 1, 4  # ... for a network to look at, which needs no smoother edges

Corners = np.ndarray  # [4, 2]: upper left, lower left, lower right, upper right of the upright face
Points = np.ndarray  # [3, 2]: left eye, right eye, mouth; left is what is left when the face is upright


def crop_corners(points: Points) -> Corners:
    """The square that FFHQ cuts out around eyes and mouth."""
    left, right, mouth = points
    middle, across = (left + right) / 2, right - left
    down = mouth - middle
    half = max(EYES * np.linalg.norm(across), MOUTH * np.linalg.norm(down))
    x = across + [down[1], -down[0]]  # both say where right is
    x = x * half / max(np.linalg.norm(x), 1e-6)
    y, centre = np.array([-x[1], x[0]]), middle + CENTRE * down
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def picture_corners(size: tuple[int, int]) -> Corners:
    """Those of a whole picture."""
    width, height = size
    return np.array([[0, 0], [0, height], [width, height], [width, 0]], float)


def warp(
    photo: Image.Image, corners: Corners, size: int, supersampling: tuple[int, int] = SUPERSAMPLING
) -> Image.Image:
    """The square with these corners as an upright picture; outside of the photo its reflection, fading into a blur.

    Args:
        photo: RGB.
        size: side of the answer in pixels.
        supersampling: least and most samples across a pixel of the answer.
    """
    side = float(np.linalg.norm(corners[3] - corners[0]))
    shrink = max(1, int(side / (2 * size)))
    margin = 2 * shrink + 2
    low, high = np.floor(corners.min(axis=0)) - margin, np.ceil(corners.max(axis=0)) + margin
    inside = np.clip([low, high], 0, photo.size).astype(int)
    piece = photo.crop((*inside[0], *inside[1]))
    origin, scale = inside[0].astype(float), 1.0
    if shrink > 1:
        piece, scale = piece.reduce(shrink), 1 / shrink
    before = np.ceil((inside[0] - low) * scale).astype(int)
    after = np.ceil((high - inside[1]) * scale).astype(int)
    if before.any() or after.any():
        piece = continue_outside(piece, before, after, 0.3 * side * scale)
        origin -= before / scale
    corners = (corners - origin) * scale
    samples = int(np.clip(np.ceil(side * scale / size), *supersampling))
    across, down = ((corners[i] - corners[0]) / (size * samples) for i in (3, 1))
    coefficients = (across[0], down[0], corners[0, 0], across[1], down[1], corners[0, 1])
    large = (size * samples,) * 2
    return piece.transform(large, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC).reduce(samples)


def continue_outside(piece: Image.Image, before: np.ndarray, after: np.ndarray, reach: float) -> Image.Image:
    """Add pixels to the left and above (`before`) and to the right and below (`after`), as the program of FFHQ does.

    Args:
        reach: px from the border to where nothing is left of the reflection but its blur.
    """
    (left, top), (right, bottom) = before.tolist(), after.tolist()
    array = np.pad(np.asarray(piece), ((top, bottom), (left, right), (0, 0)), mode="reflect")
    height, width = array.shape[:2]
    y, x = np.ogrid[:height, :width]
    away = np.maximum(np.maximum(left - x, x - (width - 1 - right)), np.maximum(top - y, y - (height - 1 - bottom)))
    outside = away > 0  # little of it, as a rule: nothing else is computed
    fade = np.clip(away[outside] / reach, 0, 1)[:, None]  # 0 at the photo, 1 far outside
    reflected = array[outside]  # [n, 3]
    blurred = np.asarray(Image.fromarray(array).filter(ImageFilter.GaussianBlur(reach / 15)))[outside]
    mixed = reflected + (blurred - reflected.astype(np.float32)) * np.clip(3 * fade, 0, 1)
    median = np.median(array[top : height - bottom, left : width - right], axis=(0, 1))
    mixed += (median - mixed) * fade
    array[outside] = mixed.round().clip(0, 255)
    return Image.fromarray(array)

"""Colours as a file means them, by its ICC profile or by the gamma and primaries of a PNG, converted to sRGB."""

import io
import logging
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

logger = logging.getLogger(__name__)

Convert = Callable[[Image.Image], Image.Image]

KEYS = ("icc_profile", "gamma", "chromaticity", "srgb")  # where Pillow keeps them, in `info`
NO_CHANGE = 3  # levels: the many profiles that are called sRGB differ by less
# Of sRGB, as a PNG writes it: x and y of white, red, green, blue.
SRGB_PRIMARIES = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
SRGB_GAMMA = 1 / 2.2
SAME_GAMMA, SAME_PRIMARIES = 0.03, 0.002
GAMMAS = (0.1, 2.0)  # others are mistakes
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50 = np.array([0.9642, 1.0, 0.8249])


def to_srgb(image: Image.Image) -> Image.Image:
    """The same picture in sRGB, and without the profile; where nothing is said of its colours, as it is.

    Palettes are converted, not their numbers; transparency stays. A profile that is broken, or for other kinds of
    colours, is ignored, and the log says so.

    Args:
        image: loaded; of any mode.

    Returns:
        A picture of the same mode (of CMYK with a profile: "RGB"; with a colour that counts as transparent: with an
        alpha channel).
    """
    if not any(key in image.info for key in KEYS):
        return image
    info = {key: value for key, value in image.info.items() if key not in KEYS}
    try:
        converted = convert(image, profile_of(image))
    except (ValueError, OSError) as error:  # PyCMSError is an OSError
        logger.warning("The colour profile of the picture is ignored: %s", error)
        converted = image
    if converted is image:
        converted = image.copy()
    converted.info = info if "transparency" not in info or converted.mode == image.mode else {}
    return converted


def to_srgb_and_back(image: Image.Image, modes: Sequence[str]) -> tuple[Image.Image, Convert]:
    """A picture with its colours, and what brings RGB pictures in sRGB to them.

    A picture that has one of these modes is not changed, apart from the profile that says what a PNG says, if there is
    a way back to its colours; others are converted to sRGB.
    """
    same: Convert = lambda picture: picture  # noqa: E731
    if image.mode not in modes or not any(key in image.info for key in KEYS):
        return to_srgb(image), same
    try:
        profile = profile_of(image)
        is_grey = image.mode in ("L", "LA")
        if profile is None or converter(profile, "L" if is_grey else "RGB") is None:
            return image, same
        if is_grey:
            return to_srgb(image), same
        back = back_converter(profile)
    except (ValueError, OSError):  # to_srgb says why
        return to_srgb(image), same
    image = image.copy()
    image.info = {key: value for key, value in image.info.items() if key not in KEYS} | {"icc_profile": profile}
    return image, back


def profile_of(image: Image.Image) -> bytes | None:
    """The ICC profile of a picture, or one that says what a PNG says; None for sRGB.

    Raises:
        ValueError: numbers that cannot be.
    """
    if profile := image.info.get("icc_profile"):
        return bytes(profile)
    if "srgb" in image.info:
        return None
    gamma = float(image.info.get("gamma", SRGB_GAMMA))
    primaries = tuple(map(float, image.info.get("chromaticity", SRGB_PRIMARIES)))
    same = np.abs(np.subtract(primaries, SRGB_PRIMARIES)).max() < SAME_PRIMARIES
    if same and abs(gamma - SRGB_GAMMA) < SAME_GAMMA:
        return None
    return make_profile(gamma, primaries)


def make_profile(gamma: float, primaries: tuple[float, ...]) -> bytes:
    """A small ICC profile (version 2, matrix and curves) of a PNG's gAMA and cHRM.

    Raises:
        ValueError: a gamma out of range, or primaries that span no colours.
    """
    if not GAMMAS[0] <= gamma <= GAMMAS[1]:
        raise ValueError(f"its gamma is {gamma:g}, expected {GAMMAS[0]} to {GAMMAS[1]}")
    x, y = np.reshape(primaries, (4, 2)).T
    if (y <= 0).any() or abs(np.linalg.det(np.stack([x, y, 1 - x - y])[:, 1:])) < 1e-3:
        raise ValueError(f"its primaries {primaries} span no colours")
    white, *colours = np.stack([x / y, np.ones(4), (1 - x - y) / y], axis=1)  # XYZ of luminance 1
    matrix = np.transpose(colours)
    matrix = matrix * np.linalg.solve(matrix, white)  # so that equal parts of all three are white
    adapted = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ white)) @ BRADFORD @ matrix
    curve = b"curv" + struct.pack(">IIHxx", 0, 1, round(256 / gamma))
    tags = {b"wtpt": xyz(D50), **{name: xyz(adapted[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, data, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    header = struct.pack(">I4sI4s4s4s", start + len(data), b"\0\0\0\0", 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + xyz(D50)[8:]
    return header.ljust(128, b"\0") + table + data


def xyz(colour: np.ndarray) -> bytes:
    """As ICC writes it, s15Fixed16."""
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in colour))


def convert(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert with a profile.

    Raises:
        ValueError, OSError: the profile is broken, or for other kinds of colours.
    """
    if profile is None or image.mode not in ("L", "LA", "P", "PA", "RGB", "RGBA", "CMYK"):
        return image
    if image.mode == "PA" or ("transparency" in image.info and image.mode in ("L", "RGB")):
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    kind = "L" if image.mode in ("L", "LA") else "CMYK" if image.mode == "CMYK" else "RGB"
    change = converter(profile, kind)
    if change is None:
        return image
    if image.mode == "P":
        return convert_palette(image, change)
    if image.mode in ("LA", "RGBA"):
        *bands, alpha = image.split()
        colours = change(Image.merge(kind, bands))
        return Image.merge(image.mode, (*colours.split(), alpha))
    return change(image)


def convert_palette(image: Image.Image, change: Convert) -> Image.Image:
    """The same numbers with other colours."""
    mode = "RGBA" if image.palette is not None and image.palette.mode == "RGBA" else "RGB"
    palette = np.array(image.getpalette(mode), np.uint8).reshape(1, -1, len(mode))
    palette[..., :3] = np.asarray(change(Image.fromarray(np.ascontiguousarray(palette[..., :3]))))
    image = image.copy()
    image.putpalette(palette.tobytes(), mode)
    return image


@lru_cache(maxsize=16)
def converter(profile: bytes, kind: str) -> Convert | None:
    """What converts pictures of mode "L", "RGB" or "CMYK"; None if it would change next to nothing.

    Raises:
        ValueError, OSError: the profile is broken, or for other kinds of colours.
    """
    from PIL import ImageCms  # few pictures need it, and it takes a moment

    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}.get(space, "")
    if mode != kind and (mode, kind) != ("RGB", "L"):  # people turn a picture grey, and its profile stays
        raise ValueError(f"it is for colours of the kind {space}, and the picture is {kind}")
    transform = ImageCms.buildTransform(
        *(source, ImageCms.createProfile("sRGB"), mode, "RGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    change = by(transform)
    if kind == "CMYK":
        return change
    levels = np.arange(256, dtype=np.uint8)[None] if kind == "L" else np.linspace(0, 255, 9).round().astype(np.uint8)
    if kind == "L":
        ramp = Image.fromarray(levels)
        table = np.asarray(change(ramp if mode == "L" else ramp.convert("RGB")).convert("L"))[0]
        if np.abs(table.astype(int) - levels[0]).max() <= NO_CHANGE:
            return None
        return lambda image: image.point(table.tolist())
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    changed = np.asarray(change(Image.fromarray(colours)))
    return None if np.abs(changed.astype(int) - colours).max() <= NO_CHANGE else change


@lru_cache(maxsize=16)
def back_converter(profile: bytes) -> Convert:
    """What brings RGB pictures in sRGB to the colours of an RGB profile.

    Raises:
        ValueError, OSError: the profile is broken, for other kinds of colours, or for one direction only.
    """
    from PIL import ImageCms

    transform = ImageCms.buildTransform(
        *(ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile)), "RGB", "RGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return by(transform)


def by(transform: "ImageCmsTransform") -> Convert:
    """A transform of ImageCms as a function."""
    from PIL import ImageCms

    def change(image: Image.Image) -> Image.Image:
        converted = ImageCms.applyTransform(image, transform)
        assert converted is not None  # noqa: S101 - only with inPlace, which it is not
        return converted

    return change

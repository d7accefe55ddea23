"""Pictures as nobody plans for them: good ones in odd files, damaged ones, and files that are none."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageDraw, ImageOps

from psp_hub.images.label_maps import PALETTE, labels_to_image

SIDE = 192
REFUSED = "refused"  # what has to become of an input that says nothing


@dataclass
class Hostile:
    """One input.

    Args:
        path: a file, folder or name of none.
        kind: of what, for the report.
        expected: `REFUSED`, the picture that it shows (a drawing, or a map of numbers), or None: either will do.
    """

    path: Path
    kind: str
    expected: str | Image.Image | None = None
    options: dict[str, object] = field(default_factory=dict)


def draw_face(rng: np.random.Generator) -> Image.Image:
    """Black lines on white, which fill the frame."""
    image = Image.new("L", (SIDE, SIDE), 255)
    pen = ImageDraw.Draw(image)
    x, y = rng.integers(-6, 7, 2).tolist()
    pen.ellipse((24 + x, 14 + y, 168 + x, 178 + y), outline=0, width=3)
    for side in (64, 108):
        pen.ellipse((side + x, 76 + y, side + 20 + x, 88 + y), outline=0, width=2)
    pen.line([(96 + x, 90 + y), (88 + x, 118 + y), (100 + x, 120 + y)], fill=0, width=2)
    pen.arc((70 + x, 120 + y, 122 + x, 150 + y), 20, 160, fill=0, width=3)
    pen.line([(30 + x, 60 + y), (int(rng.integers(60, 130)), 24 + y), (160 + x, 60 + y)], fill=0, width=3)
    return image


def paint_map(rng: np.random.Generator) -> Image.Image:
    """A map of numbers: hair, skin, eyes, nose, lips, neck on background."""
    x, y = rng.integers(-8, 9, 2).tolist()
    image = Image.new("L", (SIDE, SIDE), 0)
    pen = ImageDraw.Draw(image)
    for number, box in ((13, (28, 10, 164, 170)), (17, (76, 140, 116, 192)), (1, (44, 36, 148, 170))):
        pen.ellipse([value + (x, y)[i % 2] for i, value in enumerate(box)], fill=number)
    for number, box in (
        (4, (62, 80, 82, 92)),
        (5, (110, 80, 130, 92)),
        (2, (88, 92, 104, 118)),
        (11, (76, 130, 116, 137)),
    ):
        pen.rectangle([value + (x, y)[i % 2] for i, value in enumerate(box)], fill=number)
    return image


def paint_photo(rng: np.random.Generator, size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    """Coloured blotches; no face."""
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


# Good pictures in odd files: what they show is known


def ink_on_nothing(drawing: Image.Image, colour: int) -> Image.Image:
    image = Image.new("LA", drawing.size, (colour, 0))
    image.putalpha(ImageOps.invert(drawing))
    return image


def wide(drawing: Image.Image, mode: str) -> Image.Image:
    values = np.asarray(drawing)
    if mode == "F":
        return Image.fromarray(values.astype(np.float32) / 255)
    return Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.int32) * 257)


def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


# Name of the file, and function of (drawing, path) that saves it so that it shows the same.
ODD_DRAWINGS: dict[str, Callable[[Image.Image, Path], None]] = {
    "rgb.png": lambda d, p: d.convert("RGB").save(p),
    "palette.png": lambda d, p: d.convert("P").save(p),
    "palette-few.gif": lambda d, p: d.quantize(16).save(p),
    "opaque.png": lambda d, p: d.convert("RGBA").save(p),
    "black-ink.png": lambda d, p: ink_on_nothing(d, 0).save(p),
    "white-ink.png": lambda d, p: ink_on_nothing(d, 255).save(p),
    "white-ink.webp": lambda d, p: ink_on_nothing(d, 255).convert("RGBA").save(p, lossless=True, exact=True),
    "inverted.png": lambda d, p: ImageOps.invert(d).save(p),
    "wide.png": lambda d, p: wide(d, "I;16").save(p),
    "wide.tif": lambda d, p: wide(d, "I").save(p),
    "float.tif": lambda d, p: wide(d, "F").save(p),
    "cmyk.tif": lambda d, p: d.convert("CMYK").save(p),
    "cmyk.jpg": lambda d, p: d.convert("CMYK").save(p, quality=98),
    "packed.tif": lambda d, p: d.save(p, compression="tiff_deflate"),
    "fine.jpg": lambda d, p: d.save(p, quality=98),
    "progressive.jpeg": lambda d, p: d.convert("RGB").save(p, quality=98, progressive=True),
    "lossless.webp": lambda d, p: d.save(p, lossless=True),
    "plain.bmp": lambda d, p: d.save(p),
    "plain.ppm": lambda d, p: d.convert("RGB").save(p),
    "profile.png": lambda d, p: d.convert("RGB").save(p, icc_profile=profile()),
    "broken-profile.png": lambda d, p: d.convert("RGB").save(p, icc_profile=b"no profile" * 20),
    "turned.jpg": lambda d, p: save_turned(d, p, 6, Image.Transpose.ROTATE_90),
    "mirrored.png": lambda d, p: save_turned(d, p, 2, Image.Transpose.FLIP_LEFT_RIGHT),
    "grey-paper.png": lambda d, p: d.point(lambda v: v * 8 // 10).save(p),
    "animated.gif": lambda d, p: d.save(p, save_all=True, append_images=[ImageOps.invert(d)]),
    "wrong-suffix.png": lambda d, p: d.save(p, "JPEG", quality=98),
    "jpeg.jfif": lambda d, p: d.save(p, "JPEG", quality=98),
}
ODD_MAPS: dict[str, Callable[[Image.Image, Path], None]] = {
    "numbers.png": lambda m, p: m.save(p),
    "numbers.gif": lambda m, p: m.save(p),
    "hidden.png": lambda m, p: Image.merge("LA", (m, Image.new("L", m.size, 0))).save(p),
    "palette.png": lambda m, p: labels_to_image(np.asarray(m)).save(p),
    "colours.png": lambda m, p: labels_to_image(np.asarray(m)).convert("RGB").save(p),
    "colours.bmp": lambda m, p: labels_to_image(np.asarray(m)).convert("RGB").save(p),
    "grey-rgb.png": lambda m, p: m.convert("RGB").save(p),
    "wide.png": lambda m, p: Image.fromarray(np.asarray(m).astype(np.uint16)).save(p),
    "sorted-palette.png": lambda m, p: labels_to_image(np.asarray(m)).convert("RGB").quantize(16).save(p),
    "lossless.webp": lambda m, p: labels_to_image(np.asarray(m)).convert("RGB").save(p, lossless=True),
    "packed.tif": lambda m, p: m.save(p, compression="tiff_lzw"),
    "twice.png": lambda m, p: m.resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST).save(p),
    "seen-through.png": lambda m, p: save_seen_through(m, p),
    "turned.png": lambda m, p: save_turned(m, p, 3, Image.Transpose.ROTATE_180),
}
# What looks like a map and says something else.
FALSE_MAPS: dict[str, Callable[[Image.Image, Path], None]] = {
    "numbers.jpg": lambda m, p: m.save(p, quality=75),
    "one-class.png": lambda m, p: Image.new("L", m.size, 13).save(p),
    "more-classes.png": lambda m, p: m.point(lambda v: v + 40).save(p),
    "one-part.png": lambda m, p: m.point(lambda v: 255 * (v == 1)).save(p),
    "other-colours.png": lambda m, p: other_colours(m).save(p),
}


def save_turned(image: Image.Image, path: Path, orientation: int, turn: Image.Transpose) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.transpose(turn).save(path, exif=exif, **({"quality": 98} if path.suffix == ".jpg" else {}))


def save_seen_through(image: Image.Image, path: Path) -> None:
    """The background is transparent, and of another colour below."""
    colours = labels_to_image(np.asarray(image)).convert("RGBA")
    pixels = np.array(colours)
    pixels[np.asarray(image) == 0] = (200, 180, 10, 0)
    Image.fromarray(pixels).save(path)


def other_colours(image: Image.Image) -> Image.Image:
    shown = image.copy()
    shown.putpalette([(value + 90) % 256 for colour in PALETTE for value in colour[::-1]])
    return shown.convert("RGB")


# Damage


def damage(content: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """A file that was not stored or sent well, and what happened to it."""
    changed = bytearray(content)
    how = ("cut", "flipped", "zeroed", "doubled", "swapped")[rng.integers(5)]
    if how == "cut":
        changed = changed[: int(rng.integers(1, max(2, int(0.9 * len(changed)))))]
    elif how == "flipped":
        for i in rng.integers(0, len(changed), int(rng.integers(1, 30))):
            changed[i] ^= 1 << int(rng.integers(8))
    elif how == "zeroed":
        start = int(rng.integers(0, len(changed)))
        changed[start : start + 400] = bytes(len(changed[start : start + 400]))
    elif how == "doubled":
        changed += changed[len(changed) // 2 :]
    else:
        half = len(changed) // 2
        changed = changed[half:] + changed[:half]
    return how, bytes(changed)


def huge_png(width: int = 60_000, height: int = 60_000) -> bytes:
    """A header that announces a picture larger than any memory."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", size), (b"IDAT", zlib.compress(bytes(10**5))), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


# By the suffix of a format, how its files begin.
BEGINNINGS = dict(
    png=b"\x89PNG\r\n\x1a\n",
    jpg=b"\xff\xd8\xff\xe0\0\x10JFIF\0",
    gif=b"GIF89a\xff\xff\xff\xff\xf7\0\0",
    webp=b"RIFF\xff\xff\xff\xffWEBPVP8 ",
    bmp=b"BM".ljust(32, b"\0"),
    tif=b"II*\0\x08\0\0\0\xff\xff".ljust(40, b"\0"),
)
# Files that are no pictures; each has to be refused.
NO_PICTURES: dict[str, bytes] = {
    "empty.png": b"",
    "page.png": b"<!DOCTYPE html><title>404</title>",
    "words.jpg": b"a drawing of a face",
    "pointer.png": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "vector.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "vector.png": b'<?xml version="1.0"?><svg/>',
    "photo.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
    "photo.png": b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(200),
    "film.jpg": b"\0\0\0\x18ftypisom\0\0\0\0isomavc1" + bytes(200),
    "two-thousand.jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
    "layers.psd": b"8BPS\0\x01" + bytes(100),
    "sheet.pdf": b"%PDF-1.7\n" + bytes(100),
    "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n" + b"(/etc/passwd) run\n",
    **{f"header.{suffix}": beginning for suffix, beginning in BEGINNINGS.items()},
    "huge.png": huge_png(),
    "bomb.png": huge_png(8, 2**31 - 1),
    "archive.png": b"PK\x03\x04" + bytes(60),
    "noise.png": bytes(range(256)) * 20,
}
ODD_NAMES = (
    *("face \u2603.png", "\u202egnp.exe.png", "a\nb.png", "$(id).png", "-o.png", "--task.png", "'\".png", "%s%n.png"),
    *("a" * 200 + ".png", " .png", "..png", "con.png", "\U0001f600.png", "<b>.png", "{x}.png", "a;b.png"),
)
ODD_BYTES = b"\xff\xfe\x80.png"  # a name in no encoding


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def odd_place(folder: Path, rng: np.random.Generator) -> Path:
    """A path that is no file."""
    path = folder / "place.png"
    which = rng.integers(6)
    if which == 0:
        path.mkdir()
    elif which == 1:
        path.symlink_to(folder / "nowhere.png")
    elif which == 2:
        os.mkfifo(path)
    elif which == 3:
        path.symlink_to(path.name)  # to itself
    elif which == 4:
        path.symlink_to("/dev/zero")
    return path

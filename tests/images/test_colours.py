"""Colours are those that the file means: profiles of screens, printers and scanners, and what a PNG says of itself."""

import io
import logging
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from psp_hub.images.colours import SRGB_GAMMA, SRGB_PRIMARIES, make_profile, to_srgb
from psp_hub.images.label_maps import labels_to_image, read_labels
from psp_hub.images.pictures import open_image
from psp_hub.images.preprocessing import masked_to_tensor, prepare_drawing, prepare_masked, prepare_tensor

DISPLAY_P3 = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
ADOBE = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
PROPHOTO = (0.3457, 0.3585, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
PROFILES = {
    "Display P3": make_profile(SRGB_GAMMA, DISPLAY_P3),
    "Adobe RGB": make_profile(1 / 2.2, ADOBE),
    "ProPhoto": make_profile(1 / 1.8, PROPHOTO),
    "linear": make_profile(1.0, SRGB_PRIMARIES),
}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def colours(side: int = 32) -> Image.Image:
    """Colours that every profile can hold."""
    return Image.fromarray(np.random.default_rng(0).integers(40, 200, (side, side, 3), dtype=np.uint8))


def encoded(image: Image.Image, profile: bytes) -> Image.Image:
    """The values that stand for the picture's sRGB colours where this profile holds."""
    there = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), there)


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, int) - np.asarray(b, int)).mean())


def with_chunks(png: Path, chunks: dict[bytes, bytes]) -> Path:
    """The same PNG, with chunks behind its header."""
    data = png.read_bytes()
    added = b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks.items()
    )
    png.write_bytes(data[:33] + added + data[33:])
    return png


def gama(gamma: float) -> bytes:
    return struct.pack(">I", round(gamma * 100_000))


def chrm(primaries: tuple[float, ...]) -> bytes:
    return struct.pack(">8I", *(round(value * 100_000) for value in primaries))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("name", ["photo.png", "photo.tif", "photo.webp", "photo.jpg", "photo.avif"])
def test_an_embedded_profile_counts(tmp_path, profile, name):
    options = {"lossless": True} if name.endswith("webp") else {"quality": 100} if name[-3:] in ("jpg", "vif") else {}
    image = colours().resize((64, 64), Image.Resampling.BICUBIC).resize((256, 256), Image.Resampling.BICUBIC)
    stored = encoded(image, profile)
    read = open_image(saved(tmp_path / name, stored, icc_profile=profile, **options))
    assert difference(stored, image) > 5, "it would be another picture without it"
    assert difference(read, image) < 2
    assert "icc_profile" not in read.info, "and what is saved of it says so no more"
    assert to_srgb(read) is read


def test_transparency_stays(tmp_path):
    image = colours()
    stored = encoded(image, PROFILES["ProPhoto"])
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 16, 32))
    stored.putalpha(alpha)
    kept = open_image(saved(tmp_path / "a.png", stored, icc_profile=PROFILES["ProPhoto"]), keep_mode=True)
    converted = to_srgb(kept)
    assert kept.mode == converted.mode == "RGBA" and converted.getchannel("A") == alpha
    assert difference(converted.convert("RGB"), image) < 1
    tensor = masked_to_tensor(prepare_masked(kept.resize((256, 256), Image.Resampling.NEAREST)))
    expected = np.asarray(image.resize((256, 256), Image.Resampling.NEAREST))[:, 128:]
    assert np.abs((tensor[0, :3, :, 128:].permute(1, 2, 0).numpy() + 1) * 127.5 - expected).mean() < 1


def test_a_palette_is_converted_and_its_numbers_stay(tmp_path):
    image = colours().quantize(64)
    shown = image.convert("RGB")
    stored = image.copy()
    stored.putpalette(encoded(Image.fromarray(np.array(image.getpalette(), np.uint8).reshape(1, -1, 3)),
                              PROFILES["Display P3"]).tobytes())  # fmt: skip
    kept = open_image(saved(tmp_path / "a.png", stored, icc_profile=PROFILES["Display P3"]), keep_mode=True)
    assert kept.mode == "P" and np.array_equal(np.asarray(kept), np.asarray(image))
    converted = to_srgb(kept)
    assert converted.mode == "P" and np.array_equal(np.asarray(converted), np.asarray(image))
    assert difference(converted.convert("RGB"), shown) < 1


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_a_grey_picture_with_the_profile_of_the_coloured_one(tmp_path, mode):
    """So a photo is saved that was turned grey."""
    levels = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    stored = Image.fromarray(levels if mode == "L" else levels.astype(np.uint16) * 257)
    read = open_image(saved(tmp_path / "grey.png", stored, icc_profile=PROFILES["linear"]))
    linear = np.arange(256) / 255
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert read.mode == "L" and np.abs(np.asarray(read)[0] - expected).max() < 2.5


@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 1 / 2.6])
def test_what_a_png_says_of_its_gamma(tmp_path, gamma):
    image = colours()
    stored = encoded(image, make_profile(gamma, SRGB_PRIMARIES))
    path = with_chunks(saved(tmp_path / "a.png", stored), {b"gAMA": gama(gamma)})
    assert difference(open_image(path), image) < 1
    path = with_chunks(saved(tmp_path / "a.png", image), {b"gAMA": gama(gamma), b"sRGB": b"\0"})
    assert open_image(path) == image, "sRGB wins"
    path = with_chunks(saved(tmp_path / "a.png", stored), {b"gAMA": gama(gamma), b"cHRM": chrm(SRGB_PRIMARIES)})
    assert difference(open_image(path), image) < 1


def test_what_a_png_says_of_its_primaries(tmp_path):
    image = colours()
    stored = encoded(image, make_profile(1 / 2.2, ADOBE))
    path = with_chunks(saved(tmp_path / "a.png", stored), {b"gAMA": gama(1 / 2.2), b"cHRM": chrm(ADOBE)})
    assert difference(open_image(path), image) < 1


@pytest.mark.parametrize(
    "chunks", [{}, {b"gAMA": gama(0.45455)}, {b"gAMA": gama(0.45455), b"cHRM": chrm(SRGB_PRIMARIES)}]
)
def test_what_is_srgb_stays_exactly(tmp_path, chunks):
    image = colours()
    assert open_image(with_chunks(saved(tmp_path / "a.png", image), chunks)) == image
    assert open_image(saved(tmp_path / "b.png", image, icc_profile=SRGB)) == image


BROKEN = {
    "no profile": b"what is this",
    "cut off": PROFILES["Display P3"][:200],
    "empty": bytes(500),
    "of a printer": PROFILES["Display P3"].replace(b"RGB ", b"CMYK"),
    "grey": PROFILES["Display P3"].replace(b"RGB ", b"GRAY"),
}


@pytest.mark.parametrize("profile", BROKEN.values(), ids=BROKEN)
def test_a_broken_profile_is_ignored(tmp_path, caplog, profile):
    with caplog.at_level(logging.WARNING, "psp_hub.images.colours"):
        assert open_image(saved(tmp_path / "a.png", colours(), icc_profile=profile)) == colours()
    assert "The colour profile of the picture is ignored" in caplog.text


@pytest.mark.parametrize("chunks", [{b"gAMA": gama(0)}, {b"gAMA": gama(9)}, {b"cHRM": bytes(32)}])
def test_numbers_that_cannot_be_are_ignored(tmp_path, caplog, chunks):
    with caplog.at_level(logging.WARNING, "psp_hub.images.colours"):
        assert open_image(with_chunks(saved(tmp_path / "a.png", colours()), chunks)) == colours()
    assert "is ignored" in caplog.text or b"cHRM" in chunks


def labels() -> np.ndarray:
    numbers = np.zeros((64, 64), np.uint8)
    numbers[8:56, 12:52], numbers[4:20, 8:56], numbers[24:28, 20:28], numbers[44:48, 24:40] = 1, 13, 4, 12
    return numbers


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_label_maps_with_a_profile(tmp_path, profile):
    """In colours that were converted, in colours that were not, and in numbers, which are no colours."""
    image = labels_to_image(labels())
    coloured = image.convert("RGB")
    maps = {"unconverted": coloured, "numbers": Image.fromarray(labels()), "palette": image,
            "three equal": Image.fromarray(labels()).convert("RGB")}  # fmt: skip
    if profile != PROFILES["linear"]:  # there, dark colours are too few levels apart
        maps["converted"] = encoded(coloured, profile)
    for name, stored in maps.items():
        kept = open_image(saved(tmp_path / "map.png", stored, icc_profile=profile), keep_mode=True)
        assert (read_labels(kept) == labels()).all(), name
        assert prepare_tensor(kept, "labels").shape == (1, 19, 256, 256)


def test_a_drawing_keeps_its_tones(tmp_path):
    """What is only grey in linear light would be strengthened beside a half tone."""
    levels = np.full((256, 256), 255, np.uint8)
    levels[20:236, 60:64], levels[20:236, 100:104] = 0, 188
    path = saved(tmp_path / "a.png", encoded(Image.fromarray(levels).convert("RGB"), PROFILES["linear"]).convert("L"),
                 icc_profile=PROFILES["linear"])  # fmt: skip
    prepared = np.asarray(prepare_drawing(open_image(path, keep_mode=True)), int)
    assert np.abs(prepared - levels).max() <= 3

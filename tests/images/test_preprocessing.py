"""Pictures people really hand in: every mode, broken files, faint, grey, inverted and oddly shaped drawings."""

import io
import logging
import os
import struct
import time
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from psp_hub.images.preprocessing import (
    drawings_to_tensor,
    images_to_tensor,
    open_image,
    prepare_drawing,
    prepare_tensor,
    tensor_to_images,
)


def face(width=256, height=256, line=2, ink=0, paper=255) -> Image.Image:
    """A circle with two eyes and a mouth, drawn in the middle at a scale that suits the shorter side."""
    image = Image.new("L", (width, height), paper)
    draw, r = ImageDraw.Draw(image), min(width, height) * 3 // 8
    x, y = width // 2, height // 2
    draw.ellipse((x - r, y - r, x + r, y + r), outline=ink, width=line)
    for side in (-1, 1):
        eye = x + side * r // 3
        draw.ellipse((eye - r // 8, y - r // 3, eye + r // 8, y - r // 6), outline=ink, width=line)
    draw.arc((x - r // 2, y - r // 4, x + r // 2, y + r // 2), 30, 150, fill=ink, width=line)
    return image


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def difference(a: Image.Image, b: Image.Image) -> float:
    return np.abs(pixels(a) - pixels(b)).mean()


def left_transparent(mode: str) -> Image.Image:
    """Black all over, the left half transparent."""
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 10, 20))
    return image.convert(mode)


def saved(tmp_path, image: Image.Image, name="picture.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


# Opening


@pytest.mark.parametrize(("mode", "expected"), [("RGBA", "RGB"), ("LA", "L")])
def test_transparency_becomes_white(tmp_path, mode, expected):
    image = open_image(saved(tmp_path, left_transparent(mode)))
    assert (image.mode, image.size) == (expected, (20, 20))
    assert pixels(image)[:, :10].min() == 255
    assert pixels(image)[:, 10:].max() == 0


def test_palette_with_transparency_becomes_white(tmp_path):
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 200, 30, 40])
    image.paste(0, (0, 0, 10, 20))
    path = saved(tmp_path, image, transparency=0)
    assert Image.open(path).mode == "P"
    image = open_image(path)
    assert image.getpixel((2, 2)) == (255, 255, 255)
    assert image.getpixel((15, 2)) == (200, 30, 40)


def test_sixteen_bit_gradient_is_kept(tmp_path):
    gradient = np.tile(np.linspace(0, 65535, 256).round().astype(np.uint16), (16, 1))
    image = open_image(saved(tmp_path, Image.fromarray(gradient)))
    assert image.mode == "L"
    assert (pixels(image) == np.arange(256)).all()


@pytest.mark.parametrize(("dtype", "low", "high"), [("float32", 0, 1), ("float32", -5, 700), ("int32", 0, 65535)])
def test_wide_greys_fill_8_bit(tmp_path, dtype, low, high):
    gradient = np.tile(np.linspace(low, high, 256).astype(dtype), (16, 1))
    image = open_image(saved(tmp_path, Image.fromarray(gradient), "wide.tif"))
    assert np.abs(pixels(image) - np.arange(256)).max() <= 1


def test_float_picture_in_8_bit_values_is_not_stretched(tmp_path):
    image = open_image(saved(tmp_path, Image.fromarray(np.full((16, 16), 100, np.float32)), "wide.tif"))
    assert image.getextrema() == (100, 100)


def test_cmyk_jpeg(tmp_path):
    red = Image.new("RGB", (32, 32), (200, 30, 40)).convert("CMYK")
    image = open_image(saved(tmp_path, red, "print.jpg", quality=95))
    assert image.mode == "RGB"
    assert np.abs(pixels(image) - (200, 30, 40)).max() < 6


def test_exif_rotation_is_applied(tmp_path):
    image = Image.new("L", (40, 20), 255)
    image.paste(0, (0, 0, 20, 20))  # left half black
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: left comes to the top
    upright = open_image(saved(tmp_path, image, "phone.jpg", exif=exif))
    assert upright.size == (20, 40)
    assert pixels(upright)[:18].max() < 20 and pixels(upright)[22:].min() > 235


@pytest.mark.parametrize("name", ["two.gif", "two.webp", "two.png", "two.tiff", "two.avif"])
def test_first_frame_of_an_animation(tmp_path, name):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    image = open_image(saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:]))
    red, green, blue = image.getpixel((8, 8))
    assert red > 250 and green < 5 and blue < 5


def test_first_picture_of_a_phone_that_saves_two(tmp_path):
    """A JPEG file with more pictures behind the first, such as a map of distances."""
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    path = saved(tmp_path, frames[0], "two.mpo", save_all=True, append_images=frames[1:])
    red, _, blue = open_image(path).getpixel((8, 8))
    assert red > 250 and blue < 5


def test_open_file_and_open_picture(tmp_path):
    path = saved(tmp_path, face())
    with path.open("rb") as file:
        assert open_image(file) == face()
    assert open_image(io.BytesIO(path.read_bytes())) == face()
    assert open_image(Image.open(path)) == face()
    assert open_image(str(path)) == face()


def test_mode_is_kept_on_demand(tmp_path):
    for mode in ("RGBA", "LA"):
        path = saved(tmp_path, left_transparent(mode))
        assert open_image(path, keep_mode=True) == left_transparent(mode)
        assert open_image(left_transparent(mode), keep_mode=True).mode == mode
    exif = Image.Exif()
    exif[0x0112] = 6
    indices = Image.new("P", (40, 20), 3)
    indices.putpalette([value for i in range(4) for value in (i, i, i)])
    upright = open_image(saved(tmp_path, indices, exif=exif), keep_mode=True)
    assert (upright.mode, upright.size, upright.getpixel((5, 5))) == ("P", (20, 40), 3)


# Files that are refused


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"Dear diary, no picture today", "not a picture"), (b"", "empty"), (b"\x89PNG\r\n\x1a\n", "damaged")],
)
def test_file_that_is_no_picture(tmp_path, content, words):
    path = tmp_path / "mine.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"mine.png is .*{words}"):
        open_image(path)


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "cut.webp", "cut.tif", "cut.bmp"])
def test_truncated_file(tmp_path, name):
    path = saved(tmp_path, Image.effect_noise((128, 128), 60), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"{name} is damaged or incomplete"):
        open_image(path)
    if name != "cut.webp":  # Pillow reads WebP files whole when opening
        with pytest.raises(ValueError, match=f"{name} is damaged or incomplete"):
            open_image(Image.open(path))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ValueError, match="no file nowhere.png"):
        open_image(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match=f"{tmp_path.name} is a folder"):
        open_image(tmp_path)


def test_a_pipe_is_refused_rather_than_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "zero.png"):
        with pytest.raises(ValueError, match=f"{name} is no file, but a pipe or a device"):
            open_image(tmp_path / name)


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"IDAT" + b"\x78\x9c"
    parts = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, start)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (10_000, 10_000), (8_001, 8_000)])
def test_huge_picture_is_refused_before_decoding(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=f"bomb.png is too large: {width} x {height} .* 64 million"):
            open_image(path)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("size", [(1, 1), (7, 300)])
def test_tiny_picture_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match=f"too small: {size[0]} x {size[1]}"):
        open_image(saved(tmp_path, Image.new("L", size)))


# Drawings


def test_clean_drawing_is_unchanged():
    drawing = face()
    ImageDraw.Draw(drawing).ellipse((80, 140, 120, 170), fill=225)  # a soft shade
    prepared = prepare_drawing(drawing)
    assert (prepared.mode, prepared.size) == ("L", (256, 256))
    assert np.abs(pixels(prepared) - pixels(drawing)).max() <= 2


def test_white_on_black_is_inverted(caplog):
    caplog.set_level(logging.INFO, "psp_hub.images.line_drawings")
    prepared = prepare_drawing(face(ink=255, paper=0))
    assert difference(prepared, face()) < 1
    assert "inverted" in caplog.text


def test_chalk_on_a_blackboard():
    prepared = prepare_drawing(face(ink=220, paper=60))
    assert difference(prepared, prepare_drawing(face())) < 3


def test_dark_hair_is_not_inverted(caplog):
    caplog.set_level(logging.INFO, "psp_hub.images.line_drawings")
    drawing = face()
    ImageDraw.Draw(drawing).ellipse((30, 20, 226, 215), fill=0)  # hair all around ...
    ImageDraw.Draw(drawing).ellipse((90, 80, 160, 160), fill=255, outline=0)
    assert 0.38 < (pixels(drawing) < 128).mean() < 0.45
    assert difference(prepare_drawing(drawing), drawing) < 0.5
    assert not caplog.text


def shaded(drawing: Image.Image, noise: float = 1.5) -> Image.Image:
    """As photographed: grey paper, lit from the left, with grain."""
    y, x = np.mgrid[0:1:256j, 0:1:256j]
    light = 0.85 - 0.35 * x - 0.1 * y**2
    grain = np.random.default_rng(0).normal(0, noise, (256, 256))
    return Image.fromarray((pixels(drawing) * light + 20 + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("hair", [False, True])
def test_photographed_paper_becomes_white(hair):
    drawing = face()
    if hair:
        ImageDraw.Draw(drawing).pieslice((30, 20, 226, 256), 180, 360, fill=0)
    photo = shaded(drawing)
    prepared, clean = pixels(prepare_drawing(photo)), pixels(drawing)
    assert pixels(photo)[clean == 255].min() < 130
    assert prepared[clean == 255].mean() > 252
    assert np.quantile(prepared[clean == 255], 0.001) > 225
    assert prepared[clean == 0].mean() < 90


def test_photographed_empty_paper_is_empty():
    with pytest.raises(ValueError, match="drawing is empty"):
        prepare_drawing(shaded(Image.new("L", (256, 256), 255), noise=4))


def test_faint_pencil_is_strengthened():
    prepared = pixels(prepare_drawing(face(ink=170, paper=215)))
    assert prepared.max() == 255 and np.median(prepared) == 255
    assert prepared.min() < 80


@pytest.mark.parametrize("ink", [0, 60])
def test_thin_line_on_a_huge_canvas_survives(ink):
    prepared = pixels(prepare_drawing(face(2000, 2000, line=2, ink=ink)))
    along = prepared[128:, 80:176].min(axis=0)  # the lower part of the circle crosses each of these columns
    assert np.median(along) < 100 and along.max() < 200
    assert np.median(prepared) == 255


@pytest.mark.parametrize(("width", "height"), [(900, 300), (300, 900), (257, 64)])
def test_padded_not_stretched(width, height):
    drawing = face(width, height, line=6, paper=230, ink=20)
    ys, xs = np.nonzero(pixels(prepare_drawing(drawing)) < 200)
    round_width, round_height = np.ptp(xs) + 1, np.ptp(ys) + 1
    assert abs(round_width - round_height) <= 3
    assert round_width > 0.7 * 256  # and large: the paper beside it does not count
    assert abs(xs.mean() - 128) < 3 and abs((ys.min() + ys.max()) / 2 - 128) < 3


def test_padding_has_the_colour_of_the_paper():
    assert (pixels(prepare_drawing(face(600, 300, paper=180, line=6)))[[0, 40, 70, 90, 128], 5] == 255).all()


def test_very_long_picture_needs_little_memory():
    image = Image.new("L", (8, 1_000_000), 255)
    image.paste(0, (0, 400_000, 8, 600_000))
    prepared = pixels(prepare_drawing(image))
    assert prepared[128].min() == 0 and prepared[128].max() == 255


@pytest.mark.parametrize("colour", ["white", "black", "grey"])
def test_empty_pad(colour):
    with pytest.raises(ValueError, match="The drawing is empty"):
        prepare_drawing(Image.new("RGB", (300, 200), colour))


def test_stray_dot_is_empty():
    image = Image.new("L", (256, 256), 255)
    image.paste(0, (100, 100, 103, 103))
    with pytest.raises(ValueError, match="The drawing is empty"):
        prepare_drawing(image)


def test_transparent_pad():
    pad = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    pad.paste((0, 0, 0, 255), mask=Image.eval(face(), lambda grey: 255 - grey))
    assert difference(prepare_drawing(pad), face()) < 1


def strokes(colour, under=None) -> Image.Image:
    """The face in strokes of a colour on a transparent ground, whose hidden pixels have the colour `under`."""
    alpha = Image.eval(face(), lambda grey: 255 - grey)
    pad = Image.composite(Image.new("RGB", alpha.size, colour), Image.new("RGB", alpha.size, under or colour), alpha)
    pad.putalpha(alpha)
    return pad


LIGHT_STROKES = {
    "RGBA": (strokes("white"), "pad.png", {}),
    "black under it": (strokes("white", "black"), "pad.png", {}),
    "LA": (strokes("white").convert("LA"), "pad.png", {}),
    "palette": (strokes("white").quantize(16), "pad.png", {}),
    "WebP": (strokes("white"), "pad.webp", {"lossless": True}),
    "lossy WebP": (strokes("white"), "pad.webp", {"quality": 80}),
    "GIF": (strokes("white", "black").convert("P"), "pad.gif", {}),
    "yellow chalk": (strokes((255, 240, 120)), "pad.png", {}),
    "pale blue": (strokes((190, 220, 255), "black"), "pad.png", {}),
}


@pytest.mark.parametrize(("pad", "name", "options"), LIGHT_STROKES.values(), ids=LIGHT_STROKES)
def test_light_strokes_on_a_transparent_ground(tmp_path, pad, name, options):
    prepared = prepare_drawing(open_image(saved(tmp_path, pad, name, **options), keep_mode=True))
    assert difference(prepared, face()) < 4, "the alpha is the drawing"


@pytest.mark.parametrize("colour", ["black", "red", "navy", (120, 120, 120)])
def test_dark_strokes_on_a_transparent_ground(colour):
    assert difference(prepare_drawing(strokes(colour)), face()) < 4


def test_strokes_wiped_out_of_a_sheet():
    sheet = Image.new("RGBA", (256, 256), "white")
    sheet.putalpha(face())
    assert difference(prepare_drawing(sheet), face()) < 4


def test_a_sheet_cut_out_is_no_light_stroke():
    sheet = face().convert("RGBA")
    sheet.putalpha(Image.new("L", sheet.size, 0))
    sheet.paste(face().convert("RGBA"), (0, 0), Image.new("L", sheet.size, 0).point(lambda _: 255))
    cut = Image.new("L", sheet.size, 0)
    ImageDraw.Draw(cut).rectangle((10, 10, 245, 245), fill=255)
    sheet.putalpha(cut)
    assert difference(prepare_drawing(sheet), face()) < 1


def test_a_photo_that_the_alpha_alone_shows(tmp_path, portrait):
    grey = portrait(64, 0).convert("L").point(lambda value: value // 2)
    photo = Image.new("LA", grey.size, 255)
    photo.putalpha(grey)
    assert difference(open_image(saved(tmp_path, photo)), grey) < 1


def test_transparent_all_over_is_a_mistake(portrait):
    for picture in (face().convert("RGB"), portrait(64, 0)):
        hidden = picture.copy()
        hidden.putalpha(0)
        assert difference(open_image(hidden), picture) == 0


def spotlit(drawing: Image.Image) -> Image.Image:
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    return Image.fromarray((pixels(drawing) * (0.35 + 0.6 * np.exp(-3 * (x**2 + y**2)))).astype(np.uint8))


def on_a_table(drawing: Image.Image) -> Image.Image:
    table = Image.new("L", (400, 400), 50)
    table.paste(drawing, (72, 72))
    return table


@pytest.mark.parametrize("photograph", [spotlit, on_a_table])
def test_dark_surroundings_do_not_invert(photograph, caplog):
    caplog.set_level(logging.INFO, "psp_hub.images.line_drawings")
    prepared = pixels(prepare_drawing(photograph(face(line=3))))
    assert prepared[128, 128] > 240
    assert not caplog.text


def test_dark_frame_around_a_drawing_is_not_inverted():
    drawing = face()
    ImageDraw.Draw(drawing).rectangle((0, 0, 255, 255), outline=0, width=6)
    assert difference(prepare_drawing(drawing), drawing) < 1


# Tensors


def test_drawings_to_tensor():
    tensor = drawings_to_tensor([Image.new("L", (4, 3), grey) for grey in (0, 51, 255)])
    assert tensor.shape == (3, 1, 3, 4) and tensor.dtype == torch.float32
    assert tensor[:, 0, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


def test_images_round_trip():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(np.stack([levels, levels[::-1], levels.T], axis=-1))
    tensor = images_to_tensor([image, image])
    assert tensor.shape == (2, 3, 16, 16)
    assert (tensor.min().item(), tensor.max().item()) == (-1, 1)
    assert all(back == image for back in tensor_to_images(tensor))


@pytest.mark.parametrize("centre", [(128, 128), (60, 70), (200, 190)])
def test_small_drawing_is_enlarged_and_centred(centre):
    sheet = Image.new("L", (1024, 1024), 255)
    x, y = (4 * value for value in centre)
    ImageDraw.Draw(sheet).ellipse((x - 120, y - 150, x + 120, y + 150), outline=0, width=8)
    ink = np.asarray(prepare_drawing(sheet)) < 128
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    assert 0.75 * 256 < rows[-1] - rows[0] < 0.9 * 256
    assert (rows[-1] - rows[0]) / (columns[-1] - columns[0]) == pytest.approx(300 / 240, rel=0.05)
    assert abs(rows[0] + rows[-1] - 255) < 8
    assert abs(columns[0] + columns[-1] - 255) < 8


def test_small_drawing_on_a_wide_sheet_is_enlarged():
    sheet = Image.new("L", (1600, 900), 255)
    ImageDraw.Draw(sheet).ellipse((1000, 300, 1200, 560), outline=0, width=8)
    ink = np.asarray(prepare_drawing(sheet)) < 128
    assert np.flatnonzero(ink.any(axis=1)).size > 0.75 * 256


def test_unknown_kind_of_input():
    with pytest.raises(ValueError, match="input_kind is 'sound', expected one of drawing, photo, labels, masked"):
        prepare_tensor(face(), "sound")


def test_photo_is_resized_as_the_original_does():
    levels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    image = Image.fromarray(levels)
    expected = images_to_tensor([image.resize((256, 256), Image.Resampling.BILINEAR)])
    assert torch.equal(prepare_tensor(image, "photo"), expected)
    assert prepare_tensor(image.convert("L"), "photo").shape == (1, 3, 256, 256)

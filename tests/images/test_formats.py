"""Files in formats that are not read are named, not called damaged; HEIC is read where pillow-heif is installed."""

import io
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from psp_hub.images.formats import HEIC_BRANDS, read_header
from psp_hub.images.pictures import open_image


def container(*brands: bytes) -> bytes:
    """The beginning of a file whose first box names these."""
    return (
        struct.pack(">I", 16 + 4 * (len(brands) - 1))
        + b"ftyp"
        + brands[0]
        + bytes(4)
        + b"".join(brands[1:])
        + bytes(99)
    )


def tiff(tags: dict[int, tuple[int, int]], pixels: bytes, byte_order: str = "<") -> bytes:
    """A TIFF of one strip; tags are (type, value)."""
    entries = {**tags, 273: (4, 8 + 2 + 12 * (len(tags) + 2) + 4), 279: (4, len(pixels))}
    table = b"".join(struct.pack(f"{byte_order}HHI", tag, kind, 1) + (
        struct.pack(f"{byte_order}I", value) if kind == 4 else struct.pack(f"{byte_order}HH", value, 0)
    ) for tag, (kind, value) in sorted(entries.items()))  # fmt: skip
    start = b"II*\0" if byte_order == "<" else b"MM\0*"
    return start + struct.pack(f"{byte_order}IH", 8, len(entries)) + table + bytes(4) + pixels


def shape(bits: int, kind: int, bands: int = 1) -> dict[int, tuple[int, int]]:
    return {256: (3, 16), 257: (3, 16), 258: (3, bits), 259: (3, 1), 262: (3, 1 if bands == 1 else 2), 277: (3, bands),
            278: (3, 16), 339: (3, kind)}  # fmt: skip


@pytest.fixture
def no_heif(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed


@pytest.mark.parametrize(
    "brands",
    [(brand,) for brand in sorted(HEIC_BRANDS)]
    + [(b"mif1",), (b"msf1",), (b"mif1", b"heic"), (b"mif1", b"mif1", b"miaf", b"heix"), (b"msf1", b"hevc")],
    ids=lambda brands: b"-".join(brands).decode(),
)
def test_heic_is_named(tmp_path, no_heif, brands):
    (tmp_path / "IMG_0001.HEIC").write_bytes(container(*brands))
    with pytest.raises(ValueError, match="IMG_0001.HEIC is a HEIC photo.*pillow-heif.*JPEG"):
        open_image(tmp_path / "IMG_0001.HEIC")


OTHERS = {
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "JPEG XL": b"\xff\x0a" + bytes(20),
    "a JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n",
    "Photoshop": b"8BPS\0\1",
    "PDF": b"%PDF-1.7",
    "OpenEXR": b"\x76\x2f\x31\x01\2\0\0\0",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "SVG drawing": b'\xef\xbb\xbf<?xml version="1.0"?><svg/>',
    "page of the web": b"<!DOCTYPE html><html>404</html>",
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
    "ZIP": b"PK\3\4" + bytes(30),
    "gzip": b"\x1f\x8b\x08" + bytes(30),
    "QOI": b"qoif" + bytes(30),
    "PostScript": b"\xc5\xd0\xd3\xc6" + bytes(30),
    "video": container(b"isom", b"mp42"),
    "raw photo .CR2": b"II*\0\x10\0\0\0CR\2\0",
    "raw photo .CR3": container(b"crx ", b"isom"),
    "raw photo .RAF": b"FUJIFILMCCD-RAW 0201",
}


@pytest.mark.parametrize(("words", "content"), OTHERS.items(), ids=OTHERS)
def test_other_formats_are_named(tmp_path, words, content):
    (tmp_path / "mine").write_bytes(content)
    with pytest.raises(ValueError, match=f"^mine is .*{words}") as caught:
        open_image(tmp_path / "mine")
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize(
    ("bits", "kind", "bands", "words"),
    [
        (32, 3, 3, "3 x 32 bits .floating-point"),
        (16, 3, 1, "16 bits .floating-point"),
        (64, 3, 1, "64 bits .floating-point"),
        (32, 1, 3, "3 x 32 bits .unsigned"),
    ],
)
def test_kinds_of_pixels_that_are_not_read_are_named(tmp_path, byte_order, bits, kind, bands, words):
    tags = shape(bits, kind, bands)
    path = tmp_path / "render.tif"
    if bands == 3:  # three numbers do not fit into the entry: they lie behind the pixels
        data = tiff(tags, bytes(16 * 16 * bits // 8 * 3), byte_order)
        entry = data.index(struct.pack(f"{byte_order}HHI", 258, 3, 1))
        data = data[:entry] + struct.pack(f"{byte_order}HHII", 258, 3, 3, len(data)) + data[entry + 12 :]
        path.write_bytes(data + struct.pack(f"{byte_order}3H", bits, bits, bits))
    else:
        path.write_bytes(tiff(tags, bytes(16 * 16 * bits // 8), byte_order))
    with pytest.raises(ValueError, match=f"render.tif is a TIFF of {words}.*8 or 16"):
        open_image(path)


def test_32_bit_greys_are_read(tmp_path):
    pixels = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    (tmp_path / "a.tif").write_bytes(tiff(shape(32, 3), pixels.tobytes()))
    assert np.abs(np.asarray(open_image(tmp_path / "a.tif")) - pixels * 255).max() < 1


def test_unsigned_32_bit_greys_are_read(tmp_path):
    """Pillow makes negative numbers of the brighter half."""
    pixels = np.linspace(0, 2**32 - 1, 256).astype(np.uint32).reshape(16, 16)
    (tmp_path / "a.tif").write_bytes(tiff(shape(32, 1), pixels.tobytes()))
    assert np.abs(np.asarray(open_image(tmp_path / "a.tif")) - pixels / (2**32 - 1) * 255).max() < 1


def test_kinds_of_tiff_that_are_not_read_are_named(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(shape(8, 1) | {259: (3, 34887)}, bytes(16 * 16)))
    with pytest.raises(ValueError, match="a.tif is a TIFF with compression 34887"):
        open_image(tmp_path / "a.tif")
    Image.new("YCbCr", (16, 16)).save(tmp_path / "b.tif")
    with pytest.raises(ValueError, match="b.tif is a TIFF of uncompressed YCbCr colours"):
        open_image(tmp_path / "b.tif")


def test_dng_is_no_small_picture(tmp_path):
    """Raw photos are TIFF files that begin with a preview."""
    path = tmp_path / "photo.dng"
    Image.new("RGB", (64, 48), "red").save(path, "TIFF", tiffinfo={50706: b"\1\4\0\0"})
    with pytest.raises(ValueError, match="photo.dng is a raw photo"):
        open_image(path)
    with pytest.raises(ValueError, match="is a raw photo"):
        open_image(io.BytesIO(path.read_bytes()))
    Image.new("RGB", (64, 48), "red").save(tmp_path / "photo.nef", "TIFF")
    with pytest.raises(ValueError, match="photo.nef is a raw photo"):
        open_image(tmp_path / "photo.nef")


def test_a_broken_tiff_is_still_damaged(tmp_path):
    noise = Image.effect_noise((64, 64), 50)
    for picture in (noise, noise.convert("F")):
        picture.save(tmp_path / "a.tif")
        data = (tmp_path / "a.tif").read_bytes()
        (tmp_path / "a.tif").write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match="a.tif is damaged"):
            open_image(tmp_path / "a.tif")


def heic(path, brand: bytes = b"heic"):
    """A photo as phones write it: red above, blue below."""
    pillow_heif = pytest.importorskip("pillow_heif")
    image = Image.new("RGB", (96, 64), "blue")
    image.paste("red", (0, 0, 96, 32))
    try:
        pillow_heif.from_pillow(image).save(path, quality=90)
    except RuntimeError as error:
        pytest.skip(f"pillow-heif cannot write HEIC here: {error}")
    data = path.read_bytes()
    path.write_bytes(data[:8] + brand + data[12:])
    return path


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_heic_is_opened_where_that_is_installed(tmp_path, brand):
    path = heic(tmp_path / "IMG_0001.HEIC", brand)
    for source in (path, io.BytesIO(path.read_bytes())):
        image = open_image(source)
        assert (image.mode, image.size) == ("RGB", (96, 64))
        red, blue = np.asarray(image, int)[8, 48], np.asarray(image, int)[56, 48]
        assert red[0] > 200 and red[2] < 60 and blue[2] > 200 and blue[0] < 60
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match="IMG_0001.HEIC is damaged"):
        open_image(path)


def test_avif_of_the_general_brand_is_avif(tmp_path):
    Image.new("RGB", (32, 32), "red").save(tmp_path / "a.avif")
    data = (tmp_path / "a.avif").read_bytes()
    (tmp_path / "a.avif").write_bytes(data[:8] + b"mif1" + data[12:])
    assert open_image(tmp_path / "a.avif").getpixel((9, 9))[0] > 240


def test_text_is_not_mistaken():
    assert read_header(io.BytesIO(b"Dear diary" + bytes(64)), b"Dear diary" + bytes(54)) is None

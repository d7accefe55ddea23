"""Which format a file has, by its first bytes: what can be read, and a sentence for what cannot."""

from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageFile

# The usual picture files only: readers of rarer formats run other programs (EPS) or are seldom tested.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")
HEADER = 64  # bytes that tell the format
# Of the container that videos and photos of phones share, by the names in its first box.
HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"))
AVIF_BRANDS = frozenset((b"avif", b"avis"))
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
DNG_VERSION, SAMPLE_FORMAT, BITS, COMPRESSION, PHOTOMETRIC = 50706, 339, 258, 259, 262  # tags of TIFF
YCBCR = 6  # the photometric interpretation; without JPEG, in 4:2:0 and other ways, few programs write it

EXPORT = "Save or export it as JPEG or PNG."
# First bytes and where they are, what that is, and what to do.
OTHERS: tuple[tuple[int, bytes, str, str], ...] = (
    (4, b"jP  ", "a JPEG 2000 picture", EXPORT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", EXPORT),
    (0, b"\xff\x0a", "a JPEG XL picture", EXPORT),
    (4, b"JXL ", "a JPEG XL picture", EXPORT),
    (0, b"II\xbc\x01", "a JPEG XR picture", EXPORT),
    (0, b"8BPS", "a Photoshop file", EXPORT),
    (0, b"gimp xcf", "a GIMP file", EXPORT),
    (0, b"%PDF", "a PDF file", EXPORT),
    (0, b"%!PS", "a PostScript file", EXPORT),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture", EXPORT),
    (0, b"#?RADIANCE", "a Radiance picture", EXPORT),
    (0, b"\0\0\1\0", "a Windows icon", EXPORT),
    (0, b"icns", "an icon of macOS", EXPORT),
    (0, b"DDS ", "a DDS texture", EXPORT),
    (0, b"FUJIFILMCCD-RAW", "a raw photo (RAF)", EXPORT),
    (0, b"IIRO", "a raw photo (ORF)", EXPORT),
    (0, b"IIU\0", "a raw photo (RW2)", EXPORT),
    (8, b"CR\2", "a raw photo (CR2)", EXPORT),
    (8, b"crx ", "a raw photo (CR3)", EXPORT),
    (0, b"qoif", "a QOI picture", EXPORT),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript file", EXPORT),
    (0, b"\x1f\x8b", "a gzip file", "Unpack it first."),
    (0, b"PK\3\4", "a ZIP archive", "Unpack it first."),
    (0, b"version https://git-lfs", "a pointer of git-lfs, not the picture", "Fetch it: git lfs pull."),
    (0, b"\x1a\x45\xdf\xa3", "a video", "Save one picture of it as JPEG or PNG."),
    (4, b"ftyp", "a video", "Save one picture of it as JPEG or PNG."),
)
RAW_SUFFIXES = (".nef", ".nrw", ".arw", ".sr2", ".srf", ".cr2", ".cr3", ".dng", ".pef", ".srw", ".3fr", ".iiq", ".rwl")


def picture_suffixes() -> list[str]:
    """Suffixes of the formats that are read here, sorted; with HEIC where `pillow-heif` is installed."""
    usual = [suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS]
    return sorted([*usual, *(HEIC_SUFFIXES if find_spec("pillow_heif") else ())])


def brands(prefix: bytes) -> set[bytes]:
    """What the first box of a HEIC, AVIF or video file names; of other files nothing."""
    if prefix[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(prefix[:4], "big"), len(prefix))
    return {prefix[8:12], *(prefix[i : i + 4] for i in range(16, end - 3, 4))}


def is_heic(prefix: bytes) -> bool:
    """Also of the brands mif1 and msf1, which say only that there are pictures inside."""
    found = brands(prefix)
    general = prefix[8:12] in (b"mif1", b"msf1")
    return bool(found & HEIC_BRANDS or general) and not found & AVIF_BRANDS


def read_header(file: BinaryIO, prefix: bytes) -> ImageFile.ImageFile | None:
    """What `Image.open(file, formats=FORMATS)` does, without two faults of Pillow, as of version 12.

    It raises for a picture of many pixels without telling its sides, and takes a damaged header for an unknown format.
    Once it tells the sides and the damage, that call is enough.

    Returns:
        A picture that is not decoded yet; None if it has none of the `FORMATS`, nor is HEIC that can be read.
    """
    if is_heic(prefix):
        try:
            from pillow_heif import HeifImageFile
        except ImportError:
            return None
        file.seek(0)
        opened: ImageFile.ImageFile = HeifImageFile(file, "")  # type: ignore[no-untyped-call]
        return opened
    Image.init()
    for name, (factory, accepts) in Image.OPEN.items():
        if name in FORMATS and accepts is not None and accepts(prefix[:16]) is True:
            file.seek(0)
            return factory(file, "")
    return None


def explain(prefix: bytes, name: str) -> str | None:
    """Why a file is not read, in a sentence that names its format; None if the format is not known.

    Args:
        prefix: its first `HEADER` bytes, at least.
        name: of the file.
    """
    if is_heic(prefix):
        return (
            f"{name} is a HEIC photo, which this program cannot read without the package pillow-heif "
            "(pip install pillow-heif). Or save or export it as JPEG."
        )
    for start, magic, what, advice in OTHERS:
        if prefix[start : start + len(magic)] == magic:
            return f"{name} is {what}, which this program cannot read. {advice}"
    text = prefix.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<svg", b"<?xml")):
        return f"{name} is an SVG drawing, or other XML, which this program cannot read. {EXPORT}"
    if text.startswith((b"<!doctype html", b"<html")):
        return f"{name} is a page of the web, not a picture. Was it downloaded from the right address?"
    return None


def explain_tiff(image: Image.Image, name: str) -> str | None:
    """The same for the many kinds of TIFF that are opened wrongly, or not at all; None for the usual ones."""
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return None
    if DNG_VERSION in tags or Path(name).suffix.lower() in RAW_SUFFIXES:
        return f"{name} is a raw photo of a camera, of which only a small preview could be read. {EXPORT}"
    return None


def is_unsigned(image: Image.Image) -> bool:
    """Whether a file has unsigned numbers of 32 bits: Pillow takes those of a TIFF for signed ones."""
    tags = getattr(image, "tag_v2", {})
    return image.mode == "I" and tags.get(BITS) == (32,) and tags.get(SAMPLE_FORMAT, (1,)) == (1,)


def explain_broken(file: BinaryIO, name: str) -> str | None:
    """Of a file that cannot be opened though its first bytes looked well: why, if it is not damaged.

    Raw photos of cameras look like TIFF, and TIFF has many kinds of pixels.
    """
    from PIL import TiffImagePlugin

    file.seek(0)
    prefix = file.read(HEADER)
    if prefix[8:11] == b"CR\2":
        return explain(prefix, name)
    file.seek(0)
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
        bits = tuple(tags.get(BITS, (1,)))
        compression, colours = int(tags.get(COMPRESSION, 1)), int(tags.get(PHOTOMETRIC, 0))
        kind = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}.get(
            int(tuple(tags.get(SAMPLE_FORMAT, (1,)))[0]), "unsigned"
        )
    except Exception:  # noqa: BLE001 - a damaged file: whatever was raised, it is reported as that
        return None
    if compression not in TiffImagePlugin.COMPRESSION_INFO:
        return f"{name} is a TIFF with compression {compression}, which this program cannot read. Save it without."
    if colours == YCBCR and compression == 1:
        return f"{name} is a TIFF of uncompressed YCbCr colours, which this program cannot read. Save it as RGB."
    if not bits or (max(bits) <= 16 and kind == "unsigned") or (bits == (32,) and kind != "complex"):
        return None  # these are read
    pixel = " x ".join(map(str, (len(bits), max(bits)))) if len(bits) > 1 else str(bits[0])
    return f"{name} is a TIFF of {pixel} bits ({kind}) a pixel, which this program cannot read. Save it with 8 or 16."

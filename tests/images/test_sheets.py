"""Photos of sheets of paper: tables, shadows, ruled lines, folds, signatures. Each becomes the drawing on it."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from psp_hub.images.line_drawings import prepare_drawing
from psp_hub.images.main_part import main_part
from psp_hub.images.sheet_outline import extreme, find_sheet
from psp_hub.images.sheets import flat_page, remove_rules, small_copy


def face(side: int = 600, line: int = 5) -> Image.Image:
    """A head with eyes, a mouth, and hair on one side, that fills a sheet."""
    image = Image.new("L", (side, side), 255)
    draw, unit = ImageDraw.Draw(image), side / 16
    draw.ellipse((2 * unit, 2 * unit, 14 * unit, 14 * unit), outline=0, width=line)
    draw.pieslice((2 * unit, 2 * unit, 14 * unit, 14 * unit), 200, 280, fill=0)
    for x in (6, 10):
        draw.ellipse(((x - 0.8) * unit, 6.5 * unit, (x + 0.8) * unit, 7.5 * unit), outline=0, width=line)
    draw.arc((5 * unit, 8 * unit, 11 * unit, 12 * unit), 20, 160, fill=0, width=line)
    return image


def on_table(
    sheet: Image.Image, table: Image.Image | int = 90, at: tuple[int, int] = (120, 120), angle: float = 0
) -> Image.Image:
    """As the issue's photo: the paper is grey, too."""
    photo = Image.new("L", (840, 840), table) if isinstance(table, int) else table.copy()
    paper, mask = sheet.point(lambda value: value * 9 // 10), Image.new("L", sheet.size, 255)
    paper, mask = (part.rotate(angle, Image.Resampling.BICUBIC, expand=bool(angle)) for part in (paper, mask))
    photo.paste(paper, at, mask)
    return photo


def wood() -> Image.Image:
    y, x = np.mgrid[:840, :840]
    grain = 85 + 12 * np.sin(y / 11 + 3 * np.sin(x / 60)) + np.random.default_rng(0).normal(0, 5, (840, 840))
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8))


def in_shadow(sheet: Image.Image, depth: float = 0.58) -> Image.Image:
    """A hard edge runs across it, and there is grain."""
    y, x = np.mgrid[: sheet.height, : sheet.width]
    light = np.where(x + 0.4 * y > 0.9 * sheet.width, depth, 0.95) * 255
    light = np.asarray(Image.fromarray(light.astype(np.uint8)).filter(ImageFilter.GaussianBlur(2)), float) / 255
    grain = np.random.default_rng(1).normal(0, 2, light.shape)
    return Image.fromarray((np.asarray(sheet) * light + grain).clip(0, 255).astype(np.uint8))


def ruled(sheet: Image.Image, *, squared: bool = False, grey: int = 175, angle: float = 0) -> Image.Image:
    side = sheet.width
    paper = Image.new("L", (2 * side, 2 * side), 255)
    draw = ImageDraw.Draw(paper)
    for i in range(0, 2 * side, 26):
        draw.line((0, i, 2 * side, i), fill=grey, width=2)
        if squared:
            draw.line((i, 0, i, 2 * side), fill=grey, width=2)
    paper = paper.rotate(angle, Image.Resampling.BICUBIC).crop(
        (side // 2, side // 2, side // 2 + side, side // 2 + side)
    )
    return Image.fromarray(np.minimum(np.asarray(paper), np.asarray(sheet)))


def folded(sheet: Image.Image) -> Image.Image:
    pixels = np.asarray(sheet, float).copy()
    half = sheet.width // 2
    pixels[:, :half] *= 0.97
    pixels[:, half:] *= 0.85
    pixels[:, half - 1 : half + 1] *= 0.85
    return Image.fromarray(pixels.astype(np.uint8))


def with_things(photo: Image.Image, *, cup: int = 0, hand: int = 0, pencil: int = 0) -> Image.Image:
    """Things of these greys beside a sheet, on its corner, and close to its edge."""
    draw = ImageDraw.Draw(photo)
    if cup:
        draw.ellipse((700, 10, 830, 110), fill=cup)
    if hand:
        draw.ellipse((600, 650, 840, 840), fill=hand)
    if pencil:
        draw.line((740, 300, 830, 700), fill=pencil, width=16)
    return photo


def beech() -> Image.Image:
    """Not much darker than the paper."""
    return Image.fromarray(np.random.default_rng(2).normal(186, 5, (840, 840)).clip(0, 255).astype(np.uint8))


PHOTOS = {
    "grey table": on_table(face()),
    "dark table": on_table(face(), 15),
    "light table": on_table(face(), 140),
    "table of wood": on_table(face(), wood()),
    "turned": on_table(face(), 60, (80, 80), 8),
    "turned the other way, on wood": on_table(face(), wood(), (100, 90), -6),
    "turned, on a light table": on_table(face(), beech(), (40, 50), 11),
    "cup on the table": with_things(on_table(face(), 70), cup=225),
    "hand on a corner": with_things(on_table(face(), 70), hand=150),
    "pencil beside it": with_things(on_table(face(), 70), pencil=180),
    "table on the left and right": on_table(face(), Image.new("L", (840, 620), 60), (120, 10)),
    "in the corner of the picture": on_table(face(), 60, (240, 240)),
    "shadow": in_shadow(face()),
    "shadow on the sheet, and a table": on_table(in_shadow(face()), 50),
    "shadow on the sheet, on wood": on_table(in_shadow(face()), wood()),
    "ruled": ruled(face()),
    "squared": ruled(face(), squared=True),
    "squared and turned": ruled(face(), squared=True, angle=2),
    "ruled, on a table": on_table(ruled(face())),
    "fold": folded(face()),
    "fold, on a table": on_table(folded(face()), 40),
}


def ink(image: Image.Image) -> np.ndarray:
    return np.asarray(image) < 160


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
def test_the_drawing_is_what_is_drawn(photo):
    prepared, wanted = prepare_drawing(photo), prepare_drawing(face())
    assert abs(ink(prepared).mean() - ink(wanted).mean()) < 0.012, "neither table nor shadow nor lines became ink"
    near = np.asarray(wanted.filter(ImageFilter.MinFilter(13))) < 160
    assert (ink(prepared) & near).sum() > 0.97 * ink(prepared).sum(), "and it is where it would be on a scan"
    assert np.median(np.asarray(prepared)) >= 250


def test_a_clean_page_is_the_same_object():
    for page in (face(512), Image.new("L", (400, 300), 255), face(300).point(lambda value: 180 if value else 20)):
        assert flat_page(page) is page


NO_SHEETS = {
    "white on black": Image.eval(face(), lambda value: 255 - value),
    "framed": (framed := face()),
    "spot of light": Image.radial_gradient("L").point(lambda value: 255 - value).resize((600, 600)),
    "black hair all around": Image.new("L", (600, 600), 0),
    "shadow": in_shadow(face()),
    "fold": folded(face()),
    "head on a dark ground": Image.new("L", (600, 600), 60),
}
ImageDraw.Draw(NO_SHEETS["head on a dark ground"]).ellipse((140, 70, 460, 520), fill=200)
ImageDraw.Draw(framed).rectangle((0, 0, 599, 599), outline=0, width=14)
ImageDraw.Draw(NO_SHEETS["black hair all around"]).ellipse((150, 100, 450, 560), fill=255)


@pytest.mark.parametrize("page", NO_SHEETS.values(), ids=NO_SHEETS)
def test_what_is_no_sheet_on_a_table(page):
    assert find_sheet(small_copy(page)) is None


def test_corners_of_a_sheet():
    corners = find_sheet(small_copy(on_table(face()))) * 840 / 256
    assert np.abs(corners - [[120, 120], [120, 720], [720, 720], [720, 120]]).max() < 10


def test_strokes_are_no_rules():
    """Hatched hair has straight lines in rows, but they end."""
    page = Image.new("L", (600, 600), 255)
    draw = ImageDraw.Draw(page)
    draw.ellipse((150, 60, 470, 560), outline=0, width=5)
    for i in range(0, 600, 14):
        draw.line((0, i, 200, i), fill=60, width=3)
        draw.line((420, i, 599, i), fill=60, width=3)
    assert remove_rules(page) is page


def test_a_mouth_on_a_line_of_ruled_paper_stays():
    page = Image.new("L", (600, 600), 255)
    ImageDraw.Draw(page).line((200, 416, 400, 416), fill=0, width=3)
    ImageDraw.Draw(page).ellipse((100, 100, 500, 500), outline=0, width=4)
    without = np.asarray(remove_rules(ruled(page)))
    assert without[412:421, 220:380].min(axis=0).max() < 90, "where it lies on the line"
    assert np.quantile(without[412:421, 20:90], 0.02) > 230, "and not where there is nothing else"


def beside(thing: str) -> Image.Image:
    """A small drawing on a large sheet, and something far from it."""
    sheet = Image.new("L", (1000, 1000), 255)
    sheet.paste(face(400, 4), (120, 100))
    draw = ImageDraw.Draw(sheet)
    if thing == "signature":
        for i in range(8):
            draw.arc((800 + 15 * i, 930, 820 + 15 * i, 960), 0, 270, fill=0, width=3)
    elif thing == "holes":
        for y in (300, 800):
            draw.ellipse((945, y, 975, y + 30), fill=60)
    elif thing == "spiral binding":
        for y in range(20, 1000, 70):
            draw.ellipse((20, y, 50, y + 30), fill=60)
    elif thing == "frame":
        draw.rectangle((20, 20, 979, 979), outline=0, width=3)
    elif thing == "date":
        draw.line((850, 40, 950, 40), fill=0, width=4)
    return sheet


@pytest.mark.parametrize("thing", ["signature", "holes", "spiral binding", "frame", "date"])
def test_what_lies_far_from_a_small_drawing(thing):
    alone = np.asarray(prepare_drawing(beside("nothing")), int)
    assert (alone < 160).any(axis=0).sum() > 200
    assert np.abs(np.asarray(prepare_drawing(beside(thing)), int) - alone).mean() < 4


def test_parts_of_a_face_without_an_outline_belong_together():
    """Hair, eyes and a mouth, none of which touch."""
    marks = np.zeros((256, 256), bool)
    marks[30:70, 40:220] = marks[100:106, 80:100] = marks[100:106, 150:170] = marks[150:156, 120:136] = True
    marks[200:206, 95:160] = True
    assert main_part(marks) == (40, 30, 220, 206)
    marks[20:24, 250:254] = True
    assert main_part(marks)[3] == 206
    assert main_part(np.zeros((64, 64), bool)) == (0, 0, 64, 64)


@pytest.mark.parametrize("size", [3, 7, 15])
def test_extremes_are_those_of_pillow(size):
    for shape in ((40, 30), (5, 64), (3, 2)):
        image = Image.fromarray(np.random.default_rng(size).integers(0, 256, shape, dtype=np.uint8))
        for of_two, rank in ((np.maximum, ImageFilter.MaxFilter), (np.minimum, ImageFilter.MinFilter)):
            np.testing.assert_array_equal(extreme(image, size, of_two), image.filter(rank(size)))

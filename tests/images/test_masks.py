"""One rule for masks, asked by the page, the command line and Python."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from psp_hub.images.masks import missing_part, opaque_colours, transparent_part, with_hole

SIZE = (120, 80)
BOX = (30, 20, 70, 60)


def stroke(ink, ground, mode: str = "RGBA", size: tuple[int, int] = SIZE) -> Image.Image:
    image = Image.new(mode, SIZE, ground)
    ImageDraw.Draw(image).rectangle((BOX[0], BOX[1], BOX[2] - 1, BOX[3] - 1), fill=ink)
    return image.resize(size, Image.Resampling.NEAREST)


CLEAR = (0, 0, 0, 0)
MASKS = {
    "white on black": stroke(255, 0, "L"),
    "one bit": stroke(1, 0, "1"),
    "palette": stroke("white", "black", "RGB").convert("P"),
    "16 bits": Image.fromarray(np.asarray(stroke(255, 0, "L")).astype(np.uint16) * 257),
    "light grey on dark grey": stroke(200, 60, "L"),
    "yellow on blue": stroke("yellow", "navy", "RGB"),
    "opaque everywhere": stroke("white", "black"),
    "red on transparency": stroke("red", CLEAR),
    "white on transparency": stroke("white", CLEAR),
    "white on white that is transparent": stroke("white", (255, 255, 255, 0)),
    "black on transparency": stroke("black", (255, 255, 255, 0)),
    "half transparent white everywhere": stroke((255, 255, 255, 100), (0, 0, 0, 100)),
    "grey and alpha": stroke((255, 255), (255, 0), "LA"),
    "palette with a transparent colour": stroke("red", CLEAR).quantize(8),
    "a faint brush": stroke((255, 0, 0, 100), CLEAR),
    "red on black": stroke("red", "black", "RGB"),
    "0 and 1": stroke(1, 0, "L"),
    "half as large": stroke("red", CLEAR, size=(60, 40)),
    "twice as large": stroke(255, 0, "L", size=(240, 160)),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_every_mask_means_the_same(mask):
    expected = np.zeros((80, 120), bool)
    expected[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    missing = missing_part(mask, SIZE)
    assert missing.mode == "L" and missing.size == SIZE
    assert np.array_equal(np.asarray(missing), expected * np.uint8(255))
    holed = with_hole(Image.new("RGB", SIZE, "green"), mask)
    assert np.array_equal(np.asarray(holed)[..., 3] == 0, expected)
    assert (np.asarray(holed)[..., :3] == (0, 128, 0)).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (Image.new("L", SIZE, 0), "The mask is black all over: a part of it should be white"),
        (Image.new("RGB", SIZE, "white"), "The mask is white all over"),
        (Image.new("RGBA", SIZE, "white"), "The mask is white all over"),
        (Image.new("RGBA", SIZE, CLEAR), "The mask is black all over"),
        (stroke("red", "white", "RGB"), "The mask is white all over"),  # and not all but the stroke
        (stroke(3, 2, "L"), "The mask is black all over"),
        (stroke(255, 254, "L"), "The mask is white all over"),
        (Image.new("L", (80, 120), 0), "The mask has 80 x 120 pixels, expected the shape of the photo, 120 x 80"),
        (Image.new("L", (80, 80), 0), "The mask has 80 x 80 pixels"),
    ],
)
def test_masks_that_say_nothing_or_do_not_fit(mask, message):
    with pytest.raises(ValueError, match=message):
        missing_part(mask, SIZE)


def test_what_is_transparent_in_a_photo():
    photo = stroke((9, 200, 9, 0), (250, 10, 10, 255))
    missing = transparent_part(photo)
    assert missing is not None and missing.getbbox() == BOX
    assert transparent_part(photo.convert("RGB")) is None
    assert transparent_part(Image.new("RGBA", SIZE, "red")) is None
    assert opaque_colours(photo).getpixel((40, 40)) == (9, 200, 9), "the colours under it are still there"
    assert with_hole(photo, MASKS["white on black"]).convert("RGB").getpixel((40, 40)) == (255, 255, 255)

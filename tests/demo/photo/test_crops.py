"""psp_hub.demo.photo.crops: from a file to the square that a network sees."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from psp_hub.alignment.cut_out import cut_out
from psp_hub.demo.photo.crops import BRUSH, GAP, blend, read_crop
from psp_hub.demo.photo.handlers import with_painting
from psp_hub.demo.problems import Problem
from tests.photo_faces import CHILD, GAPPED, KINDS, TINY, difference, scene


@pytest.mark.slow
def test_the_largest_face_is_cut_out(tmp_path):
    scene(tmp_path / "photo.png", (400, 440, 120), (220, 60, 200), angle=20)
    crop = read_crop(str(tmp_path / "photo.png"), "inversion")
    assert crop.note == "There are 2 faces in this photo: the largest one is used."
    with Image.open(CHILD) as face:
        middle = (24, 24, 232, 232)
        assert difference(crop.image.resize((256, 256)).crop(middle), face.crop(middle)) < 14
    assert crop.image.size == (512, 512)


@pytest.mark.slow
def test_a_mask_goes_where_the_face_goes(tmp_path):
    photo = scene(tmp_path / "photo.png", (400, 300, 120), angle=-15)
    mask = Image.new("L", photo.size)
    ImageDraw.Draw(mask).ellipse((400, 250, 470, 300), fill=255)
    mask.save(tmp_path / "mask.png")
    photo.paste("#ff00ff", mask=mask)
    photo.save(tmp_path / "photo.png")
    crop = read_crop(str(tmp_path / "photo.png"), "inpainting", str(tmp_path / "mask.png"))
    red, green, blue = np.moveaxis(np.asarray(crop.image, float), -1, 0)
    painted, missing = np.minimum(red, blue) - green > 120, np.asarray(crop.missing) > 127
    assert (painted & missing).sum() > 0.9 * (painted | missing).sum() > 1000


def test_a_small_square_picture_is_upscaled_as_it_is(tmp_path):
    crop = read_crop(str(TINY), "super-resolution")
    assert (crop.image.size, crop.seen.size, crop.shown.size) == ((16, 16), (16, 16), (1024, 1024))
    assert crop.note == "The picture is small and square: all of it is used."


@pytest.mark.slow
def test_no_face(tmp_path):
    with pytest.raises(Problem, match="The face is too small|No face was found"):
        read_crop(str(TINY), "inversion")
    Image.new("RGB", (200, 140), "teal").save(tmp_path / "wall.png")
    with pytest.raises(Problem, match="No face was found"):
        read_crop(str(tmp_path / "wall.png"), "super-resolution")


def test_what_is_no_picture(tmp_path):
    (tmp_path / "face.png").write_text("not a picture")
    for task in KINDS:
        with pytest.raises(Problem, match="face.png is not a picture"):
            read_crop(str(tmp_path / "face.png"), task)


@pytest.mark.slow
def test_what_is_transparent_is_missing():
    crop = read_crop(str(GAPPED), "inpainting")
    with Image.open(GAPPED) as image:
        hole = np.asarray(image.getchannel("A")) == 0
    missing = np.asarray(crop.missing.resize((256, 256), Image.Resampling.NEAREST)) > 0
    assert (hole ^ missing).mean() < 0.01 < hole.mean()
    assert crop.seen.getchannel("A").getpixel((crop.image.width // 2, round(0.47 * crop.image.width))) == 0
    assert crop.shown.getpixel((512, 481)) == tuple(bytes.fromhex(GAP[1:]))
    assert read_crop(str(GAPPED), "inversion").missing is None


def test_a_mask_that_does_not_fit(tmp_path):
    for mask, message in (
        (Image.new("L", (100, 120)), "The mask has 100 x 120 pixels, expected the shape of the photo, 256 x 256"),
        (Image.new("L", (256, 256)), "The mask is black all over"),
        (Image.new("RGB", (256, 256), "white"), "The mask is white all over"),
    ):
        mask.save(tmp_path / "mask.png")
        with pytest.raises(Problem, match=message):
            read_crop(str(CHILD), "inpainting", str(tmp_path / "mask.png"))


@pytest.mark.slow
def test_a_painting_without_a_face_is_taken_whole_where_something_is_missing(gapped):
    noise = Image.effect_noise((300, 310), 60).convert("RGB")
    with pytest.raises(ValueError, match="No face"):
        cut_out(noise, masked=True)
    (crop,) = cut_out(noise, masked=True, mask=gapped.missing.resize(noise.size))
    assert crop.image.size == crop.missing.size == (310, 310) and "used as it is" in crop.note


def test_what_is_painted_over(crop, gapped):
    layer = Image.new("RGBA", (512, 512))
    layer.paste(BRUSH, (320, 320, 512, 512))
    painted = np.asarray(with_painting(crop, {"layers": [layer]}).missing) > 0
    assert painted[40:, 40:].all() and painted.mean() == (24 / 64) ** 2
    both = np.asarray(with_painting(gapped, {"layers": [layer]}).missing) > 0
    assert (both == painted | (np.asarray(gapped.missing) > 0)).all()
    assert with_painting(gapped, None).missing.tobytes() == gapped.missing.tobytes()
    assert gapped.painted.getpixel((160, 220)) == tuple(bytes.fromhex(BRUSH[1:]))
    for empty in (None, {"layers": []}, {"layers": [Image.new("RGBA", (512, 512))]}):
        with pytest.raises(Problem, match="Nothing is painted over yet"):
            with_painting(crop, empty)
    with pytest.raises(Problem, match="All of the photo is painted over"):
        with_painting(crop, {"layers": [Image.new("RGBA", (512, 512), BRUSH)]})


def test_blending_keeps_what_is_known(gapped):
    face = Image.new("RGB", (256, 256), "red")
    mixed, photo = (np.asarray(image, int) for image in (blend(face, gapped), gapped.image.resize(face.size, 3)))
    missing = np.asarray(gapped.missing.resize(face.size, Image.Resampling.NEAREST)) > 0
    inside = (
        missing & np.roll(missing, 4, 0) & np.roll(missing, -4, 0) & np.roll(missing, 4, 1) & np.roll(missing, -4, 1)
    )
    assert (mixed[inside] == (255, 0, 0)).all()
    changed = (np.abs(mixed - photo).max(axis=-1) > 2) & ~missing
    assert 0 < changed.sum() == changed[54:170, 22:170].sum(), "the edge is soft, and narrow"

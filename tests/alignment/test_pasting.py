"""A face back in its photo: where it goes, what stays as it was, and colours that meet at the border."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.measure_alignment import backdrop, paste, similarity
from psp_hub.alignment import align_face, find_faces, paste_back
from psp_hub.alignment.faces import default_parser
from psp_hub.alignment.ffhq_crop import picture_corners, warp
from psp_hub.alignment.pasting import FACE, open_sides, put, soften, spread
from psp_hub.images.colours import make_profile
from psp_hub.images.pictures import flatten, open_image
from psp_hub.model_names import STARTERS

EXAMPLES = STARTERS / "inversion" / "examples"
P3 = make_profile(1 / 2.2, (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06))  # the colours of a phone


def example(name: str) -> Image.Image:
    with Image.open(EXAMPLES / f"{name}.png") as image:
        return image.convert("RGB")


def corners_at(side: float, degrees: float, centre: tuple[float, float]) -> np.ndarray:
    return np.column_stack([picture_corners((256, 256)), np.ones(4)]) @ similarity(side, degrees, centre).T


def scene(*faces: tuple[str, float, float, tuple[float, float]], size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Faces of the examples in front of something: (name, side, degrees, centre) each."""
    picture = backdrop("texture", np.random.default_rng(0), size)
    for name, *place in faces:
        paste(picture, example(name), similarity(*place))
    return picture


def face_in(photo: Image.Image, corners: np.ndarray) -> np.ndarray:
    """Where the parser sees the face of this square, [H, W], and two pixels of 256 around."""
    labels = default_parser().label_map(warp(photo, corners, 256)).numpy()
    face = Image.fromarray(np.isin(labels, FACE).astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(5))
    return np.asarray(put(face, corners, photo.size)) > 0


def details(image: Image.Image) -> np.ndarray:
    return np.asarray(image, float) - np.asarray(image.filter(ImageFilter.GaussianBlur(6)), float)


def changed(photo: Image.Image, answer: Image.Image) -> np.ndarray:
    assert photo.size == answer.size and photo.mode == answer.mode
    different = np.asarray(photo) != np.asarray(answer)
    return different.any(axis=-1) if different.ndim == 3 else different


@pytest.mark.parametrize(
    ("side", "degrees", "centre"),
    [
        (280, -35, (300, 240)),
        pytest.param(300, 0, (320, 240), marks=pytest.mark.slow),
        pytest.param(330, 20, (110, 130), marks=pytest.mark.slow),
    ],
)
def test_a_face_goes_where_it_was_and_the_rest_stays(side, degrees, centre):
    """The last one lies partly outside of the photo."""
    photo, corners = scene(("child", side, degrees, centre)), corners_at(side, degrees, centre)
    cut = warp(photo, corners, 512)
    back = paste_back(photo, cut, corners)
    off = np.abs(np.asarray(back, float) - np.asarray(photo, float))
    assert 0 < off.max() < 20 and off[changed(photo, back)].mean() < 2, "cut out and put back, it is the same"
    other = paste_back(photo, example("woman"), corners)
    different, face = changed(photo, other), face_in(photo, corners)
    assert not (different & ~face).any() and different.sum() > 0.6 * face.sum()
    expected = put(example("woman"), corners, photo.size)
    away = [np.abs(details(one) - details(expected))[different].mean() for one in (other, photo)]
    assert away[0] < 0.5 * away[1], "it is the answer"


@pytest.mark.slow
def test_three_faces_of_a_photo_one_after_the_other():
    photo = scene(
        *(("child", 200, 10, (120, 140)), ("woman", 240, -20, (420, 160)), ("child", 180, 0, (560, 380))),
        size=(700, 520),
    )
    faces = find_faces(photo)
    assert len(faces) == 3
    answer, mask = photo, np.zeros(photo.size[::-1], bool)
    for face in faces:
        cut = align_face(photo, face)
        answer = paste_back(answer, cut.image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), cut.corners)
        mask |= face_in(photo, cut.corners)
    different = changed(photo, answer)
    assert not (different & ~mask).any()
    for x, y in ((120, 160), (420, 180), (560, 395)):
        assert different[y - 10 : y + 10, x - 10 : x + 10].mean() > 0.9


@pytest.mark.slow
def test_an_aligned_photo_is_its_own_square():
    photo = example("woman").resize((300, 300))
    back = paste_back(photo, example("child"))
    different = changed(photo, back)
    assert different.mean() > 0.1 and not (different & ~face_in(photo, picture_corners(photo.size))).any()


def test_no_face_and_no_square():
    noise = backdrop("noise", np.random.default_rng(0), (300, 200))
    with pytest.raises(ValueError, match="There is no face in this part of the photo"):
        paste_back(noise, example("woman"), corners_at(150, 0, (150, 100)))
    for corners, message in (
        (np.zeros((4, 2)), r"the corners \(0, 0\), .* are those of no square in a photo of 300 x 200 pixels"),
        (corners_at(100, 0, (-400, 0)), "no square in a photo"),
        (np.zeros(4), r"shape \(4,\), expected 4 finite points"),
    ):
        with pytest.raises(ValueError, match=message):
            paste_back(noise, example("woman"), corners)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK", "1"])
def test_modes(mode):
    photo, corners = scene(("child", 300, 0, (320, 240))), corners_at(300, 0, (320, 240))
    if mode in ("LA", "RGBA"):
        photo.putalpha(Image.linear_gradient("L").resize(photo.size).point(lambda value: 255 - value // 3))
    photo = photo.convert(mode)
    kept = {"P": "RGB", "CMYK": "RGB", "1": "L"}.get(mode, mode)
    answer = paste_back(photo, example("woman"), corners)
    assert answer.mode == kept and answer.size == photo.size
    different = changed(photo.convert(kept), answer)
    face = face_in(flatten(photo).convert("RGB"), corners)
    assert not (different & ~face).any() and different.sum() > 0.5 * face.sum()
    if "A" in mode:
        assert answer.getchannel("A").tobytes() == photo.getchannel("A").tobytes()


@pytest.mark.slow
def test_a_photo_is_put_upright_and_keeps_its_profile():
    photo, corners = scene(("child", 300, 0, (320, 240))), corners_at(300, 0, (320, 240))
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6  # lies on its side
    photo.transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=exif, icc_profile=P3)
    turned = Image.open(file)
    answer = paste_back(turned, example("woman"), corners)
    different = changed(photo, answer)
    assert different.sum() > 3000 and not (different & ~face_in(photo, corners)).any()
    assert answer.info["icc_profile"] == P3 and answer.getexif().get(0x0112, 1) == 1
    plain = paste_back(open_image(turned), example("woman"), corners)  # in sRGB
    again = np.asarray(open_image(answer), float)
    assert np.abs(again - np.asarray(plain, float)).mean() < 1 < np.abs(np.asarray(answer, float) - again).mean()


def test_only_a_gap_is_filled_in():
    photo, corners = scene(("child", 300, 15, (320, 240))), corners_at(300, 15, (320, 240))
    gap = Image.new("L", (512, 512))
    ImageDraw.Draw(gap).ellipse((150, 200, 330, 290), fill=255)
    hole = put(gap, corners, photo.size)
    photo.putalpha(hole.point(lambda value: 255 - value))
    answer = paste_back(photo, example("woman"), corners, missing=gap)
    assert answer.mode == "RGBA" and answer.getchannel("A").getextrema() == (255, 255)
    wide = Image.new("L", (512, 512))
    ImageDraw.Draw(wide).ellipse((130, 180, 350, 310), fill=255)
    near, there = np.asarray(put(wide, corners, photo.size)) > 0, np.asarray(hole) == 255
    different = changed(photo, answer)
    assert not (different & ~near).any() and different[there].all()


# The parts


@pytest.mark.parametrize(("length", "side", "degrees"), [(400, 150, 35), (1000, 600, -50), (90, 40, 160)])
def test_putting_is_the_way_back_of_cutting(length, side, degrees):
    y, x = np.mgrid[:length, :length] + 0.5
    photo = Image.fromarray((255 * np.stack([x, y, 0 * x], axis=-1) / length).round().astype(np.uint8))
    corners = corners_at(side, degrees, (length / 2, length / 2))
    back = np.asarray(put(warp(photo, corners, 128), corners, photo.size), float)
    inside = np.asarray(put(Image.new("L", (128, 128), 255), corners * 1.0, photo.size)) == 255
    near_middle = np.hypot(x - length / 2, y - length / 2) < 0.45 * side
    assert inside[near_middle].all()
    assert np.abs(back - np.asarray(photo, float))[near_middle].max() < 4


def test_the_border_lies_inside_and_on_open_sides():
    mask = Image.new("L", (256, 256))
    ImageDraw.Draw(mask).rectangle((60, 0, 200, 255), fill=255)
    soft = soften(mask, (True, False, True, True))
    assert not soft[np.asarray(mask) == 0].any() and soft[100, 130] == 1
    assert soft[0, 130] == 1 and soft[255, 130] < 0.2, "it does not fade where the photo ends"
    assert (np.diff(soft[100, 60:80]) >= 0).all()


def test_sides_of_a_square_in_a_photo():
    assert open_sides(picture_corners((100, 80)), (100, 80)) == (False, False, False, False)
    assert open_sides(corners_at(50, 0, (30, 40)), (100, 100)) == (True, True, True, True)
    assert open_sides(corners_at(50, 0, (20, 40)), (100, 100)) == (False, True, True, True)
    assert open_sides(corners_at(50, 90, (20, 40)), (100, 100)) == (True, True, True, False)  # it lies on its side


def test_colours_of_the_border_are_taken_over_smoothly():
    y, x = np.mgrid[:256, :256].astype(np.float32)
    ring = ((np.hypot(x - 128, y - 128) < 80) & (np.hypot(x - 128, y - 128) > 72)).astype(np.float32)
    difference = np.stack([0 * x + 30, x - 128, (x * y) % 7], axis=-1) * ring[..., None]
    change = spread(difference, ring)
    inside = np.hypot(x - 128, y - 128) < 70
    assert np.abs(change[inside][:, 0] - 30).max() < 0.01
    assert np.abs(change[..., 1] - (x - 128))[inside].max() < 20, "nearly the membrane, which is a plane here"
    assert change[inside][:, 2].std() < 0.3, "fine differences are no colour"
    assert not spread(difference, 0 * ring).any()

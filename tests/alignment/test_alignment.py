"""Faces in photos: the geometry on drawn maps and gradients, the rest on faces that the generator draws."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from benchmarks import measure_alignment
from benchmarks.measure_alignment import backdrop, nearest, offsets, paste, similarity
from psp_hub.alignment.faces import (
    TURNS,
    USUAL_POINTS,
    Face,
    align_face,
    fill,
    find_faces,
    is_aligned,
    parsed_points,
    shown_parts,
    turn_back,
)
from psp_hub.alignment.ffhq_crop import crop_corners, warp
from psp_hub.face_parser import FaceParser
from psp_hub.images.face_classes import CLASS_NAMES
from psp_hub.images.label_maps import labels_to_image
from psp_hub.images.preprocessing import tensor_to_images

OWN = np.array([[0, 0], [0, 256], [256, 256], [256, 0]], float)


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """Clockwise about the origin, y pointing down."""
    angle = np.deg2rad(degrees)
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def test_an_aligned_face_is_its_own_square():
    assert np.abs(crop_corners(USUAL_POINTS) - OWN).max() < 3


@pytest.mark.parametrize("degrees", [0, 30, 90, 180, -100])
def test_the_square_moves_with_the_face(degrees):
    moved = turned(USUAL_POINTS * 1.7, degrees) + [40, -12]
    expected = turned(crop_corners(USUAL_POINTS) * 1.7, degrees) + [40, -12]
    np.testing.assert_allclose(crop_corners(moved), expected)


def test_a_face_from_the_side_keeps_its_size():
    """Half the side is 1.8 times the way from the eyes to the mouth when the eyes are close together."""
    corners = crop_corners(np.array([[90.0, 100], [110, 100], [100, 160]]))
    assert np.linalg.norm(corners[3] - corners[0]) == pytest.approx(2 * 1.8 * 60)
    np.testing.assert_allclose(corners.mean(axis=0), [100, 106])  # a tenth of the way down


def gradient(width: int, height: int) -> Image.Image:
    """Red is x, green is y, each from 0 to 255."""
    y, x = np.mgrid[:height, :width] + 0.5
    array = np.stack([255 * x / width, 255 * y / height, np.full_like(x, 128)], axis=-1)
    return Image.fromarray(array.round().astype(np.uint8))


@pytest.mark.parametrize(
    ("length", "side", "degrees"), [(400, 100, 0), (400, 150, 35), (1000, 600, -50), (90, 40, 160)]
)
def test_every_pixel_comes_from_its_place(length, side, degrees):
    photo = gradient(length, length)
    corners = turned((OWN / 256 - 0.5) * side, degrees) + length / 2
    answer = np.asarray(warp(photo, corners, 64), float)
    v, u = (np.mgrid[:64, :64] + 0.5) / 64
    x, y = np.moveaxis(
        corners[0] + u[..., None] * (corners[3] - corners[0]) + v[..., None] * (corners[1] - corners[0]), -1, 0
    )
    assert np.abs(answer[..., 0] - 255 * x / length).max() < 2
    assert np.abs(answer[..., 1] - 255 * y / length).max() < 2


def test_outside_is_a_reflection_that_fades():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (25, 25, 3), np.uint8).repeat(16, 0).repeat(16, 1))
    corners = np.array([[-200.0, 0], [-200, 400], [200, 400], [200, 0]])
    answer = np.asarray(warp(photo, corners, 400), float)
    inside, outside = answer[:, 200:], answer[:, :200][:, ::-1]
    assert np.abs(inside - np.asarray(photo, float)[:, :200]).mean() < 4
    contrast = [outside[:, i : i + 40].std() for i in (0, 40, 160)]
    assert all(one > other for one, other in pairwise(contrast))
    assert np.abs(outside[:, :6] - inside[:, :6]).mean() < np.abs(outside[:, :6] - inside[:, 40:46]).mean() / 2
    assert np.abs(outside[:, -20:] - np.median(np.asarray(photo), axis=(0, 1))).mean() < 12


@pytest.mark.parametrize("turn", TURNS)
def test_points_of_a_turned_picture_are_turned_back(turn):
    photo = Image.new("L", (50, 30))
    photo.putpixel((42, 7), 255)
    picture = photo if turn is None else photo.transpose(turn)
    (y,), (x,) = np.nonzero(np.asarray(picture))
    assert turn_back(np.array([[x + 0.5, y + 0.5]]), picture.size, turn).tolist() == [[42.5, 7.5]]


def label_map(left: tuple | None, right: tuple | None, mouth: list[tuple] | None) -> np.ndarray:
    """A face with ellipses of 20 x 10 px for eyes and a polygon for the mouth."""
    image = Image.new("L", (256, 256))
    pen = ImageDraw.Draw(image)
    pen.ellipse((60, 40, 196, 240), fill=CLASS_NAMES.index("skin"))
    pen.ellipse((110, 130, 146, 170), fill=CLASS_NAMES.index("nose"))
    for centre, name in ((left, "r_eye"), (right, "l_eye")):
        if centre:
            x, y = centre
            pen.ellipse((x - 10, y - 5, x + 9, y + 4), fill=CLASS_NAMES.index(name))
    if mouth:
        pen.polygon(mouth, fill=CLASS_NAMES.index("u_lip"))
    return np.asarray(image)


def test_points_are_read_from_a_map():
    closed, opened = [(100, 192), (128, 186), (156, 192), (128, 198)], [(100, 192), (128, 186), (156, 192), (128, 230)]
    for mouth in (closed, opened):  # how far it is open does not count
        labels = label_map((95, 120), (160, 126), mouth)
        points, seen = parsed_points(labels, USUAL_POINTS)
        np.testing.assert_allclose(points, [[95, 120], [160, 126], [128.5, 192.5]], atol=4)
        assert seen.all() and shown_parts(labels) == 3


def test_what_a_map_does_not_show_is_where_it_was_expected():
    points, seen = parsed_points(label_map(None, (160, 126), None), USUAL_POINTS)
    np.testing.assert_allclose(points, [USUAL_POINTS[0], [160, 126], USUAL_POINTS[2]], atol=1)
    assert seen.tolist() == [False, True, False]
    assert shown_parts(label_map(None, (160, 126), None)) == 2
    labels = label_map((95, 120), (160, 126), None)
    assert shown_parts(np.where(labels == CLASS_NAMES.index("skin"), 0, labels)) == 0  # eyes and a nose in nothing


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (turned(USUAL_POINTS, 0) * 0.1 + 100, "too small: 25 pixels .* at least 32"),
        (USUAL_POINTS + [-100, 0], "cut off at the border"),
        (USUAL_POINTS + [0, 150], "cut off at the border"),
    ],
)
def test_faces_that_cannot_be_used(points, message):
    face = Face(points, crop_corners(points), 1.0)
    with pytest.raises(ValueError, match=message):
        align_face(Image.new("RGB", (300, 300)), face)


def test_an_aligned_photo_comes_back():
    photo, face = gradient(300, 300), Face(USUAL_POINTS * 300 / 256, crop_corners(USUAL_POINTS) * 300 / 256, 1.0)
    aligned = align_face(photo, face, 300)
    assert np.array_equal(aligned.image, photo) and aligned.faces == 1 and aligned.face is face
    assert is_aligned(photo, face) and not is_aligned(gradient(300, 360), face)
    larger = crop_corners(USUAL_POINTS) * 300 / 256 * 1.15
    assert not is_aligned(photo, Face(face.points, larger, 1.0)) and is_aligned(
        photo, Face(face.points, larger, 1.0, hidden=2)
    )
    assert align_face(photo.convert("L"), face, 64).image.mode == "RGB"
    points = USUAL_POINTS / 8 * 0.98  # read a little too small, in a picture of just the least size
    assert align_face(gradient(32, 32), Face(points, crop_corners(points), 1.0)).image.size == (256, 256)


def test_gaps_are_filled_from_around():
    photo = gradient(120, 120)
    damaged, missing = photo.copy(), Image.new("L", photo.size)
    for box in ((20, 0, 24, 120), (50, 40, 90, 70)):
        damaged.paste((0, 0, 255), box)
        missing.paste(255, box)
    filled, known = np.asarray(fill(damaged, missing), float), np.asarray(missing) == 0
    difference = np.abs(filled - np.asarray(photo, float)).max(axis=-1)
    assert difference[known].max() == 0
    assert difference[:, 20:24].max() < 12 and difference.max() < 60
    with pytest.raises(ValueError, match="10 x 20 pixels, the photo 120 x 120"):
        fill(photo, Image.new("L", (10, 20)))


@pytest.fixture(scope="module")
def drawn(first_start) -> list[Image.Image]:
    """Three faces of the full-size generator, 256 px."""
    generator = first_start.generator
    with torch.no_grad():
        z = torch.randn(3, generator.w_dim, generator=torch.Generator().manual_seed(2))
        w = generator.mapping(z, truncation_psi=0.6)
        images = [generator.synthesis(one[None, None].repeat(1, generator.num_ws, 1)) for one in w]
    return [tensor_to_images(image)[0].resize((256, 256), Image.Resampling.BOX) for image in images]


def scene(faces: list[Image.Image], places: list[np.ndarray], size: tuple[int, int] = (800, 600)) -> Image.Image:
    picture = backdrop("texture", np.random.default_rng(0), size)
    for face, place in zip(faces, places, strict=True):
        paste(picture, face, place)
    return picture


@pytest.mark.slow
def test_drawn_faces_are_found_and_come_out_upright(drawn):
    places = [similarity(250, 20, (200, 250)), similarity(180, -35, (560, 300))]
    photo = scene(drawn[:2], places)
    faces = find_faces(photo)
    assert len(faces) == 2 and faces[0].side > faces[1].side
    for picture, place in zip(drawn[:2], places, strict=True):
        face = nearest(faces, place)
        assert offsets(face.corners, place, USUAL_POINTS).max() < 8
        answer = np.asarray(align_face(photo, face).image, float)[64:192, 64:192]
        original = np.asarray(picture, float)[64:192, 64:192]
        assert np.abs(answer - original).mean() < 0.5 * np.abs(answer[:, ::-1] - original).mean()
    assert align_face(photo).faces == 2 and align_face(photo).face.side == faces[0].side


@pytest.mark.slow
@pytest.mark.parametrize("turn", TURNS[1:])
def test_turned_photos_are_turned_back(drawn, turn):
    place = similarity(300, 0, (400, 300))
    photo = scene(drawn[2:], [place]).transpose(turn).convert("L")  # and grey
    aligned = align_face(photo)
    upright = align_face(scene(drawn[2:], [place]).convert("L"))
    assert np.abs(np.asarray(aligned.image, float) - np.asarray(upright.image, float)).mean() < 8


@pytest.mark.slow
def test_crops_of_any_size_come_back(drawn):
    for size in (64, 256, 1500):
        photo = drawn[0].resize((size, size), Image.Resampling.BICUBIC)
        aligned = align_face(photo)
        assert np.array_equal(aligned.image, photo.resize((256, 256), Image.Resampling.LANCZOS))
    tight = drawn[0].crop((50, 60, 206, 226))  # brows to chin: what is missing is filled
    assert offsets(align_face(tight).face.corners, similarity(256, 0, (78, 68)), USUAL_POINTS).max() < 12


@pytest.mark.slow
def test_a_damaged_crop_comes_back(drawn):
    damaged, missing = drawn[1].copy(), Image.new("L", (256, 256))
    for x in range(10, 256, 30):
        damaged.paste((255, 255, 255), (x, 0, x + 8, 256))
        missing.paste(255, (x, 0, x + 8, 256))
    assert not any(face.score > 0.9 for face in find_faces(damaged))
    (face,) = find_faces(damaged, missing=missing)
    assert face.score > 0.9 and is_aligned(damaged, face)


@pytest.mark.slow
def test_an_aligned_face_needs_no_second_look(drawn):
    blind = FaceParser(16, (16, 16, 16), (1, 1, 1), 16).eval()  # it sees nothing but background
    torch.nn.init.zeros_(blind.classify.weight)
    blind.classify.bias.data = torch.eye(len(CLASS_NAMES))[0]
    (face,) = find_faces(drawn[0], parser=blind)
    assert is_aligned(drawn[0], face) and face.score > 0.9
    assert not find_faces(scene(drawn[:1], [similarity(200, 0, (400, 300))]), parser=blind)
    assert not find_faces(scene(drawn[:1], [similarity(230, 0, (128, 128))], (256, 256)), parser=blind)  # not quite


@pytest.mark.slow
def test_a_second_face_is_not_overlooked_beside_an_aligned_one(drawn):
    photo = drawn[0].resize((768, 768), Image.Resampling.BICUBIC)
    photo.paste(drawn[1].resize((150, 150), Image.Resampling.BICUBIC), (0, 0))
    assert len(find_faces(photo)) == 2


@pytest.mark.slow
def test_a_huge_photo_and_a_small_face(drawn):
    place = similarity(400, 10, (2000, 900))
    photo = Image.new("RGB", (4000, 3000), (90, 120, 60))
    photo.paste(scene(drawn[:1], [similarity(400, 10, (250, 250))], (500, 500)), (1750, 650))
    assert offsets(align_face(photo).face.corners, place, USUAL_POINTS).max() < 8
    with pytest.raises(ValueError, match="too small"):
        align_face(scene(drawn[:1], [similarity(27, 0, (40, 40))], (100, 80)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "gradient", "texture", "black"])
def test_no_face(kind):
    size = (320, 240)
    photo = Image.new("RGB", size) if kind == "black" else backdrop(kind, np.random.default_rng(0), size)
    with pytest.raises(ValueError, match="No face was found"):
        align_face(photo)


@pytest.mark.slow
def test_measuring(drawn, tmp_path):
    parser = FaceParser.from_starter()
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for i, picture in enumerate(drawn[:2]):
        picture.save(tmp_path / "images" / f"{i}.png")
        labels_to_image(parser.label_map(picture)).save(tmp_path / "masks" / f"{i}.png")
    args = ["--faces_dir", str(tmp_path / "images"), "--masks_dir", str(tmp_path / "masks")]
    args += ["--num_backdrops", "1", "--cases", "60 to 400 px, upright", "--output", str(tmp_path / "figures.json")]
    report = measure_alignment.main(measure_alignment.parse_args(args))
    assert np.abs(np.array(report["rule"]["usual points"]) - USUAL_POINTS).max() < 12
    figures = report["60 to 400 px, upright"]
    assert figures["faces"] == 2 and figures["parser"]["found"] == 2 and figures["parser"]["95 % px"] < 10
    assert report["no face"]["shuffled faces"]["pictures"] == 2

"""training.data.stored_sources: what is at one place of a source is there in its target, or the pair is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from psp_hub.images.preprocessing import prepare_drawing
from psp_hub.tasks import TASKS
from training.data.examples import Examples, Photos
from training.data.folders import FolderPictures, find_problems, read_labels, read_photo
from training.data.stored_sources import read_pair, read_source
from training.evaluation.examples import PhotoExamples, SourceMaker


@pytest.fixture
def pair(tmp_path):
    """Function of two pictures and a kind: what `read_pair` makes of them, saved as PNG."""

    def make(target: Image.Image, source: Image.Image, input_kind: str, **options) -> tuple[Tensor, Tensor]:
        folders = []
        for name, picture in (("out", target), ("in", source)):
            (tmp_path / name).mkdir(exist_ok=True)
            picture.save(tmp_path / name / "a.png", **(options if name == "out" else {}))
            folders.append(FolderPictures(tmp_path / name, input_kind))
        return read_pair(*folders, (0, 0), input_kind)

    return make


def frame(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    """A dark rectangle on white."""
    picture = Image.new("L", (width, height), 255)
    ImageDraw.Draw(picture).rectangle(box, outline=0, width=6)
    return picture


def corners(tensor: Tensor) -> np.ndarray:
    """Left, top, right and bottom of what is dark in [C, H, W]."""
    values = tensor.mean(dim=0)
    dark = (values < (values.min() + values.max()) / 2).numpy()
    columns, rows = np.nonzero(dark.any(axis=0))[0], np.nonzero(dark.any(axis=1))[0]
    return np.array([columns[0], rows[0], columns[-1], rows[-1]])


def inside(tensor: Tensor, width: int, height: int) -> Tensor:
    """White but for where the picture itself is: what a photo is continued by is its mirror image."""
    left, top = (round(128 * (1 - side / max(width, height))) for side in (width, height))
    cleared = torch.full_like(tensor, tensor.max())
    cleared[:, top : 256 - top, left : 256 - left] = tensor[:, top : 256 - top, left : 256 - left]
    return cleared


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((200, 250), (20, 20, 180, 230)),  # the drawing was padded, its photo stretched
        ((250, 200), (20, 20, 230, 180)),
        ((400, 400), (150, 150, 250, 250)),  # the drawing was enlarged, its photo not
        ((640, 300), (250, 90, 390, 210)),  # both
        ((256, 256), (30, 30, 225, 225)),
    ],
)
@pytest.mark.parametrize("kind", ["drawing", "photo"])
@pytest.mark.parametrize("scale", [1, 3])
def test_both_have_one_geometry(pair, size, box, kind, scale):
    picture = frame(*size, box)
    target, source = pair(picture.resize((size[0] * scale, size[1] * scale)), picture, kind)
    target = inside(target, *size) if kind == "drawing" else target
    assert np.abs(corners(target) - corners(source)).max() <= 1
    left, top, right, bottom = corners(source)
    if kind == "drawing":  # and nothing is stretched
        stretched = (right - left) / (bottom - top) / ((box[2] - box[0]) / (box[3] - box[1]))
        assert stretched == pytest.approx(1, abs=0.03)


def test_label_maps_and_missing_parts(pair, portrait):
    labels = np.zeros((250, 200), np.uint8)
    labels[40:200, 30:120] = 1
    photo = Image.fromarray(np.where(labels == 1, 0, 255).astype(np.uint8))
    target, classes = pair(photo, Image.fromarray(labels), "labels")
    assert np.abs(corners(target) - corners(1 - classes[None].float())).max() <= 1
    holed = portrait(250).resize((200, 250)).convert("RGBA")
    holed.paste((0, 0, 0, 0), (30, 40, 120, 200))
    target, source = pair(photo, holed, "masked")
    assert np.abs(corners(target) - corners(1 - source[3:])).max() <= 1


def test_a_photo_that_its_camera_turned(pair):
    """Both are turned upright before they are compared."""
    picture = frame(200, 250, (20, 20, 120, 230))
    exif = Image.Exif()
    exif[0x0112] = 6
    target, source = pair(picture.transpose(Image.Transpose.ROTATE_90), picture, "drawing", exif=exif)
    assert np.abs(corners(inside(target, 200, 250)) - corners(source)).max() <= 1


def test_the_photo_of_a_tall_drawing_is_continued(pair, portrait):
    photo = portrait(200, 3).crop((20, 0, 180, 200))
    target, _ = pair(photo, frame(160, 200, (10, 10, 140, 190)), "drawing")
    middle = np.asarray(photo.resize((205, 256), Image.Resampling.BICUBIC), np.float32) / 127.5 - 1
    assert np.abs(target[:, :, 25:230].permute(1, 2, 0).numpy() - middle).max() < 0.02
    assert torch.equal(target[:, :, :25].flip(-1), target[:, :, 25:50])  # its mirror image
    assert torch.equal(target[:, :, 230:], target[:, :, 204:230].flip(-1))


def test_other_proportions_are_refused_by_name(pair, tmp_path):
    with pytest.raises(
        ValueError, match="in/a.png has 256 x 256 pixels, but .*out/a.png has 200 x 250: expected the same"
    ):
        pair(Image.new("RGB", (200, 250)), frame(256, 256, (20, 20, 200, 200)), "drawing")
    pair(frame(101, 125, (9, 9, 90, 90)), frame(200, 250, (20, 20, 180, 180)), "drawing")  # rounding


def test_errors_name_the_picture(pair, tmp_path):
    with pytest.raises(ValueError, match="in/a.png: The drawing is empty"):
        pair(frame(64, 64, (9, 9, 50, 50)), Image.new("L", (64, 64), 255), "drawing")
    for name in ("in", "out"):
        frame(64, 64, (9, 9, 50, 50)).save(tmp_path / name / "a.png")
    (tmp_path / "out/a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="out/a.png: a.png is empty"):
        read_pair(FolderPictures(tmp_path / "out"), FolderPictures(tmp_path / "in"), (0, 0), "drawing")


def test_how_sources_are_read(tmp_path, portrait):
    portrait(300).save(tmp_path / "a.png")
    assert read_source(tmp_path / "a.png", "drawing").shape == (1, 256, 256)
    assert torch.equal(read_source(tmp_path / "a.png", "photo"), read_photo(tmp_path / "a.png")) is False
    assert read_source(tmp_path / "a.png", "photo").shape == (3, 256, 256)
    masked = portrait(300).convert("RGBA")
    masked.paste((0, 0, 0, 0), (0, 0, 300, 150))
    masked.save(tmp_path / "c.png")
    source = read_source(tmp_path / "c.png", "masked")  # as `training.data.sources` makes them
    assert source.shape == (4, 256, 256) and source[3].mean().item() == pytest.approx(0.5, abs=0.01)
    assert (source[:3, source[3] == 1] == 0).all()
    Image.fromarray(np.arange(64, dtype=np.uint8)[None].repeat(64, 0) // 4).save(tmp_path / "b.png")
    assert torch.equal(read_source(tmp_path / "b.png", "labels"), read_labels(tmp_path / "b.png"))
    Image.new("L", (64, 64), 255).save(tmp_path / "d.png")
    empty = find_problems(lambda i: read_source(tmp_path / "d.png", "drawing"), [0], "drawings")
    assert "The drawing is empty" in empty[0]


def test_training_and_evaluation_read_pairs_alike(tmp_path):
    """And a drawing alone, as people bring it, is enlarged."""
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
        for i in range(2):
            frame(400, 500, (150 + 9 * i, 200, 250, 330)).save(tmp_path / name / f"{i}.png")
    sources, targets = FolderPictures(tmp_path / "in"), FolderPictures(tmp_path / "out")
    data = Examples([Photos(targets, [(0, 0), (1, 1)], sources, "drawing")], TASKS["sketch"], 0, 32)
    measured = list(PhotoExamples(tmp_path / "out", 0, SourceMaker(TASKS["sketch"], 0), tmp_path / "in"))
    for i in range(2):
        assert torch.equal(data[0, i]["input"], measured[i].input)
        assert torch.equal(data[0, i]["image"], measured[i].image)
        assert np.abs(corners(inside(data[0, i]["image"], 400, 500)) - corners(data[0, i]["input"])).max() <= 1
    alone = torch.from_numpy(np.array(prepare_drawing(Image.open(Path(tmp_path / "in/0.png")))))[None].float()
    assert np.ptp(corners(alone)[[1, 3]]) > 2 * np.ptp(corners(data[0, 0]["input"])[[1, 3]])

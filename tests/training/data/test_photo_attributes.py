"""training.data.photo_attributes: what is known of photos reaches their examples, and no others."""

import json

import pytest
import torch

from psp_hub.tasks import TASKS
from training.data.examples import Examples, Photos
from training.data.folders import FolderPictures
from training.data.photo_attributes import read_photo_attributes
from training.strokes import ATTRIBUTES

WOMAN, SMILE = ATTRIBUTES.index("woman"), ATTRIBUTES.index("smile")


@pytest.fixture
def photos(faces_dir):
    pictures = FolderPictures(faces_dir)
    return Photos(pictures, [(i, i) for i in range(len(pictures))], repeats=2)


@pytest.fixture
def write(tmp_path):
    def lines(*rows: object):
        path = tmp_path / "attributes.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return lines


def test_what_photos_show(photos, write):
    names = [path.stem for path in photos.targets.paths]
    path = write({"name": names[2], "woman": 1, "smile": 0}, {"name": names[0], "smile": 1})
    photos.said = read_photo_attributes(path, photos)
    examples = Examples([photos], TASKS["sketch"], 0, 32)
    examples.says_attributes = True
    for first in (0, len(names)):  # each time that they are there
        said = [examples[0, first + i]["said"] for i in range(3)]
        assert said[2][[WOMAN, SMILE]].tolist() == [1, 0] and (~said[2].isnan()).sum() == 2
        assert said[0][SMILE] == 1 and said[0][WOMAN].isnan() and said[1].isnan().all()
    assert not examples[0, 2]["is_symbols"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"name": "nobody", "woman": 1}], "names 1 photos that .* has not: nobody"),
        ([{"name": "a", "halo": 1}], r"unknown attributes \['halo'\], expected glasses, "),
        ([{"name": "a", "woman": 2}], "a has the value 2, expected 0 or 1"),
        ([{"woman": 1}], "is not a file of attributes: KeyError"),
        ([7], "is not a file of attributes: AttributeError"),
    ],
)
def test_bad_files(photos, write, rows, message):
    with pytest.raises(ValueError, match=message):
        read_photo_attributes(write(*rows), photos)


def test_not_a_folder(photos, write, tmp_path):
    with pytest.raises(ValueError, match="is not a file of attributes: FileNotFoundError"):
        read_photo_attributes(tmp_path / "none.jsonl", photos)
    photos.targets = [torch.rand(3, 8, 8)]
    with pytest.raises(ValueError, match="expected --target_dir"):
        read_photo_attributes(write({"name": "a"}), photos)

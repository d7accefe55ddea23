"""psp_hub.images.part_masks: CelebAMask-HQ as it ships, in every place that takes label maps."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from psp_hub import PSPModel
from psp_hub.images.face_classes import CLASS_NAMES
from psp_hub.images.label_maps import read_labels
from psp_hub.images.part_masks import PARTS, group_parts, merge_parts
from psp_hub.tasks import TASKS
from training.data.folders import FolderPictures, match
from training.data.folders import read_labels as read_training_labels
from training.evaluation.examples import PhotoExamples, SourceMaker

# What the data set calls glasses, earrings and necklace.
OTHER_NAMES = {"eye_g": "glasses", "ear_r": "earring", "neck_l": "necklace"}


def masks_of(seed: int) -> dict[str, np.ndarray]:
    """Masks [64, 64] of 0 and 255 that overlap, as those of the data set do: skin goes on below the nose and hair."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    masks = {"skin": (x - 32) ** 2 + (y - 34) ** 2 < 26**2}
    for part in rng.permutation(PARTS[1:])[:11]:
        left, top = rng.integers(0, 48, 2)
        masks[str(part)] = (abs(x - left - 8) < 9) & (abs(y - top - 8) < 9)
    return {part: mask.astype(np.uint8) * 255 for part, mask in masks.items()}


def official(masks: dict[str, np.ndarray]) -> np.ndarray:
    """The map that the authors' rule makes: in the order of their list, each part is written over those before."""
    labels = np.zeros((64, 64), np.uint8)
    for number, name in enumerate(CLASS_NAMES):
        for part, mask in masks.items():
            if OTHER_NAMES.get(part, part) == name:
                labels[mask != 0] = number
    return labels


@pytest.fixture
def data_set(portrait, tmp_path) -> Path:
    """Six faces; their masks lie in two folders, as those of 2,000 faces each do."""
    for i in range(6):
        folder = tmp_path / f"CelebAMask-HQ-mask-anno/{i // 3}"
        folder.mkdir(parents=True, exist_ok=True)
        for part, mask in masks_of(i).items():
            Image.fromarray(mask).convert("RGB" if i % 2 else "L").save(folder / f"{i:05d}_{part}.png")
        (tmp_path / "CelebA-HQ-img").mkdir(exist_ok=True)
        portrait(128, i).save(tmp_path / f"CelebA-HQ-img/{i}.jpg")
    return tmp_path


def masks_folder(data_set: Path) -> Path:
    return data_set / "CelebAMask-HQ-mask-anno"


# Merging


def test_later_parts_lie_over_earlier_ones(data_set):
    for i in range(6):
        files = sorted(masks_folder(data_set).glob(f"*/{i:05d}_*.png"))
        assert len(files) == 12
        merged = merge_parts(files[::-1])  # the order of the files does not matter
        assert np.array_equal(np.asarray(merged), official(masks_of(i)))
        assert np.array_equal(read_labels(merged), official(masks_of(i)))
    assert len(PARTS) == 18 and [OTHER_NAMES.get(part, part) for part in PARTS] == list(CLASS_NAMES[1:])


@pytest.mark.parametrize("change", ["smoothed", "jpeg", "ones", "bilevel", "transparent"])
def test_masks_that_were_saved_anew(data_set, tmp_path, change):
    files = sorted(masks_folder(data_set).glob("0/00000_*.png"))
    (tmp_path / "new").mkdir()
    for path in files:
        mask = Image.open(path)
        if change == "smoothed":
            mask = mask.filter(ImageFilter.GaussianBlur(0.6))
        elif change == "ones":
            mask = mask.point(lambda value: value // 255)
        elif change == "bilevel":
            mask = mask.convert("1")
        elif change == "transparent":
            mask.putalpha(255)
        mask.save(tmp_path / "new" / path.with_suffix(".jpg" if change == "jpeg" else ".png").name, quality=90)
    (found,) = group_parts(sorted((tmp_path / "new").iterdir())).values()
    wrong = np.asarray(merge_parts(found)) != official(masks_of(0))
    assert wrong.mean() < (0.03 if change == "smoothed" else 0.005)


def test_masks_that_do_not_belong_together_are_refused(data_set, portrait):
    folder = masks_folder(data_set) / "0"
    files = sorted(folder.glob("00000_*.png"))
    Image.new("L", (32, 32)).save(folder / "00000_neck.png")
    with pytest.raises(ValueError, match="00000_.*.png has .* pixels, the masks before it"):
        merge_parts(sorted({*files, folder / "00000_neck.png"}))
    portrait(64).save(folder / "00000_neck.png")
    with pytest.raises(ValueError, match="00000_neck.png is no mask of a part"):
        merge_parts([files[0], folder / "00000_neck.png"])
    with pytest.raises(ValueError, match="00000_neck.png is no mask"):
        Image.fromarray(official(masks_of(0))).save(folder / "00000_neck.png")  # a whole map of numbers
        merge_parts([folder / "00000_neck.png"])
    (folder / "00000_skin.jpg").write_bytes((folder / "00000_skin.png").read_bytes())
    with pytest.raises(ValueError, match="00000_skin.png and 00000_skin.jpg are both masks of skin"):
        merge_parts([folder / "00000_skin.png", folder / "00000_skin.jpg"])
    with pytest.raises(ValueError, match="face.png is not named after a part; expected NAME_PART"):
        merge_parts([folder / "face.png"])
    (folder / "00000_skin.png").write_bytes(b"")
    with pytest.raises(ValueError, match="00000_skin.png is empty"):
        merge_parts(files)


# What belongs together


def test_names_alone_make_no_masks(portrait, tmp_path):
    """Photos that are called so stay photos, as does a mask without others."""
    paths = [tmp_path / name for name in ("a_hair.png", "a_skin.png", "b_nose.png")]
    for path in paths:
        portrait(64).save(path)
    assert group_parts(paths) == {path: [path] for path in paths}
    for path in paths:
        Image.new("1", (64, 64)).save(path)
    assert group_parts(paths) == {tmp_path / "a": paths[:2], paths[2]: paths[2:]}
    assert group_parts(paths[1:]) == {path: [path] for path in paths[1:]}


# Training and evaluation


def test_training_finds_the_masks_of_each_photo(data_set):
    sources, targets = FolderPictures(masks_folder(data_set), "labels"), FolderPictures(data_set / "CelebA-HQ-img")
    assert len(sources) == 6 and match(sources, targets) == [(i, i) for i in range(6)]
    for i in range(6):
        labels = read_training_labels(sources.file(i))
        assert torch.equal(labels[::4, ::4], torch.from_numpy(official(masks_of(i))))
    assert sources.name(4) == f"{masks_folder(data_set)}/1/00004_*"
    (data_set / "CelebA-HQ-img/3.jpg").rename(data_set / "CelebA-HQ-img/7.jpg")
    with pytest.raises(ValueError, match=r"2 pictures have no partner.*1/00003_\*, .*img/7.jpg"):
        match(sources, FolderPictures(data_set / "CelebA-HQ-img"))


def test_masks_are_no_photos(data_set):
    """The folder of the whole data set would otherwise train on every mask as if it were a face."""
    for folder in (data_set, masks_folder(data_set), masks_folder(data_set) / "1"):
        with pytest.raises(ValueError, match="holds masks of the parts of faces.*The photos .* are in CelebA-HQ-img"):
            FolderPictures(folder)


def test_evaluation_reads_them(data_set):
    maker = SourceMaker(TASKS["segmentation"], seed=0)
    examples = list(PhotoExamples(data_set / "CelebA-HQ-img", 2, maker, masks_folder(data_set)))
    assert [example.name for example in examples] == ["4.jpg", "5.jpg"]
    for i, example in zip((4, 5), examples, strict=True):
        assert torch.equal(example.input.argmax(dim=0)[::4, ::4].byte(), torch.from_numpy(official(masks_of(i))))


# The command line


def test_translate_takes_the_folder_as_it_ships(data_set, labels_dir, psp_hub, tmp_path):
    for folder, numbers in ((masks_folder(data_set), range(6)), (masks_folder(data_set) / "1", range(3, 6))):
        faces = tmp_path / f"faces-{len(numbers)}"
        code, out, err = psp_hub("translate", folder, "-o", faces, "--model", labels_dir)
        assert (code, err) == (0, "") and f"/00005 -> {faces}/00005.png" in out
        assert sorted(path.name for path in faces.iterdir()) == [f"{i:05d}.png" for i in numbers]
    model = PSPModel.from_pretrained(labels_dir)
    for i in range(6):
        expected = model(Image.fromarray(official(masks_of(i)))).images[0]
        assert np.array_equal(np.asarray(Image.open(tmp_path / f"faces-6/{i:05d}.png")), np.asarray(expected))


def test_translate_says_what_it_is_given(data_set, labels_dir, model_dir, psp_hub, caplog):
    folder, out = masks_folder(data_set), data_set / "out"
    code, _, err = psp_hub("translate", folder / "0", "-o", out, "--model", model_dir)
    assert code == 2 and "0/00000_" in err and "the mask of a part of a face, and there are 11 more of it" in err
    assert "for --task segmentation" in err
    code, _, err = psp_hub("translate", folder, "-o", out, "--model", labels_dir, "--label-order", "face-parsing")
    assert code == 2 and "--label-order is for maps of numbers" in err
    with caplog.at_level(logging.WARNING):
        code, _, err = psp_hub("translate", folder / "0/00000_skin.png", "-o", "x.png", "--model", labels_dir)
    assert (
        code == 1 and "the mask of one part, expected a label map of all" in err and "give `psp-hub translate`" in err
    )
    code, _, err = psp_hub("translate", data_set, "-o", out, "--model", labels_dir)
    assert code == 2 and "there are no pictures in the folder" in err and "CelebAMask-HQ-mask-anno" in err
    assert not out.exists()

"""training.data.folders: pictures of all kinds, partners, and what cannot be read."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from psp_hub.images.preprocessing import labels_to_image, open_image
from training.data.folders import (
    FolderPictures,
    find_problems,
    match,
    read,
    read_labels,
    read_photo,
)


def find_broken(pictures: FolderPictures, positions, reader, what: str = "pictures") -> dict[int, str]:
    return find_problems(lambda i: read(pictures, i, reader), positions, what)


def grey(path, value: int = 100, size: tuple[int, int] = (32, 32)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def stripes(mode: str, highest: int = 18) -> Image.Image:
    """A label map of 64 x 48: columns of the numbers 0 to `highest`."""
    numbers = np.tile(np.arange(64) * (highest + 1) // 64, (48, 1))
    image = Image.fromarray(numbers.astype(np.int32 if mode == "I" else np.uint16 if mode == "I;16" else np.uint8))
    if mode == "P":
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    assert image.mode == mode
    return image


# Partners


def test_partners_have_one_name(tmp_path):
    for name in ("in/a.png", "in/sub/b.png", "in/c.webp", "out/sub/b.jpg", "out/c.png", "out/a.jpg"):
        grey(tmp_path / name)
    sources, targets = FolderPictures(tmp_path / "in"), FolderPictures(tmp_path / "out")
    pairs = [(sources.paths[i].stem, targets.paths[j].stem) for i, j in match(sources, targets)]
    assert pairs == [("a", "a"), ("c", "c"), ("b", "b")]
    assert [j for _, j in match(sources, targets)] == [0, 1, 2]


def test_pictures_without_a_partner_are_named(tmp_path):
    for name in ("in/a.png", "in/only-in.png", "out/a.jpg", "out/sub/a.jpg"):
        grey(tmp_path / name)
    with pytest.raises(ValueError, match="2 pictures have no partner") as error:
        match(FolderPictures(tmp_path / "in"), FolderPictures(tmp_path / "out"))
    assert f"{tmp_path}/in/only-in.png" in str(error.value) and f"{tmp_path}/out/sub/a.jpg" in str(error.value)
    assert "a.png" not in str(error.value)


def test_two_of_one_name_are_refused(tmp_path):
    for name in ("in/a.png", "in/a.webp", "out/a.jpg"):
        grey(tmp_path / name)
    with pytest.raises(ValueError, match="1 names are there twice, apart from the suffix: .*a.png and .*a.webp"):
        match(FolderPictures(tmp_path / "in"), FolderPictures(tmp_path / "out"))


# Reading


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
@pytest.mark.parametrize("size", [(256, 256), (90, 301)])
def test_photos_of_all_modes_and_sizes(tmp_path, portrait, mode, size):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image = portrait(256).resize(size)
    image = image.convert("L").convert("I").point(lambda x: x * 257).convert(mode) if mode == "I;16" else image
    image.convert(mode).save(path)
    photo = read_photo(path)
    assert photo.shape == (3, 256, 256) and photo.dtype == torch.float32 and -1 <= photo.min() and photo.max() <= 1
    expected = np.asarray(
        image.resize((256, 256)) if mode == "I;16" else image.convert("RGB").resize((256, 256)), float
    )
    expected = expected / 257 if mode == "I;16" else expected.mean(axis=2)
    difference = photo.mean(dim=0).numpy() - (expected / 127.5 - 1)
    blocks = difference.reshape(8, 32, 8, 32).mean(axis=(1, 3))  # black and white dots are grey from afar
    assert np.abs(blocks).mean() < 0.06


@pytest.mark.filterwarnings("ignore:Saving I mode images:DeprecationWarning")
@pytest.mark.parametrize("mode", ["P", "L", "I", "I;16"])
def test_label_maps_keep_their_numbers(tmp_path, mode):
    stripes(mode).save(tmp_path / "a.png")
    labels = read_labels(tmp_path / "a.png")
    assert labels.shape == (256, 256) and labels.dtype == torch.uint8
    assert torch.equal(labels, labels[0].expand(256, 256))
    assert torch.equal(labels[0], (torch.arange(64) * 19 // 64).to(torch.uint8).repeat_interleave(4))


def test_numbers_that_are_no_class_are_named(tmp_path):
    stripes("L", highest=20).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="numbers that are no class: 19, 20; expected 0 to 18"):
        read_labels(tmp_path / "a.png")


def test_label_maps_in_the_official_colours(tmp_path):
    numbers = torch.arange(16, dtype=torch.uint8).repeat_interleave(16).expand(256, 256)
    labels_to_image(numbers).convert("RGB").save(tmp_path / "a.png")
    assert torch.equal(read_labels(tmp_path / "a.png"), numbers)


def test_files_in_memory(tmp_path, portrait):
    file = io.BytesIO()
    portrait(100).save(file, "PNG")
    stripes("P").save(tmp_path / "a.png")
    assert read_photo(file).shape == (3, 256, 256)
    assert torch.equal(read_labels(io.BytesIO((tmp_path / "a.png").read_bytes())), read_labels(tmp_path / "a.png"))


def test_broken_pictures_are_named(tmp_path, portrait):
    for name in ("a.png", "c.png"):
        portrait(64).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "d.png").write_bytes((tmp_path / "a.png").read_bytes()[:900])
    (tmp_path / "e.png").write_bytes(b"<html>not found</html>")
    (tmp_path / "f.png").symlink_to(tmp_path / "nowhere.png")
    pictures = FolderPictures(tmp_path)
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path}/b.png: ")):
        read(pictures, 1, read_photo)
    for reader, expected in ((read_photo, {1, 3, 4, 5}), (read_labels, set(range(6))), (open_image, {1, 3, 4, 5})):
        broken = find_broken(pictures, range(6), reader, "pictures")
        assert broken.keys() == expected
        assert all(text.startswith(f"{pictures.name(i)}: ") for i, text in broken.items())
    assert find_broken(pictures, [0, 2], read_photo, "pictures") == {}
    assert find_broken(pictures, [5, 4], read_photo, "pictures").keys() == {5, 4}


def check_in_two_processes(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
    looked_at = []
    pictures = FolderPictures(folder)
    broken = find_broken(pictures, range(1, 5), lambda file: looked_at.append(file.name) or read_photo(file), "photos")
    (folder / f"{rank}.json").write_text(json.dumps([sorted(looked_at), list(broken), list(broken.values())]))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_share_the_check(tmp_path, portrait):
    for i in range(5):
        portrait(64).save(tmp_path / f"{i}.png")
    for i in (0, 3, 4):
        (tmp_path / f"{i}.png").write_bytes(b"")
    torch.multiprocessing.spawn(check_in_two_processes, (tmp_path,), nprocs=2)
    (seen, *first), (seen_too, *second) = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert (seen, seen_too) == (["1.png", "3.png"], ["2.png", "4.png"])
    assert first == second and first[0] == [3, 4] and all("is empty" in text for text in first[1])

"""training.data.batches and training.data.faces: stored lines, photos, and the order of the examples."""

import numpy as np
import pytest
import torch

from psp_hub.images.preprocessing import images_to_tensor
from training.data.batches import LineArt, StepBatches
from training.data.faces import FacePhotos
from training.data.pairs import PairStore, write_tar
from training.networks.hed import EdgeDetector
from training.recipes import make_line_art


@pytest.fixture(scope="module")
def line_art_dir(portrait, tmp_path_factory):
    """Line drawings of the pictures 103, 101 and 118 alone, in two shards."""
    folder = tmp_path_factory.mktemp("lines")
    write_tar(folder / "lines-100.tar", [103, 101], [portrait(256, i).convert("L") for i in (3, 1)], 90)
    write_tar(folder / "lines-118.tar", [118], [portrait(256, 18).convert("L")], 90)
    (folder / "lines-119.tar.tmp").write_bytes(b"half of a fi")
    return folder


# Line art


def test_line_art(line_art_dir, portrait):
    line_art = LineArt(line_art_dir)
    assert sorted(line_art.positions) == [101, 103, 118]
    for index, seed in ((101, 1), (103, 3), (118, 18)):
        ink = line_art.get(index)
        assert ink.shape == (1, 256, 256) and ink.dtype == torch.float32
        expected = np.asarray(portrait(256, seed).convert("L"), np.float32) / 255
        assert np.abs(ink[0].numpy() - expected).mean() < 0.02
    assert line_art.get(102) is None


def test_no_line_art():
    assert LineArt(None).get(101) is None


@pytest.mark.slow
@pytest.mark.parametrize("source", ["pairs", "faces"])
def test_make_line_art_goes_on_where_it_stopped(
    pairs_dir, faces_dir, edge_detector_file, tmp_path, monkeypatch, source
):
    monkeypatch.setattr(make_line_art, "SHARD_SIZE", 1)
    folder = pairs_dir if source == "pairs" else faces_dir
    options = [f"--{source}_dir", str(folder), "--output_dir", str(tmp_path), "--weights", str(edge_detector_file)]
    args = make_line_art.parse_args([*options, "--max_images", "2"])
    make_line_art.main(args)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(first) == (
        ["lines-0.tar", "lines-1.tar"] if source == "faces" else ["lines-100.tar", "lines-101.tar"]
    )
    (tmp_path / sorted(first)[1]).unlink()
    make_line_art.main(args)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    # The lines are those of the picture, apart from the loss of bfloat16 and WebP.
    image = PairStore([pairs_dir])[0][0] if source == "pairs" else FacePhotos(faces_dir, slice(1))[0]
    exact = EdgeDetector.from_file(edge_detector_file)(image[None])[0]
    ink = LineArt(tmp_path).get(0 if source == "faces" else 100)
    assert (ink - exact).abs().mean() < 0.05


# Photos


def test_photos_are_sorted_and_resized(faces_dir, portrait):
    photos = FacePhotos(faces_dir, slice(None))
    assert [path.name for path in photos.paths] == ["a.png", "b.jpg", "c.jpeg", "d.webp", "e.PNG", "f.png"]
    assert len(photos) == 6 and len(list(photos)) == 6
    for i, photo in enumerate(photos):
        assert photo.shape == (3, 256, 256) and photo.abs().max() <= 1
        expected = images_to_tensor([portrait(200 + 40 * i, i).resize((256, 256))])[0]
        assert (photo - expected).abs().mean() < 0.05


@pytest.mark.parametrize(
    ("part", "expected"), [(slice(2), [0, 1]), (slice(-2, None), [4, 5]), (slice(-9, None), range(6))]
)
def test_a_part_of_the_photos_keeps_their_indices(faces_dir, part, expected):
    whole, photos = FacePhotos(faces_dir, slice(None)), FacePhotos(faces_dir, part)
    assert photos.indices == list(expected)
    assert photos.paths == [whole.paths[i] for i in expected]


def test_a_folder_without_photos_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no photo")
    with pytest.raises(ValueError, match="there are no pictures"):
        FacePhotos(tmp_path, slice(None))


# Batches


def test_an_epoch_is_a_permutation():
    indices = [3, 5, 8, 9, 11, 20, 21, 30]
    epochs = [list(StepBatches(indices, 2, seed=1, first=4 * epoch, last=4 * epoch + 4)) for epoch in range(3)]
    orders = [[i for batch in epoch for _, i, _ in batch] for epoch in epochs]
    assert all(sorted(order) == indices for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    for number, epoch in enumerate(epochs):
        assert all(len(batch) == 2 and all(key[0] == number for key in batch) for batch in epoch)


def test_a_batch_may_span_two_epochs():
    batches = list(StepBatches(list(range(10)), 4, seed=0, first=0, last=5))
    assert [[epoch for epoch, _, _ in batch] for batch in batches] == [
        [0] * 4,
        [0] * 4,
        [0, 0, 1, 1],
        [1] * 4,
        [1] * 4,
    ]
    drawn = [key[:2] for batch in batches for key in batch]
    assert sorted(drawn) == [(epoch, i) for epoch in (0, 1) for i in range(10)]


@pytest.mark.parametrize(("size", "per_step"), [(6, 1), (3, 2), (2, 3), (1, 6)])
def test_a_step_sees_the_same_examples_however_they_are_dealt(size, per_step):
    def steps(size: int, per_step: int) -> list[list[tuple]]:
        numbers = (0, 7 * per_step, 4 * per_step)  # 7 steps, gentle drawings in 4 of them
        keys = [key for batch in StepBatches(list(range(10)), size, 3, *numbers, per_step) for key in batch]
        return [keys[i : i + size * per_step] for i in range(0, len(keys), size * per_step)]

    assert steps(size, per_step) == steps(6, 1)
    assert [{share for _, _, share in step} for step in steps(size, per_step)] == [{1.0}, {0.75}, {0.5}, {0.25}] + [
        {0.0}
    ] * 3


@pytest.mark.parametrize("first", [0, 1, 4, 5, 11])
def test_resuming_gives_the_tail_of_the_whole(first):
    whole = StepBatches(list(range(14)), 3, seed=7, first=0, last=11)
    tail = StepBatches(list(range(14)), 3, seed=7, first=first, last=11)
    assert list(tail) == list(whole)[first:]
    assert len(tail) == len(list(tail)) == 11 - first
    assert list(whole) == list(whole)


def test_the_share_of_gentle_drawings_falls_to_none():
    batches = list(StepBatches(list(range(8)), 2, seed=0, first=2, last=7, gentle_steps=5))
    assert [batch[0][2] for batch in batches] == pytest.approx([0.6, 0.4, 0.2, 0, 0])
    assert all(share == batch[0][2] for batch in batches for _, _, share in batch)
    assert {share for batch in StepBatches(list(range(8)), 2, 0, 0, 7) for _, _, share in batch} == {0.0}


def test_the_order_depends_on_the_seed():
    first, second = (list(StepBatches(list(range(50)), 5, seed, 0, 10)) for seed in (0, 1))
    assert first != second


def test_one_example_makes_batches_and_none_is_refused():
    assert list(StepBatches([5], 3, seed=0, first=0, last=1)) == [[(0, 5, 0.0), (1, 5, 0.0), (2, 5, 0.0)]]
    with pytest.raises(ValueError, match="no training examples"):
        StepBatches([], 3, 0, 0, 1)

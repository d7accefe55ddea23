"""training.data.examples and training.data.augmentation: items of every task, from pairs and photos."""

import pickle
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from psp_hub.generators import load_generator
from psp_hub.tasks import TASKS
from training.data.augmentation import Augmentation, Target, mirrored, reframe, relight, reshape
from training.data.batches import LineArt
from training.data.examples import Examples, Pairs, Photos
from training.data.folders import FolderPictures, read_photo
from training.data.pairs import GeneratedPairs, PairStore, sample_pairs, write_shard, write_tar
from training.data.sources import SOURCES
from training.losses import WError

SKETCH = TASKS["sketch"]


@pytest.fixture(scope="module")
def store(pairs_dir) -> PairStore:
    return PairStore([pairs_dir])


@pytest.fixture(scope="module")
def line_art_dir(portrait, tmp_path_factory):
    """Line drawings of the pictures 103 and 101 alone."""
    folder = tmp_path_factory.mktemp("lines")
    write_tar(folder / "lines-100.tar", [103, 101], [portrait(256, i).convert("L") for i in (3, 1)], 90)
    return folder


@pytest.fixture(scope="module")
def data(store, line_art_dir) -> Examples:
    return Examples([Pairs(store, LineArt(line_art_dir).get)], SKETCH, seed=5, w_dim=32)


@pytest.fixture(scope="module")
def photos(faces_dir) -> Photos:
    """The photos 0 to 3, twice."""
    return Photos(FolderPictures(faces_dir), [(i, i) for i in range(4)], identity=torch.eye(4, 6), repeats=2)


@pytest.fixture
def seen(monkeypatch) -> list[tuple]:
    """(hint, gentle, options) of each drawing; it is the red of the picture."""
    calls = []

    def note(image, rng, hint, gentle, **options):
        calls.append((hint, gentle, options))
        return image[:1]

    monkeypatch.setitem(SOURCES, "drawing", note)
    return calls


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


# Items


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.source != "labels"])
def test_items_of_pairs(store, name):
    data = Examples([Pairs(store)], TASKS[name], seed=5, w_dim=32)
    item = data[0, 7]
    assert item.keys() == {"input", "image", "w", "has_w"}
    assert item["input"].shape == (TASKS[name].in_channels, 256, 256) and item["input"].dtype == torch.float32
    assert torch.equal(item["image"], store[7][0]) and torch.equal(item["w"], store[7][1])
    assert item["has_w"].shape == () and item["has_w"].dtype == torch.bool and item["has_w"]
    assert len(data) == 20 and data.name(7) == "pair 107"
    assert name == "inversion" or not torch.equal(item["input"][:1], item["image"][:1])


def test_an_item_depends_on_seed_epoch_and_index_alone(data, store, pairs_dir, line_art_dir):
    first = data[3, 7]
    for key in ((0, 0), (3, 6), (4, 7)):
        torch.manual_seed(1)
        data[key]
    assert equal(data[3, 7], first)
    hints = LineArt(line_art_dir).get
    assert equal(Examples([Pairs(PairStore([pairs_dir]), hints)], SKETCH, 5, 32)[3, 7], first)
    assert not torch.equal(data[4, 7]["input"], first["input"])
    assert not torch.equal(Examples([Pairs(store, hints)], SKETCH, 6, 32)[3, 7]["input"], first["input"])


def test_examples_can_be_sent_to_workers(store, line_art_dir, photos):
    data = Examples([Pairs(store, LineArt(line_art_dir).get), photos], SKETCH, 5, 32)
    copy = pickle.loads(pickle.dumps(data))
    assert all(equal(copy[key], data[key]) for key in ((0, 1), (1, 22)))


@pytest.mark.skipif(sys.platform != "linux", reason="workers are spawned elsewhere: slow")
def test_workers_make_the_same_items(store, photos):
    data = Examples([Pairs(store), photos], TASKS["inpainting"], 5, 32, Augmentation(True, 0.5))
    keys = [[(0, 1), (0, 21)], [(2, 5), (2, 25)], [(2, 0), (2, 3)]]
    alone, shared = (list(DataLoader(data, batch_sampler=keys, num_workers=workers)) for workers in (0, 2))
    assert all(equal(one, other) for one, other in zip(alone, shared, strict=True))


def test_hints_are_those_of_the_picture(data, line_art_dir, seen):
    for i in (1, 2, 3):  # indices 101, 102, 103
        data[0, i]
    line_art = LineArt(line_art_dir)
    assert torch.equal(seen[0][0], line_art.get(101)) and seen[1][0] is None
    assert torch.equal(seen[2][0], line_art.get(103))


def test_gentle_keys_give_gentle_inputs(data, seen):
    for share, expected in ((0.0, {False}), (1.0, {True}), (0.5, {True, False})):
        seen.clear()
        for i in range(16):
            data[0, i, share]
        assert {gentle for _, gentle, _ in seen} == expected


def test_options_join_those_of_the_row(store, seen):
    Examples([Pairs(store)], SKETCH, 5, 32, options={"line_art_share": 0.75})[0, 0]
    assert seen[0][2] == {"line_art_share": 0.75}
    data = Examples([Pairs(store)], TASKS["super-resolution"], 5, 32, options={"factors": (1,)})
    assert (data[0, 0]["input"] - data[0, 0]["image"]).abs().max() < 0.01


def test_examples_that_are_not_there(data):
    for i in (-1, 20):
        with pytest.raises(IndexError, match=f"example {i} of 20"):
            data[0, i]


# Mixtures


def test_a_mixture_of_pairs_and_photos(store, photos):
    data = Examples([Pairs(store), photos], SKETCH, 5, 32)
    assert len(data) == 28
    pair, photo, again = data[0, 19], data[0, 22], data[0, 26]
    assert pair.keys() == photo.keys() == {"input", "image", "w", "has_w", "identity"}
    assert pair["has_w"].item() is True and photo["has_w"].item() is False
    assert torch.equal(pair["w"], store[19][1]) and torch.equal(photo["w"], torch.zeros(32))
    assert torch.equal(pair["identity"], torch.zeros(6)) and torch.equal(photo["identity"], photos.identity[2])
    assert torch.equal(photo["image"], read_photo(photos.targets.paths[2]))
    assert torch.equal(again["image"], photo["image"]) and not torch.equal(again["input"], photo["input"])
    assert equal(data[0, 22], photo) and not torch.equal(data[1, 22]["input"], photo["input"])
    assert data.name(19) == "pair 119" and data.name(22) == data.name(26) == str(photos.targets.paths[2])
    assert torch.equal(pair["input"], Examples([Pairs(store)], SKETCH, 5, 32)[0, 19]["input"])  # photos change nothing


def test_a_batch_of_a_mixture(store, photos):
    data = Examples([photos, Pairs(store)], SKETCH, 5, 32)
    keys = [(0, 0), (0, 23), (0, 1), (3, 9)]
    (batch,) = DataLoader(data, batch_sampler=[keys])
    assert batch["has_w"].tolist() == [False, True, False, True]
    assert {key: tuple(value.shape[1:]) for key, value in batch.items()} == {
        "input": (1, 256, 256),
        "image": (3, 256, 256),
        "w": (32,),
        "has_w": (),
        "identity": (6,),
    }
    for n, key in enumerate(keys):
        assert equal({name: value[n] for name, value in batch.items()}, data[key])


def test_generated_pairs_of_a_batch_are_drawn_together(generator_dir, photos, monkeypatch):
    pairs = GeneratedPairs(load_generator(generator_dir), 6)
    data, calls = Examples([pairs_part := Pairs(pairs), photos], SKETCH, 5, 32), []
    items = [data[0, i] for i in (4, 7, 1)]
    get_many = pairs.get_many
    monkeypatch.setattr(pairs, "get_many", lambda positions: calls.append(positions) or get_many(positions))
    together = data.__getitems__([(0, 4), (0, 7), (0, 1)])
    assert calls == [[4, 1]] and pairs_part.name(4) == "pair 100000004"
    for one, other in zip(items, together, strict=True):
        torch.testing.assert_close(one["image"], other["image"])
        torch.testing.assert_close(one["w"], other["w"])


# Stored sources


def test_stored_sources(tmp_path, portrait):
    for i in range(3):
        for folder, image in (("in", portrait(256, i).convert("L")), ("out", portrait(200, i))):
            (tmp_path / folder).mkdir(exist_ok=True)
            image.save(tmp_path / folder / f"{i}.png")
    sources, targets = FolderPictures(tmp_path / "in"), FolderPictures(tmp_path / "out")
    data = Examples([Photos(targets, [(0, 0), (2, 2)], sources, "photo")], TASKS["inversion"], 0, 32)
    item = data[0, 1]
    assert torch.equal(item["input"], read_photo(tmp_path / "in/2.png"))
    assert torch.equal(item["image"], read_photo(tmp_path / "out/2.png"))
    assert len(data) == 2 and equal(data[9, 1], item)
    flipped = Examples([Photos(targets, [(0, 0), (2, 2)], sources, "photo")], TASKS["inversion"], 0, 32)
    flipped.augmentation = Augmentation(random_flip=True)
    kinds = set()
    for epoch in range(8):
        one = flipped[epoch, 1]
        mirror = not torch.equal(one["input"], item["input"])
        expected = {name: item[name].flip(-1) if mirror else item[name] for name in ("input", "image")}
        assert all(torch.equal(one[name], value) for name, value in expected.items())
        kinds.add(mirror)
    assert kinds == {True, False}


def test_stored_label_maps_are_painted_anew(tmp_path, portrait):
    from PIL import Image

    numbers = np.repeat(np.arange(16, dtype=np.uint8), 4)
    Image.fromarray(np.tile(numbers, (64, 1))).save(tmp_path / "map.png")
    maps = FolderPictures(tmp_path)
    data = Examples([Photos(maps, [(0, 0)], maps, "labels")], TASKS["segmentation"], 0, 32)
    exact = data[0, 0, 1.0]["input"]
    assert exact.shape == (19, 256, 256)
    assert torch.equal(exact.argmax(dim=0)[0], torch.arange(16).repeat_interleave(16))
    assert any(not torch.equal(data[epoch, 0]["input"], exact) for epoch in range(2))


# Augmentation


def test_inputs_and_targets_of_frontalization_are_mirrored_independently(photos):
    task = TASKS["frontalization"]
    data = Examples([photos], task, 0, 32, Augmentation(task.random_flip))
    original, counts = read_photo(photos.targets.paths[1]), Counter()
    for epoch in range(24):
        item = data[epoch, 1]
        flips = tuple(not torch.equal(item[name], original) for name in ("input", "image"))
        for name, flipped in zip(("input", "image"), flips, strict=True):
            assert torch.equal(item[name], original.flip(-1) if flipped else original)
        counts[flips] += 1
    assert len(counts) == 4 and min(counts.values()) >= 2


def test_pairs_and_held_out_photos_are_not_augmented(store, photos):
    strong = Augmentation(random_flip=True, color_jitter=1.0)
    plain = Examples([Pairs(store), photos], TASKS["inversion"], 0, 32)
    data = Examples([Pairs(store), photos], TASKS["inversion"], 0, 32, strong, unchanged=range(22, 24))
    same = [equal(data[epoch, i], plain[epoch, i]) for epoch in range(2) for i in (3, 22, 23)]
    assert all(same)
    assert not any(equal(data[epoch, i], plain[epoch, i]) for epoch in range(2) for i in (20, 24))
    item = data[0, 20]
    assert torch.equal(item["input"], item["image"])  # changed together
    assert equal(data[0, 20], item) and not torch.equal(data[1, 20]["image"], item["image"])


def test_relit_pairs_lose_their_w_unless_they_are_held_out(store):
    relit = Augmentation(color_jitter=0.5, relit_pairs=0.5)
    plain = Examples([Pairs(store)], TASKS["inversion"], 0, 32)
    data = Examples([Pairs(store)], TASKS["inversion"], 0, 32, relit, unchanged=range(4))
    assert all(equal(data[epoch, i], plain[epoch, i]) for epoch in range(8) for i in range(4))
    items = [(data[epoch, 7], plain[epoch, 7]) for epoch in range(24)]
    known = [item["has_w"].item() for item, _ in items]
    assert 4 < sum(known) < 20
    for item, whole in items:
        assert item["has_w"] == torch.equal(item["image"], whole["image"])
        assert torch.equal(item["w"], whole["w"] if item["has_w"] else torch.zeros(32))
        assert torch.equal(item["input"], item["image"])


def test_mixed_styles_among_plain_ones(store, photos, generator_dir, tmp_path):
    generator = load_generator(generator_dir)
    write_shard(tmp_path, 0, *sample_pairs(generator, [5, 6], mixed_share=0.9), [5, 6])
    data = Examples([Pairs(PairStore([tmp_path])), Pairs(store), photos], TASKS["inversion"], 0, 32)
    batch = default_collate([data[0, i] for i in (0, 4, len(data) - 1)])
    assert batch["w"].shape == (3, 8, 32) and batch["has_w"].tolist() == [True, True, False]
    assert torch.equal(batch["w"][1], store[2][1].expand(8, -1))
    w_error, w = WError(generator), batch["w"]
    assert w_error.mean(w - generator.w_avg, w, batch["has_w"]) < 1e-10
    assert w_error.mean(w * 0, w, batch["has_w"]).item() == pytest.approx(1, abs=1e-4)


def test_another_frame():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = torch.stack([x, y, x * 0]) / 32 - 1  # every pixel knows where it was
    assert torch.allclose(reframe(image, np.random.default_rng(0), 0.0), image, atol=1e-5)
    for seed in range(5):
        moved = (reframe(image, np.random.default_rng(seed), 1.0) + 1) * 32
        (ax, bx), (ay, by) = (
            (moved[i, 32, 36] - moved[i, 32, 28], moved[i, 36, 32] - moved[i, 28, 32]) for i in (0, 1)
        )
        scale = (ax**2 + ay**2).sqrt() / 8
        assert 0.87 < scale < 1.13 and torch.allclose(torch.stack([ax, ay]), torch.stack([by, -bx]), atol=1e-3)
        assert abs(torch.rad2deg(torch.atan2(ay, ax))) < 8.01
        centre = moved[:2, 31:33, 31:33].mean(dim=(1, 2)) - 31.5
        assert centre.abs().max() < 0.06 * 64 + 0.1 and centre.abs().max() > 0.1


def test_another_shape():
    """Neighbours stay neighbours, but not at the same distance everywhere."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    image = torch.stack([x, y, x * 0]) / 32 - 1  # every pixel knows where it was
    assert torch.allclose(reshape(image, np.random.default_rng(0), 0.0), image, atol=1e-5)
    for seed in range(5):
        moved = (reshape(image, np.random.default_rng(seed), 0.6) + 1)[:, 8:-8, 8:-8] * 32
        right, down = moved[0].diff(dim=1), moved[1].diff(dim=0)
        assert 0 < right.min() < 0.95 and 1.05 < right.max() < 2.5
        assert 0 < down.min() < 0.95 and 1.05 < down.max() < 2.5
        assert (moved[:2] - image[:2, 8:-8, 8:-8].add(1).mul(32)).abs().max() < 0.12 * 64


def test_shapes_of_photos_and_relit_pairs_change(store, photos):
    changes = Augmentation(color_jitter=0.5, relit_pairs=1.0, shape_jitter=0.6)
    plain = Augmentation(color_jitter=0.5, relit_pairs=1.0)
    for part in (Pairs(store), photos):
        one, other = (Examples([part], TASKS["inversion"], 0, 32, way)[0, 1] for way in (changes, plain))
        assert torch.equal(one["input"], one["image"]) and not torch.allclose(one["image"], other["image"], atol=0.05)
    target = Target(torch.rand(3, 64, 64), hint=torch.rand(1, 64, 64))  # lines that belong to this picture alone
    assert Augmentation(shape_jitter=1.0, frame_jitter=1.0)(target, np.random.default_rng(0)) is target


@pytest.mark.parametrize("changes", [{"frame_jitter": 1.0}, {"shape_jitter": 0.7}, {"random_flip": True}])
def test_stored_sources_move_with_their_targets(changes):
    """What was at one place of both still is."""
    image = torch.rand(3, 64, 64) * 2 - 1
    target = Target(image, source=image[1:2], said=torch.tensor([1.0]))
    for seed in range(4):
        changed = Augmentation(**changes)(target, np.random.default_rng(seed))
        torch.testing.assert_close(changed.source, changed.image[1:2])
        assert changed.said is target.said and changed.source.shape == (1, 64, 64)
    assert not changed.image.equal(image)


def test_stored_drawings_are_damaged_while_their_photos_stay():
    image, source = torch.rand(3, 64, 64), torch.ones(1, 64, 64)
    source[:, 20:40, 30:33] = 0
    target, rng = Target(image, source=source, said=torch.ones(1)), np.random.default_rng(0)
    changed = [Augmentation(damaged_drawings=1.0)(target, rng) for _ in range(8)]
    assert all(each.image is image and each.said is target.said for each in changed)
    assert all(each.source.shape == source.shape and 0 <= each.source.min() < 0.9 for each in changed)
    assert all(each.source.max() == 1 and not each.source.equal(source) for each in changed)
    alone = Target(image)
    assert Augmentation(damaged_drawings=1.0)(alone, rng) is alone
    kept = [Augmentation(damaged_drawings=0.5)(target, rng).source.equal(source) for _ in range(20)]
    assert 4 < sum(kept) < 16


def test_stored_sources_get_the_features_that_their_targets_get():
    """A face and its lines with the eyes, the mouth or all features of another one, and nothing known of it."""
    grey = torch.nn.functional.interpolate(torch.rand(2, 1, 8, 8), size=64, mode="bilinear")
    one, other = (Target(face.expand(3, 64, 64), source=face, said=torch.ones(1)) for face in grey)
    changes = Augmentation(blended_photos=1.0)
    for seed in range(6):
        changed = changes.blended(one, lambda _: [other], np.random.default_rng(seed))
        moves = [
            (new - old).abs().amax(dim=0) for new, old in ((changed.image, one.image), (changed.source, one.source))
        ]
        assert changed.said is None and min(move.max() for move in moves) > 0.1
        assert max(move[:10].max() for move in moves) < 1e-3
    photo = Target(one.image, source=one.image)  # a photo goes in, and comes out: in the same colours
    for seed in range(6):
        changed = changes.blended(
            photo, lambda _: [Target(other.image, source=other.image)], np.random.default_rng(seed)
        )
        torch.testing.assert_close(changed.source, changed.image)
    alone = Target(one.image, source=one.source)
    assert changes.blended(alone, lambda _: [], np.random.default_rng(0)) is alone


def test_some_photos_get_features_of_others(faces_dir, store):
    pictures = FolderPictures(faces_dir)
    photos = Photos(pictures, [(i, i) for i in range(6)], repeats=4)
    task, ways = TASKS["inversion"], (Augmentation(), Augmentation(blended_photos=0.5))
    held_out = range(len(store), len(store) + 24, 6)  # the first photo, each time that it is there
    plain, blended = (Examples([Pairs(store), photos], task, 0, 32, way, unchanged=held_out) for way in ways)
    keys = [(0, i) for i in range(len(plain))]
    changed = [i for _, i in keys if not plain[0, i]["image"].equal(blended[0, i]["image"])]
    assert min(changed) >= len(store) and not set(changed) & set(held_out) and 5 <= len(changed) <= 15  # of 20
    assert all(blended[key]["image"].equal(blended[key]["image"]) for key in keys)
    rng = np.random.default_rng(0)
    others = [target.image for _ in range(25) for target in blended.draw_others(len(store) + 1, rng)]
    shown = [plain[0, len(store) + i]["image"] for i in range(6)]
    seen = Counter(next(i for i in range(6) if shown[i].equal(other)) for other in others)
    assert set(seen) == {2, 3, 4, 5}  # neither the one that is held out nor itself
    known = Target(torch.rand(3, 64, 64), identity=torch.ones(2))
    assert Augmentation(blended_photos=1.0).blended(known, lambda _: [Target(torch.rand(3, 64, 64))], rng) is known


def test_sources_are_the_same_with_and_without_jitter(photos):
    """The random numbers of one do not shift those of the other."""
    keys = [(0, i) for i in range(3)]
    task = TASKS["inpainting"]
    plain, changed = (Examples([photos], task, 0, 32, Augmentation(False, jitter, jitter)) for jitter in (0.0, 0.5))
    assert all(torch.equal(plain[key]["input"][3], changed[key]["input"][3]) for key in keys)


def test_mirror_images_of_all_that_is_known():
    image, lines, source = torch.rand(3, 4, 4), torch.rand(1, 4, 4), torch.rand(4, 4, 4)
    target = mirrored(Target(image, identity=torch.ones(2), hint=lines, source=source))
    for one, other in ((target.image, image), (target.hint, lines), (target.source, source)):
        assert torch.equal(one, other.flip(-1))
    assert torch.equal(target.identity, torch.ones(2))
    labels = torch.tensor([[4, 4, 1, 5, 13, 9]], dtype=torch.uint8)  # left eye, skin, right eye, hair, right ear
    assert mirrored(Target(image, hint=labels)).hint.tolist() == [[8, 13, 4, 1, 5, 5]]


def test_light():
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1

    def change(strength: float) -> float:
        made = [relight(image, np.random.default_rng(seed), strength) for seed in range(8)]
        assert all(one.shape == image.shape and one.dtype == torch.float32 for one in made)
        assert all(-1 <= one.min() and one.max() <= 1 for one in made)
        return sum((one - image).abs().mean().item() for one in made) / 8

    assert change(0.0) < 1e-6 < 0.02 < change(0.3) < change(1.0)

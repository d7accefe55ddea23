"""training.strokes, the pairs that are drawn with them, and what an answer has to show."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from psp_hub.generators import load_generator
from psp_hub.tasks import TASKS
from training.data.loading import load_data
from training.data.painted_maps import LabelMaps
from training.data.pairs import PairStore, write_tar
from training.data.stroke_pairs import StrokePairs
from training.losses.attributes import AttributeLoss
from training.networks.attributes import AttributesFromW
from training.settings.flags import parse
from training.settings.run import TrainingSettings
from training.strokes import ATTRIBUTES, Face, Facts, write_drawing

NUMBERS = {name: i for i, name in enumerate(ATTRIBUTES)}


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    """A face with short hair."""
    y, x = np.mgrid[:256, :256]
    found = np.zeros((256, 256), np.uint8)
    found[((x - 128) / 78) ** 2 + ((y - 120) / 100) ** 2 < 1] = 13
    found[((x - 128) / 68) ** 2 + ((y - 140) / 85) ** 2 < 1] = 1
    for number, (left, top, right, bottom) in {
        4: (85, 115, 108, 125), 5: (148, 115, 171, 125), 6: (82, 100, 110, 106), 7: (146, 100, 174, 106),
        2: (115, 130, 141, 165), 11: (105, 182, 151, 188), 12: (105, 188, 151, 195),
    }.items():  # fmt: skip
        found[top:bottom, left:right] = number
    return found


def facts(labels: np.ndarray, **said: float) -> Facts:
    values = np.zeros(len(ATTRIBUTES), np.float32)
    for name, value in said.items():
        values[NUMBERS[name]] = value
    return Facts(labels, values)


def mean_ink(labels: np.ndarray, part: tuple[slice, slice], **said: float) -> float:
    """In a part of the picture, over many hands."""
    drawings = [write_drawing(facts(labels, **said), np.random.default_rng(seed)) for seed in range(16)]
    return 1 - torch.stack(drawings)[:, 0, *part].mean().item()


def test_drawings_are_dark_on_white_and_repeat(labels):
    first, same, other = (write_drawing(facts(labels), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (1, 256, 256) and first.dtype == torch.float32
    assert first.min() >= 0 and first.max() <= 1 and 0.005 < 1 - first.mean() < 0.6
    assert first.equal(same) and not first.equal(other)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("beard", (slice(195, 235), slice(95, 160))),
        ("moustache", (slice(165, 186), slice(100, 156))),
        ("glasses", (slice(95, 145), slice(75, 180))),
        ("open_mouth", (slice(178, 220), slice(100, 156))),
        ("old", (slice(60, 95), slice(90, 166))),
    ],
)
def test_what_a_face_has_is_drawn(labels, name, part):
    assert mean_ink(labels, part, **{name: 1}) > 1.15 * mean_ink(labels, part)


def test_an_open_mouth_that_does_not_smile_is_often_round(labels):
    """The corners of the lips are then empty, as they never are of a mouth that laughs."""
    corners = (slice(170, 205), [*range(100, 113), *range(143, 156)])
    ink = {smile: mean_ink(labels, corners, open_mouth=1, smile=smile) for smile in (0, 1)}
    assert ink[0] < 0.85 * ink[1]


def test_a_bald_head_is_empty(labels):
    top = (slice(20, 75), slice(80, 176))
    assert mean_ink(labels, top, bald=1) < 0.6 * mean_ink(labels, top)


def test_unknown_attributes_are_not_drawn(labels):
    unknown = Facts(labels, np.full(len(ATTRIBUTES), np.nan, np.float32))
    known = facts(labels, smile=math.nan)
    assert write_drawing(unknown, np.random.default_rng(0)).equal(write_drawing(known, np.random.default_rng(0)))


@pytest.mark.parametrize("number", [0, 1, 13])
def test_maps_without_parts_can_be_drawn(number):
    empty = np.full((256, 256), number, np.uint8)
    for seed in range(5):
        said = dict.fromkeys(ATTRIBUTES, float(seed % 2))
        assert torch.isfinite(write_drawing(facts(empty, **said), np.random.default_rng(seed))).all()


def test_parts_are_where_the_map_has_them(labels):
    face = Face(facts(labels))
    nose = face.place("nose")
    assert abs(nose.x - 0.5) < 0.01 and abs(nose.y - 147.5 / 256) < 0.01
    assert face.boxes["hat"] is None
    assert abs(face.outline[0] * 256 - 68) < 5 and face.hair_reach[54] > face.outline[54]  # 54: straight up


@pytest.fixture
def heads() -> AttributesFromW:
    """Of 16 numbers the first ones are the attributes."""
    weight = torch.eye(16)[: len(ATTRIBUTES)] * 4
    return AttributesFromW(weight, torch.full((len(ATTRIBUTES),), -2.0), torch.eye(16)[: len(ATTRIBUTES)])


def test_w_is_moved_until_the_heads_say_what_is_wanted(heads):
    wanted = torch.full((len(ATTRIBUTES),), math.nan)
    wanted[2], wanted[5] = 3.0, -4.0
    moved = heads.moved(torch.zeros(16), wanted)
    assert heads(moved)[[2, 5]].tolist() == pytest.approx([3, -4], abs=0.05)
    assert heads(moved)[[0, 1, 3, 4]].tolist() == [-2] * 4


def test_the_loss_counts_what_is_said_alone(heads):
    class Mean:
        w_avg = torch.zeros(16)

    loss = AttributeLoss(heads, Mean())
    delta, said = torch.zeros(2, 3, 16, requires_grad=True), torch.full((2, len(ATTRIBUTES)), math.nan)
    assert loss(delta, said) == 0
    said[0, 2] = 1
    value = loss(delta, said)
    assert value.item() == pytest.approx(math.log(1 + math.exp(2)))
    value.backward()
    assert delta.grad[1].abs().max() == 0 and delta.grad[0, :, 2].max() < 0 and delta.grad[0, :, 3].abs().max() == 0


@pytest.fixture
def stroke_data(pairs_dir, labels, tmp_path):
    """Label maps and attributes of the tiny pairs."""
    store = PairStore([pairs_dir])
    (tmp_path / "labels").mkdir()
    write_tar(tmp_path / "labels/labels-0.tar", store.indices, [Image.fromarray(labels)] * len(store), quality=None)
    torch.manual_seed(0)
    w_dim, number = store.w_shape[0], len(ATTRIBUTES)
    values = torch.zeros(len(store), number)
    values[::4, 0] = 1
    tensors = {"index": torch.tensor(store.indices), "values": values, "bias": torch.zeros(number)}
    weight = torch.randn(number, w_dim)
    save_file(tensors | {"weight": weight, "vectors": weight.clone()}, tmp_path / "attributes.safetensors")
    return store, tmp_path / "labels", tmp_path / "attributes.safetensors"


def test_edited_pairs_have_what_they_say(stroke_data):
    store, folder, file = stroke_data
    maps = LabelMaps([folder])
    part = StrokePairs(store, maps, file, list(range(len(store))), repeats=3, edited_share=1.0)
    assert len(part) == 3 * (len(store) + len(store) // 4)  # a quarter has glasses, and is there twice as often
    beard, woman = NUMBERS["beard"], NUMBERS["woman"]
    targets = part.get_many(list(range(len(part))))
    bearded = [target for target in targets if target.hint.attributes[beard] == 1]
    assert 0.1 < len(bearded) / len(part) < 0.5
    odds = torch.stack([part.network(target.w) for target in bearded])
    assert (odds[:, beard] > 0).float().mean() > 0.8 and (odds[:, woman] < 0).float().mean() > 0.8
    mouth = NUMBERS["open_mouth"]  # no face of the fixture has one open
    opened = [target for target in targets if target.hint.attributes[mouth] == 1]
    assert 0.15 < len(opened) / len(part) < 0.45
    assert (torch.stack([part.network(target.w)[mouth] for target in opened]) > 0).float().mean() > 0.8
    hair = NUMBERS["long_hair"]  # no face of the fixture has it, and men get it with a beard alone
    hairy = [target for target in targets if target.hint.attributes[hair] == 1]
    assert 0 < len(hairy) < len(bearded) and all(target.hint.attributes[beard] == 1 for target in hairy)
    odds = torch.stack([part.network(target.w) for target in hairy])
    assert (odds[:, hair] > 0).float().mean() > 0.8 and (odds[:, woman] < 0).float().mean() > 0.8
    assert part.get(3).w.equal(targets[3].w)
    plain = StrokePairs(store, maps, file, [5], edited_share=0.0).get(0)
    assert plain.w.equal(store[5][1]) and plain.hint.attributes.tolist() == part.values[store.indices[5]].tolist()


def test_children_get_no_beard(stroke_data):
    store, folder, file = stroke_data
    tensors = load_file(file)
    tensors["bias"][NUMBERS["old"]] = -100  # all of them are children
    save_file(tensors, file)
    part = StrokePairs(store, LabelMaps([folder]), file, list(range(len(store))), repeats=3, edited_share=1.0)
    said = torch.stack([torch.as_tensor(t.hint.attributes) for t in part.get_many(list(range(len(part))))])
    assert said[:, NUMBERS["hat"]].max() == 1
    assert said[:, [NUMBERS[name] for name in ("beard", "moustache", "long_hair")]].max() == 0


def test_stroke_drawings_join_the_pairs(stroke_data, pairs_dir, generator_dir):
    _, folder, file = stroke_data
    generator = load_generator(generator_dir)

    def load(task: str, *flags: object):
        words = ["--task", task, "--output_dir", "x", "--pairs_dir", pairs_dir, "--num_validation_pairs", 4, *flags]
        return load_data(parse(TrainingSettings, list(map(str, words))), TASKS[task], generator)

    loaded = load("sketch", "--attributes", file, "--label_maps_dir", folder)
    assert loaded.description["stroke drawings"] == 20 and len(loaded.training) == 36
    traced, written = loaded.data[0, 0], loaded.data[0, 20]
    assert traced["said"].isnan().all() and not written["said"].isnan().any()
    assert written["is_symbols"] and not traced["is_symbols"]
    assert written["input"].shape == (1, 256, 256) and written["has_w"]
    with pytest.raises(ValueError, match="needs --pairs_dir and --label_maps_dir"):
        load("sketch", "--attributes", file)
    with pytest.raises(ValueError, match="whose inputs are drawings"):
        load("inversion", "--attributes", file, "--label_maps_dir", folder)

"""training.evaluation.attributes: what is read from a face."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from psp_hub.face_parser import FaceParser
from training.evaluation.attributes import HEADS, NUMBERS, WINDOWS, AttributeReader, attributes, hair_below_mouth
from training.evaluation.strokes import ATTRIBUTES

NOTHING = dict.fromkeys(WINDOWS, False)


def face(**areas: tuple[slice, slice]) -> torch.Tensor:
    """A label map of skin with some parts."""
    labels = torch.full((256, 256), NUMBERS["skin"], dtype=torch.uint8)
    for name, area in areas.items():
        labels[area] = NUMBERS[name]
    return labels


def test_the_label_map_tells_mouths_and_hair():
    plain = attributes(face(), NOTHING)
    assert plain.keys() == set(ATTRIBUTES) and [name for name, seen in plain.items() if seen] == ["man"]
    assert attributes(face(hair=(slice(0, 40), slice(0, 256))), NOTHING)["short hair"]
    long = attributes(face(hair=(slice(0, 256), slice(0, 70))), NOTHING)
    assert long["long hair"] and not long["short hair"]
    chin = attributes(face(hair=(slice(0, 256), slice(0, 25))), NOTHING)  # a tenth of what is below the mouth
    assert not chin["long hair"] and not chin["short hair"]
    assert attributes(face(glasses=(slice(100, 130), slice(60, 190))), NOTHING)["glasses"]
    assert attributes(face(mouth=(slice(180, 200), slice(100, 150))), NOTHING)["open mouth"]


def test_the_heads_tell_the_rest():
    for name in ("beard", "moustache", "smile", "woman", "glasses", "hat", "bald"):
        assert attributes(face(), NOTHING | {name: True})[name] and not attributes(face(), NOTHING)[name]
    assert not attributes(face(), NOTHING | {"woman": True})["man"]


def test_nobody_is_bald_below_a_hat_or_beside_long_hair():
    bald = NOTHING | {"bald": True}
    assert attributes(face(hair=(slice(0, 40), slice(0, 256))), bald)["bald"]  # a little at the sides
    assert not attributes(face(hair=(slice(0, 40), slice(0, 256))), bald)["short hair"]
    assert not attributes(face(), bald | {"hat": True})["bald"]
    assert not attributes(face(hair=(slice(0, 256), slice(0, 70))), bald)["bald"]


def test_hair_counts_below_the_mouth_wherever_that_is():
    hair = (slice(0, 128), slice(0, 256))
    assert hair_below_mouth(face(hair=hair)) == 0
    high = face(hair=hair)
    high[60:70, 100:150] = NUMBERS["u_lip"]
    assert hair_below_mouth(high) == pytest.approx((128 - 64) / 192, abs=0.01)


def test_each_head_looks_at_its_part_of_the_face():
    features = torch.zeros(1, 2, 16, 16)
    features[0, 0, 12, 8] = 1  # the mouth
    assert WINDOWS["beard"](features).shape == (1, 2 * 12) and WINDOWS["beard"](features).any()
    assert not WINDOWS["glasses"](features).any() and WINDOWS["woman"](features).any()


def test_a_face_is_read_as_the_heads_say():
    reader, parser = AttributeReader.from_file(), FaceParser.from_starter()
    images = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0)) * 2 - 1
    read, heads = reader.read(images), load_file(HEADS)
    with torch.no_grad():
        features = parser.trunk(images)[-1]
    for i, seen in enumerate(read):
        score = WINDOWS["smile"](features[i : i + 1])[0] @ heads["smile.weight"].float() + heads["smile.bias"]
        assert seen["smile"] == (score.item() > 0)
        assert seen["man"] != seen["woman"]
    assert reader.read(images[1:]) == read[1:]


def test_heads_of_another_parser_are_refused(tmp_path):
    heads = load_file(HEADS)
    heads["smile.weight"] = heads["smile.weight"][:10].clone()
    save_file(heads, tmp_path / "heads.safetensors")
    with pytest.raises(ValueError, match="'smile.weight': 10.*expected"):
        AttributeReader.from_file(tmp_path / "heads.safetensors")

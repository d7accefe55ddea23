"""training.recipes.measure_attributes: what is told from pictures and maps, and the heads that learn it."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from psp_hub.latents import random_z
from training.data.pairs import write_shard, write_tar
from training.networks.attributes import AttributesFromW
from training.recipes.measure_attributes import (
    LOOKED_AT,
    MEASURES,
    area_under_curve,
    between,
    effects,
    find_moustaches,
    fit_head,
    main,
    measure_face,
    parse_args,
)
from training.strokes import ATTRIBUTES


def face(beard: float) -> tuple[torch.Tensor, np.ndarray]:
    """A grey face with two eyes, a nose and a mouth, and a darker chin."""
    labels = np.zeros((256, 256), np.uint8)
    labels[20:60, 70:186] = 13
    labels[60:240, 70:186] = 1
    for number, part in ((4, np.s_[110:120, 85:110]), (5, np.s_[110:120, 146:171]), (2, np.s_[125:160, 115:141])):
        labels[part] = number
    labels[180:196, 100:156] = 11
    image = torch.full((3, 256, 256), 0.4)
    image[:, 165:] -= 2 * beard
    return image, labels


def test_a_beard_is_darker_than_the_cheeks():
    shaven, bearded = (dict(zip(MEASURES, measure_face(*face(dark)), strict=True)) for dark in (0.0, 0.2))
    assert shaven["chin"] == pytest.approx(0, abs=1e-6)
    assert bearded["chin"] == pytest.approx(0.2 / 0.7, rel=1e-3) == pytest.approx(bearded["jaw"], rel=1e-3)
    assert shaven["hair"] == pytest.approx(40 * 116 / 65536) and shaven["hat"] == shaven["low_hair"] == 0


def test_without_a_mouth_nothing_else_is_measured():
    image, labels = face(0.0)
    labels[labels == 11] = 1
    assert np.isnan(measure_face(image, labels)[4:]).all()


def test_values_between_are_unknown():
    assert between(torch.tensor([0.0, 0.5, 1.0, float("nan")]), 0.2, 0.7).nan_to_num(-1).tolist() == [0, -1, 1, -1]


def test_heads_and_effects_find_the_direction():
    torch.manual_seed(0)
    x = torch.randn(600, 8)
    target = (x[:, 3] > 0.5).float()
    target[::7] = float("nan")
    head = fit_head(x, target, 1e-3)
    assert head[:-1].argmax() == 3 and area_under_curve(x @ head[:-1], target) > 0.99
    assert area_under_curve(-x[:, 3], target) < 0.01
    assert effects(x, target[:, None])[0].argmax() == 3


def test_women_have_no_moustache():
    torch.manual_seed(0)
    x, woman = torch.randn(400, 8), torch.rand(400)
    found = find_moustaches(x, x[:, 0], woman, x[:, 1])
    assert (found[woman > 0.7] == 0).all() and not (found[woman > 0.5] == 1).any()
    assert x[found == 1, 0].mean() > 1


@pytest.mark.slow
def test_from_pairs_to_heads(default_generator, portrait, artists_dir, recogniser_file, tmp_path, capsys):
    """Glasses that the label maps have are read from w, along which they were put on."""
    looked_at = json.loads(LOOKED_AT.read_text())
    indices = sorted(looked_at["beard"][:20] + looked_at["none"][:60])
    z = torch.cat([random_z(1, 512, seed=i) for i in indices])
    with torch.no_grad():
        w = default_generator.mapping(z)
    has_glasses = w[:, 0] > w[:, 0].median()
    maps = [face(0.0)[1] for _ in indices]
    for labels, wears in zip(maps, has_glasses, strict=True):
        labels[98:110, 80:176] = 3 if wears else 1
    pairs, folder = tmp_path / "pairs", tmp_path / "labels"
    pairs.mkdir()
    folder.mkdir()
    images = torch.stack([torch.from_numpy(np.array(portrait(256, i))) for i in range(len(indices))])
    write_shard(pairs, 0, images.permute(0, 3, 1, 2) / 127.5 - 1, w, indices)
    write_tar(folder / "labels-0.tar", indices, [Image.fromarray(labels) for labels in maps], None)
    words = ["--pairs_dir", pairs, "--label_maps_dir", folder, "--drawings_dir", artists_dir]
    words += ["--recogniser", recogniser_file, "--output", tmp_path / "attributes.safetensors"]
    main(parse_args([str(word) for word in words]))
    written = load_file(tmp_path / "attributes.safetensors")
    glasses = ATTRIBUTES.index("glasses")
    assert written["index"].tolist() == indices
    assert written["values"][:, glasses].tolist() == has_glasses.float().tolist()
    heads = AttributesFromW.from_file(tmp_path / "attributes.safetensors")
    assert ((heads(w)[:, glasses] > 0) == has_glasses).float().mean() > 0.9
    assert "glasses: 0.500 of the pairs have it" in capsys.readouterr().out

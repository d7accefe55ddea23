"""psp_hub.demo.mix.recipes: what an edited face is made of, written down and read again."""

import json

import numpy as np
import pytest
import torch

from psp_hub import latents
from psp_hub.demo.mix.recipes import MAX_PSI, Painter, Recipe, from_json, from_link, source_ws, to_json, to_link
from psp_hub.directions import Direction
from psp_hub.generators.mobile_stylegan import MobileStyleGAN

SMILE = Direction("smile", "serious … smiling", torch.randn(1, 32), -2.0, 3.0, ("medium",))
OWN = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
SEEDED = Recipe(5, {"coarse": 7, "fine": 4294967295}, {"coarse": 0.3}, 0.85, {"smile": 1.25})
UNSEEDED = Recipe(OWN, {"medium": OWN[::-1].copy()}, {"medium": 1 / 3}, 1.1, {"smile": -0.1})


@pytest.fixture
def painter(tiny_generator: MobileStyleGAN) -> Painter:
    return Painter(tiny_generator, "tiny", {"smile": SMILE})


def test_what_each_part_does(painter, tiny_generator):
    def ws(recipe: Recipe) -> torch.Tensor:
        return recipe.ws(painter.generator, painter.directions)

    plain, other = source_ws(tiny_generator, 5), source_ws(tiny_generator, 7)
    assert torch.equal(ws(Recipe(5)), plain) and not torch.equal(plain, other)
    mixed = ws(Recipe(5, {"coarse": 7}))
    assert torch.equal(mixed[:, :3], other[:, :3]) and torch.equal(mixed[:, 3:], plain[:, 3:])
    half = ws(Recipe(5, {"coarse": 7}, {"coarse": 0.5}))
    assert torch.allclose(half[:, :3], (plain + other)[:, :3] / 2)
    assert torch.equal(ws(Recipe(5, truncation_psi=0)), tiny_generator.w_avg.expand_as(plain))
    far = ws(Recipe(5, truncation_psi=MAX_PSI))
    assert torch.allclose(far - tiny_generator.w_avg, MAX_PSI * (plain - tiny_generator.w_avg), atol=1e-5)
    moved = ws(Recipe(5, steps={"smile": 2.0})) - plain
    medium = latents.style_indices("medium", 8)
    assert torch.allclose(moved[0, medium], 2 * SMILE.vector.expand(4, -1), atol=1e-5)
    assert moved.abs().sum(dim=(0, 2)).nonzero().flatten().tolist() == medium
    assert torch.equal(ws(Recipe(OWN)), torch.from_numpy(OWN)[None])


@pytest.mark.parametrize("recipe", [Recipe(), SEEDED, UNSEEDED], ids=["plain", "seeded", "unseeded"])
def test_written_down_and_read_again(painter, recipe):
    expected = recipe.ws(painter.generator, painter.directions)
    assert torch.equal(
        from_json(to_json(recipe, painter), painter).ws(painter.generator, painter.directions), expected
    )
    link = to_link(recipe, painter)
    assert recipe.is_seeded == bool(link)
    if link:
        assert len(link) < 300 and set(link.replace("-", "").replace("_", "")) <= set(map(chr, range(48, 123)))
        assert torch.equal(from_link(link, painter).ws(painter.generator, painter.directions), expected)


def test_styles_of_another_generator(painter):
    with pytest.raises(ValueError, match="another painter: its numbers are 16 x 512, expected 8 x 32"):
        Recipe(np.zeros((16, 512), np.float32)).ws(painter.generator, painter.directions)


BAD = {
    "not valid JSON": b"\xff{",
    "no saved face: it does not say": "[]",
    "version 2, expected 1": {"version": 2},
    "belongs to another painter: 'other', expected 'tiny'": {"generator": "other"},
    "has 'nose', expected only": {"nose": 1},
    "cannot be read: True": {"start": True},
    "cannot be read: -1": {"start": -1},
    "cannot be read: 4294967296": {"start": 2**32},
    "cannot be read: None": {"start": None},
    "cannot be read: {'shape': \\[2, 2\\], 'float32': 'AAAA'": {"start": {"shape": [2, 2], "float32": "AAAA"}},
    "cannot be read: {'shape': \\[1, 1\\], 'float32': 'AADAfw=='": {"start": {"shape": [1, 1], "float32": "AADAfw=="}},
    "has parts {'nose': 1}, expected some of: coarse, medium, fine": {"parts": {"nose": 1}},
    "has parts \\[\\], expected": {"parts": []},
    "has 2 as the strength of fine, expected a number from 0 to 1": {"strengths": {"fine": 2}},
    "has nan as truncation_psi, expected a number from 0 to 1.4": {"truncation_psi": float("nan")},
    "has 4 as the step of smile, expected a number from -2 to 3": {"steps": {"smile": 4}},
    "has steps {'frown': 1}, expected some of: smile": {"steps": {"frown": 1}},
    "it has 1000001 bytes": " " * 1_000_001,
}


@pytest.mark.parametrize(("message", "change"), BAD.items(), ids=[str(i) for i in range(len(BAD))])
def test_bad_file(painter, message, change):
    text = json.dumps(json.loads(to_json(SEEDED, painter)) | change) if isinstance(change, dict) else change
    with pytest.raises(ValueError, match=message):
        from_json(text, painter)


def test_bad_link(painter):
    link = to_link(SEEDED, painter)
    for text in ("", "a", "face", "ä", link[:-8], link + "%", to_link(Recipe(), painter).swapcase()):
        with pytest.raises(ValueError, match="The link to this face is damaged or incomplete"):
            from_link(text, painter)

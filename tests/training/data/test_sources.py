"""training.data.sources: what goes in, made from what is to come out."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.images.preprocessing import images_to_tensor
from psp_hub.tasks import TASKS
from training.data.sources import MAX_MISSING, SOURCES, degradation, drawing, flip, labels, mask, missing_part


@pytest.fixture(scope="module")
def image(portrait) -> Tensor:
    return images_to_tensor([portrait(256, 3)])[0]


@pytest.fixture(scope="module")
def label_map() -> Tensor:
    return torch.arange(16, dtype=torch.uint8).repeat_interleave(16)[:, None].expand(256, 256).contiguous()


@pytest.mark.parametrize("name", TASKS)
def test_the_source_of_every_task(image, label_map, name):
    def make(seed: int) -> Tensor:
        hint = label_map if task.source == "labels" else None
        return SOURCES[task.source](image, np.random.default_rng(seed), hint, **task.source_options)

    task, before = TASKS[name], image.clone()
    sources = [make(seed) for seed in (0, 2)]
    low = -1 if task.input_kind in ("photo", "masked") else 0
    for source in sources:
        assert source.shape == (task.in_channels, 256, 256)
        assert source.dtype == (torch.uint8 if task.source == "labels" else torch.float32)
        assert low <= source.min() and source.max() <= 1
    assert torch.equal(make(0), sources[0])
    assert torch.equal(*sources) == (name == "inversion")
    assert torch.equal(image, before)


def test_a_flip_is_the_picture_or_its_mirror_image(image):
    sources = [flip(image, np.random.default_rng(seed)) for seed in range(40)]
    kept = sum(torch.equal(source, image) for source in sources)
    assert kept + sum(torch.equal(source, image.flip(-1)) for source in sources) == 40
    assert 10 <= kept <= 30


def test_gentle_drawings(image):
    """Nothing is displaced in them: three in ten are the grey photo itself."""
    grey = (0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2] + 1) / 2

    def count(gentle: bool, number: int) -> int:
        made = [drawing(image, np.random.default_rng(seed), None, gentle)[0] for seed in range(number)]
        return sum(torch.allclose(one, grey, atol=1e-5) for one in made)

    assert 1 <= count(gentle=True, number=8) <= 6 and count(gentle=False, number=3) == 0


# Super-resolution


@pytest.mark.parametrize("factor", [1, 2, 8, 32])
def test_degradation_against_the_filters_of_torch(image, factor):
    source = degradation(image, np.random.default_rng(0), factors=(factor,))
    small = F.interpolate(image[None], size=256 // factor, mode="bicubic", antialias=True).clamp(-1, 1)
    expected = F.interpolate(small, size=256, mode="bilinear")[0]
    assert (source - expected).abs().max() < 3 / 127.5  # both pictures are rounded to bytes


def test_all_factors_are_drawn(portrait):
    image = images_to_tensor([portrait(64)])[0]
    factors = TASKS["super-resolution"].source_options["factors"]
    known = [degradation(image, np.random.default_rng(0), factors=(factor,)) for factor in factors]
    drawn = [degradation(image, np.random.default_rng(seed), factors=factors) for seed in range(30)]
    assert all(any(torch.equal(one, source) for source in drawn) for one in known)
    assert all(any(torch.equal(one, source) for one in known) for source in drawn)


@pytest.mark.parametrize("option", ["blur_share", "jpeg_share"])
def test_blur_and_jpeg_are_further_damage(image, option):
    def error(share: float) -> float:
        source = degradation(image, np.random.default_rng(1), factors=(2,), **{option: share})
        return (source - image).square().mean().item()

    assert error(1.0) > 1.1 * error(0.0)


# Inpainting


def test_a_mask_takes_a_part_away(image):
    source = mask(image, np.random.default_rng(5))
    missing = source[3] == 1
    assert torch.equal(missing, source[3] != 0)
    assert (source[:3, missing] == 0).all()
    assert torch.equal(source[:3, ~missing], image[:, ~missing])


def test_missing_parts_of_many_sizes():
    shares = [missing_part(np.random.default_rng(seed), 64, 64).mean().item() for seed in range(100)]
    assert 0 < min(shares) < 0.05 and 0.5 < max(shares) <= MAX_MISSING
    assert missing_part(np.random.default_rng(0), 40, 64).shape == (1, 64, 40)


# Segmentation


def test_label_maps(label_map):
    exact = labels(None, np.random.default_rng(0), label_map, gentle=True)
    assert torch.equal(exact.argmax(dim=0), label_map.long()) and (exact.sum(dim=0) == 1).all()
    painted = [labels(None, np.random.default_rng(seed), label_map) for seed in range(2)]
    assert all((one.sum(dim=0) == 1).all() for one in painted)
    assert any(not torch.equal(one, exact) for one in painted)


def test_label_maps_must_be_there(image):
    with pytest.raises(ValueError, match="needs a stored label map of each picture, got none"):
        labels(image, np.random.default_rng(0))

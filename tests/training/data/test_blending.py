"""training.data.blending: the features of one face in the head of another."""

import numpy as np
import pytest
import torch

from training.data.blending import PARTS, Blend, difference, in_colours_of, part_mask


def pictures(count: int) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(count)
    coarse = torch.rand(count, 3, 8, 8, generator=rng) * 2 - 1
    return list(torch.nn.functional.interpolate(coarse, size=64, mode="bilinear"))


def blend(image: torch.Tensor, others: list[torch.Tensor], rng: np.random.Generator) -> torch.Tensor:
    chosen = Blend.draw(image, others, rng)
    return chosen.of_images(image, others[chosen.other])


def test_what_is_not_a_feature_stays_as_it_is():
    image, *others = pictures(4)
    blended = blend(image, others, np.random.default_rng(0))
    changed = (blended - image).abs().amax(dim=0)  # [64, 64]
    assert changed[:10].max() < 1e-4 and changed[:, :8].max() < 1e-4 and changed[:, -8:].max() < 1e-4
    assert changed[26:46, 26:38].max() > 0.1 and blended.abs().max() <= 1


def test_parts_of_the_features():
    whole, upper, lower = (part_mask(64, part) for part in PARTS)
    torch.testing.assert_close(upper + lower, whole)
    assert whole[36, 32] > 0.99 and whole[0].max() < 1e-3
    assert upper[28, 32] > 10 * lower[28, 32] and lower[46, 32] > 10 * upper[46, 32]


def test_the_face_that_lies_most_alike_is_taken():
    """Of another face and the mirror image of the same, darker, the latter; and in the colours of the picture."""
    image, other = pictures(2)
    same = image.flip(-1) * 0.4 - 0.3
    mask = part_mask(64, "all")
    assert difference(image, same.flip(-1), mask) < 1e-3 < difference(image, other, mask)
    for seed in range(6):  # each part
        blended = blend(image, [other, same], np.random.default_rng(seed))
        torch.testing.assert_close(blended, image, rtol=0, atol=1e-3)


def test_colours():
    image, other = pictures(2)
    mask = part_mask(64, "upper")
    result = in_colours_of(other, image, mask)
    for channel in range(3):
        weights = mask.flatten().numpy()
        for statistic in (np.average, lambda x, weights: np.cov(x, aweights=weights)):
            values = [statistic(picture[channel].flatten().numpy(), weights=weights) for picture in (result, image)]
            assert values[0] == pytest.approx(values[1], abs=1e-4)


def test_lines_come_from_the_same_face_wholly():
    """Where the mask is 1, the drawing is the other one's, mirrored as its photo; where it is 0, its own."""
    image, other = pictures(2)
    chosen = Blend.draw(image, [image * -1, other.flip(-1), image.flip(-1)], np.random.default_rng(2))
    assert (chosen.other, chosen.is_mirrored) == (2, True)
    drawing, theirs = torch.zeros(1, 64, 64), torch.linspace(0, 1, 64).expand(1, 64, 64)
    mixed = chosen.of_sources(drawing, theirs)
    assert torch.equal(mixed, theirs.flip(-1) * chosen.mask) and chosen.mask.max() > 0.9

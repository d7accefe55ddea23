"""Faces of two people made into one: somebody whom no photo shows, so that an encoder knows more people than photos.

Aligned photos have eyes and mouth in about the same places. So the features of one, or its eyes or its mouth alone,
fit into the head of another, in the colours of that.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.face_weights import feature_mask

PARTS = ("all", "upper", "lower")  # of the features: brows to chin, eyes and brows, mouth and chin
LEAST = 0.6  # part of the other face
MIDDLE = 0.58  # where upper and lower features meet, in parts of the side: on the nose
COMPARED = 16  # pixels a side, when faces are compared


def blend(image: Tensor, others: Sequence[Tensor], rng: np.random.Generator) -> Tensor:
    """The picture with features of another one.

    Args:
        image: [3, size, size] in [-1, 1], an aligned face.
        others: pictures of that shape, of which the one whose features lie most alike is taken, as it is or mirrored.

    Returns:
        [3, size, size].
    """
    size = image.shape[-1]
    mask = part_mask(size, "all")
    candidates = [candidate for other in others for candidate in (other, other.flip(-1))]
    other = min(candidates, key=lambda candidate: difference(image, candidate, mask))
    mask = part_mask(size, PARTS[rng.integers(len(PARTS))]) * rng.uniform(LEAST, 1)
    return torch.lerp(image, in_colours_of(other, image, mask), mask).clamp(-1, 1)


def part_mask(size: int, part: str) -> Tensor:
    """Where a part of the features of an aligned face is, [size, size]: 1 in the middle, falling to 0 around it.

    Args:
        part: one of `PARTS`.
    """
    mask = feature_mask(size)
    if part == "all":
        return mask
    y = (torch.arange(size) + 0.5) / size
    below = torch.sigmoid((y - MIDDLE) * 40)[:, None]  # from 0 to 1 within a tenth of the side
    return mask * (below if part == "lower" else 1 - below)


def difference(image: Tensor, other: Tensor, mask: Tensor) -> float:
    """How much the features differ in what is light and dark, whatever their contrast; 0 to 2."""
    grey = torch.stack([image.mean(dim=0), other.mean(dim=0), mask])
    one, two, weight = F.adaptive_avg_pool2d(grey, COMPARED)
    one, two = (values - (values * weight).sum() / weight.sum() for values in (one, two))
    length = ((one.square() * weight).sum() * (two.square() * weight).sum()).sqrt()
    return 1 - ((one * two * weight).sum() / length.clamp(min=1e-6)).item()


def in_colours_of(other: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """`other` with the mean and the spread that the colours of `image` have where the mask is."""
    total = mask.sum().clamp(min=1e-6)

    def statistics(picture: Tensor) -> tuple[Tensor, Tensor]:
        mean = (picture * mask).sum(dim=(1, 2), keepdim=True) / total
        variance = ((picture - mean).square() * mask).sum(dim=(1, 2), keepdim=True) / total
        return mean, variance.sqrt()

    (mean, spread), (wanted_mean, wanted_spread) = statistics(other), statistics(image)
    return wanted_mean + (other - mean) * (wanted_spread / spread.clamp(min=1e-3))

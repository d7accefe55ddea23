"""Faces of two people made into one: somebody whom no photo shows, so that an encoder knows more people than photos.

Aligned photos have eyes and mouth in about the same places. So the features of one, or its eyes or its mouth alone,
fit into the head of another, in the colours of that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.face_weights import feature_mask

PARTS = ("all", "upper", "lower")  # of the features: brows to chin, eyes and brows, mouth and chin
LEAST = 0.6  # part of the other face
MIDDLE = 0.58  # where upper and lower features meet, in parts of the side: on the nose
COMPARED = 16  # pixels a side, when faces are compared


@dataclass(frozen=True)
class Blend:
    """Which features of whom one picture gets.

    Args:
        other: number of the other picture.
        is_mirrored: whether its mirror image is taken.
        mask: where its features go, [size, size], 0 to 1.
        share: how much of them, 0 to 1.
    """

    other: int
    is_mirrored: bool
    mask: Tensor
    share: float

    @classmethod
    def draw(cls, image: Tensor, others: Sequence[Tensor], rng: np.random.Generator) -> "Blend":
        """Any features of the picture whose features lie most alike, as it is or mirrored.

        Args:
            image: [3, size, size] in [-1, 1], an aligned face.
            others: pictures of that shape.
        """
        size = image.shape[-1]
        mask = part_mask(size, "all")
        ways = [(i, is_mirrored) for i in range(len(others)) for is_mirrored in (False, True)]
        other, is_mirrored = min(ways, key=lambda way: difference(image, turned(others[way[0]], way[1]), mask))
        return cls(other, is_mirrored, part_mask(size, PARTS[rng.integers(len(PARTS))]), rng.uniform(LEAST, 1))

    def of_images(self, image: Tensor, other: Tensor) -> Tensor:
        """The picture [3, size, size] with features of the other one, in its own colours."""
        mask, other = self.mask * self.share, turned(other, self.is_mirrored)
        return torch.lerp(image, in_colours_of(other, image, mask), mask).clamp(-1, 1)

    def of_sources(self, source: Tensor, other: Tensor) -> Tensor:
        """The same of what goes in, [C, size, size]; of drawings wholly, for half of a line belongs to nobody."""
        if len(source) == 3:
            return self.of_images(source, other)
        return torch.lerp(source, turned(other, self.is_mirrored), self.mask)


def turned(picture: Tensor, is_mirrored: bool) -> Tensor:
    return picture.flip(-1) if is_mirrored else picture


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

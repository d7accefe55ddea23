"""Faces of two people made into one: somebody whom no photo shows, so that an encoder knows more people than photos.

Aligned photos have eyes and mouth in about the same places. So the features of one, or its eyes or its mouth alone,
fit into the head of another, in the colours of that.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.face_weights import CENTRE, RADII

PARTS = ("all", "upper", "lower")  # of the features: brows to chin, eyes and brows, mouth and chin
LEAST = 0.6  # part of the other face
MIDDLE = 0.58  # where upper and lower features meet, in parts of the side: on the nose
COMPARED = 16  # pixels a side, when faces are compared


def blend(image: Tensor, others: Sequence[Tensor], rng: np.random.Generator) -> Tensor:
    """The picture with features of another one.

    Args:
        image: [3, H, W] in [-1, 1], an aligned face.
        others: pictures of that shape, of which the one whose features lie most alike is taken, as it is or mirrored.

    Returns:
        [3, H, W].
    """
    mask = feature_mask(image.shape[1:], "all").to(image)
    candidates = [candidate for other in others for candidate in (other, other.flip(-1))]
    other = min(candidates, key=lambda candidate: difference(image, candidate, mask))
    mask = feature_mask(image.shape[1:], PARTS[rng.integers(len(PARTS))]).to(image) * rng.uniform(LEAST, 1)
    return torch.lerp(image, in_colours_of(other, image, mask), mask).clamp(-1, 1)


def feature_mask(size: Sequence[int], part: str) -> Tensor:
    """Where the features of an aligned face are, [1, H, W]: 1 in the middle, falling to 0 around them.

    Args:
        part: one of `PARTS`.
    """
    height, width = size
    y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    squared = ((x - CENTRE[0]) / RADII[0]) ** 2 + ((y - CENTRE[1]) / RADII[1]) ** 2  # 1 on an ellipse
    mask = torch.exp(-(squared**2))
    if part != "all":
        below = torch.sigmoid((y - MIDDLE) * 40)  # from 0 to 1 within a tenth of the side
        mask = mask * (below if part == "lower" else 1 - below)
    return mask[None]


def difference(image: Tensor, other: Tensor, mask: Tensor) -> float:
    """How much the features differ in what is light and dark, whatever their contrast; 0 to 2."""
    grey = torch.stack([image.mean(dim=0), other.mean(dim=0), mask[0]])
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

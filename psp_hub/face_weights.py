"""Where in an aligned picture people look: the features, from brows to chin, which say who it is."""

import torch
from torch import Tensor

CENTRE, RADII = (0.5, 0.56), (0.2, 0.24)  # x and y, in parts of a side of an aligned picture


def face_weights(size: int, strength: float) -> Tensor:
    """How much each pixel of an aligned picture counts, [1, 1, size, size]; 1 on average.

    Args:
        strength: how much more the middle of the face counts than the border of the picture: 0 the same, 1 twice.

    Raises:
        ValueError: a strength below 0.
    """
    if not strength >= 0:
        raise ValueError(f"the strength of the face is {strength}, expected 0 or more")
    weights = 1 + strength * feature_mask(size)  # [size, size]
    return (weights / weights.mean())[None, None]


def feature_mask(size: int) -> Tensor:
    """Where the features of an aligned face are, [size, size]: 1 in the middle, falling to 0 around them."""
    places = (torch.arange(size) + 0.5) / size
    x, y = ((places - centre) / radius for centre, radius in zip(CENTRE, RADII, strict=True))
    squared = x[None, :] ** 2 + y[:, None] ** 2  # [size, size], 1 on an ellipse
    return torch.exp(-(squared**2))  # flat in the middle, steep at the ellipse

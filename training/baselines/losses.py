"""The losses of the game, on what discriminators say of several scales (`DiscriminatorOutput`)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from training.baselines.discriminators import DiscriminatorOutput


def discriminator_loss(real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput]) -> Tensor:
    """Hinge loss (Lim and Ye 2017), []: max(0, 1 - D(real)) + max(0, 1 + D(fake)), mean over patches and scales."""
    parts = [F.relu(1 - a.score).mean() + F.relu(1 + b.score).mean() for a, b in zip(real, fake, strict=True)]
    return torch.stack(parts).mean()


def generator_loss(fake: Sequence[DiscriminatorOutput]) -> Tensor:
    """-D(fake), mean over scales, []."""
    return -torch.stack([judged.score.mean() for judged in fake]).mean()


def feature_matching(real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput]) -> Tensor:
    """Mean difference of the features of all layers, those of the real pictures held fixed, [].

    pix2pixHD, equation 4: the sum over layers of 1 / N_i |D_i(real) - D_i(fake)|_1, mean over scales.
    """
    scales = []
    for a, b in zip(real, fake, strict=True):
        layers = zip(a.features, b.features, strict=True)
        scales.append(torch.stack([F.l1_loss(new, old.detach()) for old, new in layers]).sum())
    return torch.stack(scales).mean()

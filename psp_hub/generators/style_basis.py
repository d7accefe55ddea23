"""The directions in which a style moves a generator much, little, or not at all.

The affine map of a layer turns a style w into the factors of its channels (StyleGAN2, section 2.2), and its singular
values differ a hundredfold: along a few directions of w a picture changes at once, along most hardly. The numbers of w
mix them all. Adam gives each coordinate a step of its own size, which helps only where coordinates are what differs:
in the basis of these directions, as SOAP (Vyas et al. 2024) gives each weight matrix the basis of its gradients.
"""

import torch
from torch import Tensor

from psp_hub.generators.base import Generator


@torch.no_grad()
def style_basis(generator: Generator) -> Tensor:
    """For each style the right singular vectors of the affine maps that read it, [num_ws, w_dim, w_dim].

    Returns:
        Orthogonal matrices, in float32; their columns are the directions, those that change least first.
    """
    grams = []
    for maps in generator.synthesis.modulations():
        weight = torch.cat([modulation.weight.float() for modulation in maps])  # [channels, w_dim]
        grams.append(weight.T @ weight)
    return torch.linalg.eigh(torch.stack(grams)).eigenvectors


def to_ws(coordinates: Tensor, basis: Tensor) -> Tensor:
    """Coordinates in a basis to differences of styles, both [N, num_ws, w_dim]."""
    return torch.einsum("nlk,lwk->nlw", coordinates, basis)

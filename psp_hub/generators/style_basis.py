"""The directions in which a style moves a generator much, little, or not at all.

The affine map of a layer turns a style w into the factors of its channels (StyleGAN2, section 2.2), and its singular
values differ a hundredfold: along a few directions of w a picture changes at once, along most hardly. The numbers of w
mix them all. Adam gives each coordinate a step of its own size, which helps only where coordinates are what differs:
in the basis of these directions, as SOAP (Vyas et al. 2024) gives each weight matrix the basis of its gradients.
"""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from psp_hub.generators.base import Generator

NOTHING = 1e-5  # of the largest squared singular value: what is smaller may be rounding


class Known(NamedTuple):
    """A basis, and the weights that it was found for: where they lie, and how often they were changed."""

    weights: tuple[tuple[int, int], ...]
    basis: Tensor


_known: WeakKeyDictionary[Generator, Known] = WeakKeyDictionary()


@torch.inference_mode(False)  # what is kept serves gradients later
@torch.no_grad()
def style_basis(generator: Generator) -> Tensor:
    """For each style the right singular vectors of the affine maps that read it, [num_ws, w_dim, w_dim].

    They take a second of a core for 16 styles of 512 numbers, once for a generator whose weights stay as they are.

    Returns:
        In float32; the columns are orthonormal directions, those that change least first. Those that change nothing
        are zero: Adam would follow the rounding of their gradients.
    """
    readers = [[modulation.weight for modulation in maps] for maps in generator.synthesis.modulations()]
    weights = tuple((weight.data_ptr(), weight._version) for maps in readers for weight in maps)
    known = _known.get(generator)
    if known is None or known.weights != weights:
        stacked = [torch.cat(maps).float() for maps in readers]  # [channels, w_dim] each
        gram = torch.stack([weight.T @ weight for weight in stacked])  # [num_ws, w_dim, w_dim]
        energy, directions = torch.linalg.eigh(gram)  # [num_ws, w_dim], ascending, and [num_ws, w_dim, w_dim]
        counts = energy > NOTHING * energy[:, -1:]
        known = _known[generator] = Known(weights, directions * counts[:, None])
    return known.basis


def to_ws(coordinates: Tensor, basis: Tensor) -> Tensor:
    """Coordinates in a basis to differences of styles, both [N, num_ws, w_dim]."""
    return torch.einsum("nlk,lwk->nlw", coordinates, basis)

"""Style mixing (Richardson et al. 2021, section 4.4): from a seed to a variation, for model, command line and page.

A picture leaves something open: a drawing says nothing of colours. A seed draws that anew.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from psp_hub.generators.base import Generator
from psp_hub.latents import random_z, style_indices

# Styles drawn at random are pulled towards the mean face: fewer broken pictures, enough variety.
MIXING_PSI = 0.7


def mix(ws: Tensor, style: Tensor, indices: list[int], strength: float | Tensor = 1.0) -> Tensor:
    """Style mixing: move the styles at `indices` towards `style`.

    One ws goes with many styles and one style with many ws: the one is repeated.

    Args:
        ws: [N or 1, num_ws, w_dim].
        style: [N or 1, w_dim] (one w for all layers) or [N or 1, num_ws, w_dim].
        indices: which styles change.
        strength: 0 keeps `ws`, 1 replaces.

    Returns:
        New ws [N, num_ws, w_dim].

    Raises:
        ValueError: the shapes do not fit: other numbers of rows than equal or 1, another num_ws or w_dim.
    """
    num, num_ws, w_dim = ws.shape
    layers = () if style.ndim == 2 else (num_ws,)
    if style.shape[1:] != (*layers, w_dim) or (num != len(style) and 1 not in (num, len(style))):
        rows = "any" if num == 1 else f"{num} or 1"
        raise ValueError(
            f"style has shape {tuple(style.shape)} for ws {tuple(ws.shape)}, "
            f"expected [{rows}, {w_dim}] or [{rows}, {num_ws}, {w_dim}]"
        )
    if style.ndim == 2:
        style = style[:, None].expand(-1, num_ws, -1)  # [N, num_ws, w_dim]
    mixed = ws.repeat(len(style), 1, 1) if num == 1 else ws.clone()  # [N, num_ws, w_dim]
    mixed[:, indices] = torch.lerp(mixed[:, indices], style[:, indices].to(ws), strength)
    return mixed


@torch.no_grad()
def random_styles(generator: Generator, seed: int, num: int = 1) -> Tensor:
    """Random w [num, w_dim]; row i depends on `seed` + i alone."""
    z = random_z(num, generator.w_dim, seed).to(generator.w_avg)
    return generator.mapping(z, truncation_psi=MIXING_PSI)


def vary(
    generator: Generator,
    ws: Tensor,
    seed: int,
    groups: Iterable[str],
    strength: float = 1.0,
    num_variations: int = 1,
) -> Tensor:
    """Other answers to one input: the styles in `groups` move towards random ones.

    Args:
        ws: [1, num_ws, w_dim].
        seed: variation i of seed s is variation 0 of seed s + i.
        groups: which styles change, see `psp_hub.latents`; those of a task are `psp_hub.tasks.mixed_groups`.
        strength: 0 changes nothing, 1 replaces.

    Returns:
        [num_variations, num_ws, w_dim].

    Raises:
        ValueError: strength out of 0 to 1, unknown group, or wrong shape.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}, expected 0 to 1")
    styles = random_styles(generator, seed, num_variations)
    return mix(ws, styles, style_indices(groups, generator.num_ws), strength)

"""From a seed to a variation: the one function for the model, the command line, the page and validation.

A picture leaves something open: a drawing says nothing of colours. Style mixing (Richardson et al. 2021, section 4.4)
draws that anew from a seed.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from psp_hub import latents
from psp_hub.generators.base import Generator

# Styles drawn at random are pulled towards the mean face: fewer broken pictures, enough variety.
MIXING_PSI = 0.7


@torch.no_grad()
def random_styles(generator: Generator, seed: int, num: int = 1) -> Tensor:
    """Random w [num, w_dim]; row i depends on `seed` + i alone."""
    z = latents.random_z(num, generator.w_dim, seed).to(generator.w_avg)
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
    return latents.mix(ws, styles, latents.style_indices(groups, generator.num_ws), strength)

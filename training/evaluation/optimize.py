"""Latent optimisation: find the styles of a picture by gradient descent through the generator.

The slow road that an encoder saves: in W after Karras et al. 2020 (StyleGAN2, appendix D), in W+ after Abdal et al.
2019 (Image2StyleGAN). A picture takes minutes, and every picture starts anew. The generator's noise maps stay as they
are stored, for they are not styles.
"""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from psp_hub.generators.base import Generator
from psp_hub.refinement import LossFunction, Progress, check_targets, descend, picture, spread

__all__ = ["LossFunction", "Space", "learning_rate_factor", "optimize", "picture", "reconstruction_loss", "spread"]

Space = Literal["w", "w+"]

LEARNING_RATES = {"w": 0.1, "w+": 0.05}
RAMP_UP, RAMP_DOWN = 0.05, 0.25  # parts of the run in which the learning rate rises and falls
NOISE, NOISE_PART = 0.05, 0.75  # of w, in units of its spread, at first; the part of the run in which there is some


def optimize(
    generator: Generator,
    targets: Tensor,
    loss: LossFunction,
    steps: int,
    space: Space = "w+",
    start: Tensor | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Find the styles whose pictures are closest to `targets`.

    Args:
        generator: it is not changed, and gets no gradients.
        targets: [N, 3, 256, 256] in [-1, 1].
        loss: of pictures and targets, both [N, 3, 256, 256], for each picture: [N].
        steps: of Adam.
        space: `w`, one style for all layers, or `w+`, one for each.
        start: styles [N or 1, num_ws, w_dim]; in W, their mean over the layers. By default the mean face.
        learning_rate: at its highest; by default 0.1 in W (Karras et al.) and 0.05 in W+.
        seed: of the noise that helps to leave a poor start; it is added in W when starting at the mean face.
        progress: called after each step with its number, from 1, and the losses [N] before it.

    Returns:
        ws [N, num_ws, w_dim], without gradients.

    Raises:
        ValueError: unknown space, less than one step, or targets or a start of another shape.
    """
    check_arguments(generator, targets, steps, space, start)
    noise = NOISE * spread(generator) if space == "w" and start is None else 0.0
    if start is None:
        start = generator.w_avg.expand(1, generator.num_ws, -1)
    w = start.detach().to(generator.w_avg).float()
    w = (w.mean(dim=1, keepdim=True) if space == "w" else w).repeat(len(targets) // len(w), 1, 1)
    rng = torch.Generator().manual_seed(seed)
    sigmas = iter(noise * max(0.0, 1 - step / (NOISE_PART * steps)) ** 2 for step in range(steps))

    def loss_of(w: Tensor) -> Tensor:  # [N, 1 or num_ws, w_dim] -> [N]
        sigma = next(sigmas)
        moved = w + sigma * torch.randn(w.shape, generator=rng).to(w) if sigma else w
        return loss(picture(generator, moved.expand(-1, generator.num_ws, -1)), targets)

    rate = learning_rate or LEARNING_RATES[space]
    w = descend(loss_of, w, steps, lambda step: rate * learning_rate_factor(step, steps), progress=progress)
    return w.expand(-1, generator.num_ws, -1).clone()


def check_arguments(generator: Generator, targets: Tensor, steps: int, space: str, start: Tensor | None) -> None:
    if space not in get_args(Space):
        raise ValueError(f"space is {space!r}, expected one of {', '.join(get_args(Space))}")
    if steps < 1:
        raise ValueError(f"steps is {steps}, expected 1 or more")
    check_targets(targets)
    layers = (generator.num_ws, generator.w_dim)
    if start is not None and (start.ndim != 3 or start.shape[1:] != layers or len(start) not in (1, len(targets))):
        expected = f"[{len(targets)} or 1, {layers[0]}, {layers[1]}]"
        raise ValueError(f"start has shape {tuple(start.shape)}, expected {expected}")


def learning_rate_factor(step: int, steps: int) -> float:
    """The schedule of Karras et al.: a linear rise, a plateau, half a cosine down; never 0."""
    rise = (step + 1) / (RAMP_UP * steps)
    fall = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (steps - step) / (RAMP_DOWN * steps)))
    return min(1.0, rise) * fall


def reconstruction_loss(distance: LossFunction | None = None, weight: float = 0.8) -> LossFunction:
    """Squared error plus `weight` times a perceptual distance, for each picture.

    Args:
        distance: of two batches of pictures, [N]; without one, the squared error alone.
        weight: of it; 0.8 is pSp's for LPIPS (section 4 of the paper).
    """

    def loss(images: Tensor, targets: Tensor) -> Tensor:
        error = (images - targets).square().flatten(1).mean(dim=1)  # [N]
        return error + weight * distance(images, targets) if distance else error

    return loss

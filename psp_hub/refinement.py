"""Refinement: a short latent optimisation, from the encoder's answer towards the picture that it has seen.

An encoder answers at once, but not exactly. Gradient descent through the generator in W+ (Abdal et al. 2019,
Image2StyleGAN) takes the rest of the way; from a good start it needs few steps. Two pulls keep the face a face: to the
start, and to the mean face. What all latent optimisation shares is here, too;
`training/evaluation/optimize.py` starts from nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from psp_hub.config import ENCODER_SIZE
from psp_hub.face_weights import face_weights
from psp_hub.generators.base import Generator, check_ws
from psp_hub.generators.style_basis import style_basis, to_ws
from psp_hub.latents import random_z
from psp_hub.layers import resample
from psp_hub.precision import quick_autocast

LossFunction = Callable[[Tensor, Tensor], Tensor]  # pictures and targets [N, 3, 256, 256] -> [N]
Progress = Callable[[int, Tensor], None]  # number of the step, from 1, and the losses [N] that it began with

SPREAD_SAMPLES = 1000
# Measured on faces that no encoder had seen: see `training/evaluate.py --refinement_steps`.
STEPS = 40
LEARNING_RATE = 0.3  # at its highest, in units of the spread of one number of w
BETAS = (0.6, 0.9)  # little momentum: it overshoots in so few steps
REGULARISATION = 0.02
WARMUP_STEPS = 4
SCALES = (1, 4)  # pixels of a square whose mean is compared
FACE_STRENGTH = 8.0  # how much more the features of a face count than what is around them
DRAWN_SIZE = 128  # pixels that are drawn: of 256, a step takes twice as long and leads no further
MEAN_PULL = 0.1  # to the mean face, relative to the pull to the start
DISTANCE_WEIGHT = 0.1


def refine(
    generator: Generator,
    ws: Tensor,
    targets: Tensor,
    steps: int = STEPS,
    *,
    mask: Tensor | None = None,
    regularisation: float = REGULARISATION,
    distance: LossFunction | None = None,
    distance_weight: float = DISTANCE_WEIGHT,
    reduction: Callable[[Tensor], Tensor] | None = None,
    face_strength: float = FACE_STRENGTH,
    progress: Progress | None = None,
) -> Tensor:
    """Move styles so that their pictures come closer to `targets`; each picture of a batch on its own.

    The error is that of the pixels, at two scales, and more that of the face than of what is around it. Adam takes its
    steps along the directions of `psp_hub.generators.style_basis`. Of all the styles on the way, the best of each
    picture are returned: they are never worse than the start.

    Args:
        generator: it is not changed, and gets no gradients.
        ws: the start, [N, num_ws, w_dim].
        targets: [N, 3, 256, 256] in [-1, 1].
        steps: of Adam; 0 returns the start.
        mask: [N or 1, 1, 256, 256], 1 where the target counts and 0 where it does not, such as the missing part of a
            picture; by default it counts everywhere.
        regularisation: strength of the pulls.
        distance: a perceptual distance of pictures [N, 3, 256, 256], for each: [N]. What `mask` leaves out is the
            target's in both.
        distance_weight: of it.
        reduction: what was done to the picture that is looked for until it was the target, such as making it smaller:
            it is done to each picture that is drawn, too.
        face_strength: how much more the middle of an aligned face counts than what is around it, see
            `psp_hub.face_weights`. 0 is for what is not a face.
        progress: called after each step. An exception that it raises ends the work.

    Returns:
        ws [N, num_ws, w_dim], without gradients.

    Raises:
        ValueError: less than 0 steps, or a shape or number that does not fit.
    """
    check_arguments(generator, ws, targets, steps, mask, regularisation)
    weights = face_weights(ENCODER_SIZE, face_strength)
    start = ws.detach().to(generator.w_avg).float()
    targets = targets.detach().to(start)
    mask = torch.ones_like(targets[:, :1]) if mask is None else mask.detach().to(start).expand(len(start), -1, -1, -1)
    unit = spread(generator) / math.sqrt(generator.w_dim)  # the spread of one number of w
    loss = RefinementLoss(
        generator,
        start,
        targets,
        mask,
        weights.to(start),
        reduction,
        unit,
        regularisation,
        distance,
        distance_weight,
    )
    best, basis = Best(start), style_basis(generator)

    def remembered_loss(coordinates: Tensor) -> Tensor:
        moved = start + to_ws(coordinates, basis)
        losses = loss(moved)
        best.see(moved, losses)
        return losses

    def learning_rate(step: int) -> float:
        return LEARNING_RATE * unit * learning_rate_factor(step, steps)

    last = descend(remembered_loss, torch.zeros_like(start), steps, learning_rate, BETAS, progress)
    if steps:
        with torch.no_grad():
            remembered_loss(last)
    return best.ws


@dataclass(frozen=True)
class RefinementLoss:
    """What `refine` makes small: of styles [N, num_ws, w_dim], a loss for each picture, [N].

    Args:
        generator: draws the pictures.
        start: styles to stay close to, [N, num_ws, w_dim].
        weights: of the pixels, [1, 1, 256, 256].
        unit: the spread of one number of w, in which the two pulls are measured.

    The others are those of `refine`; the mask is [N, 1, 256, 256].
    """

    generator: Generator
    start: Tensor
    targets: Tensor
    mask: Tensor
    weights: Tensor
    reduction: Callable[[Tensor], Tensor] | None
    unit: float
    regularisation: float
    distance: LossFunction | None
    distance_weight: float

    def __call__(self, ws: Tensor) -> Tensor:
        images = quick_picture(self.generator, ws)  # [N, 3, 256, 256]
        images = self.reduction(images) if self.reduction else images
        losses = pixel_loss(images, self.targets, self.mask, self.weights)
        if self.distance:
            seen = torch.lerp(self.targets, images, self.mask)
            losses = losses + self.distance_weight * self.distance(seen, self.targets)
        return losses + self.regularisation * self.pull(ws)

    def pull(self, ws: Tensor) -> Tensor:
        """Squared distance from the start and, a little, from the mean face, [N]."""
        from_start, from_mean = (
            (ws - x).square().mean(dim=(1, 2)) for x in (self.start, self.generator.w_avg.float())
        )
        return (from_start + MEAN_PULL * from_mean) / self.unit**2


class Best:
    """Of all styles that were seen, those of the lowest loss; for each picture on its own."""

    def __init__(self, start: Tensor):
        self.ws, self.losses = start.clone(), torch.full((len(start),), torch.inf, device=start.device)

    def see(self, ws: Tensor, losses: Tensor) -> None:
        better = losses.detach() < self.losses
        self.ws[better], self.losses[better] = ws.detach()[better], losses.detach()[better]


def descend(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int,
    learning_rate: Callable[[int], float],
    betas: tuple[float, float] = (0.9, 0.999),
    progress: Progress | None = None,
) -> Tensor:
    """Adam (Kingma and Ba 2015) from `start`.

    Args:
        loss: of points [N, ...], for each row: [N]. It is called once in every step.
        start: the first points.
        learning_rate: of each step, from 0.
        progress: called after each step with its number, from 1, and the losses [N] before it.

    Returns:
        The last points, without gradients.
    """
    point = start.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([point], betas=betas)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate(step)
        with torch.enable_grad():
            losses = loss(point)
            (point.grad,) = torch.autograd.grad(losses.sum(), point)
        optimizer.step()
        if progress:
            progress(step + 1, losses.detach())
    return point.detach()


def learning_rate_factor(step: int, steps: int) -> float:
    """A short rise, as the first gradients of Adam have no history; then half a cosine down."""
    rise = min(1.0, (step + 1) / WARMUP_STEPS)
    return rise * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def pixel_loss(images: Tensor, targets: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Squared error of pictures [N, 3, H, W] where `mask` [N, 1, H, W] counts, averaged over `SCALES`, [N].

    Args:
        weights: how much each pixel counts, [1, 1, H, W], 1 on average.
    """
    error = (images - targets) * mask
    losses = [
        (F.avg_pool2d(error, scale).square() * F.avg_pool2d(weights, scale)).flatten(1).mean(dim=1) for scale in SCALES
    ]
    return torch.stack(losses).mean(dim=0) / (mask * weights).flatten(1).mean(dim=1).clamp(min=1e-6)


def picture(generator: Generator, ws: Tensor) -> Tensor:
    """Pictures [N, 3, 256, 256] of styles, with gradients."""
    images = generator.synthesis(ws.to(generator.w_avg.dtype)).float()
    return resample(images, ENCODER_SIZE)


def quick_picture(generator: Generator, ws: Tensor) -> Tensor:
    """The same without the finest details, in a fraction of the time: enlarged from `DRAWN_SIZE`.

    In bfloat16 where the processor is made for that.
    """
    with quick_autocast(generator.w_avg.device.type):
        if generator.resolution <= DRAWN_SIZE:
            return picture(generator, ws)
        images = generator.synthesis.preview(ws.to(generator.w_avg.dtype), DRAWN_SIZE).float()
    return F.interpolate(images, size=ENCODER_SIZE, mode="bilinear", align_corners=False)


@torch.no_grad()
def spread(generator: Generator) -> float:
    """Root mean squared distance of w from their mean."""
    z = random_z(SPREAD_SAMPLES, generator.w_dim, seed=0)
    w = generator.mapping(z.to(generator.w_avg)).float()
    return (w - generator.w_avg).square().sum(dim=1).mean().sqrt().item()


def check_arguments(
    generator: Generator, ws: Tensor, targets: Tensor, steps: int, mask: Tensor | None, regularisation: float
) -> None:
    """Raise ValueError for arguments of `refine` that do not fit."""
    check_ws(ws, generator.num_ws, generator.w_dim)
    check_targets(targets)
    if len(ws) != len(targets):
        raise ValueError(f"there are {len(targets)} targets for {len(ws)} ws, expected as many")
    if steps < 0:
        raise ValueError(f"steps is {steps}, expected 0 or more")
    if not regularisation >= 0:
        raise ValueError(f"regularisation is {regularisation}, expected 0 or more")
    if mask is not None and tuple(mask.shape) not in [(n, 1, ENCODER_SIZE, ENCODER_SIZE) for n in (1, len(targets))]:
        expected = f"[{len(targets)} or 1, 1, {ENCODER_SIZE}, {ENCODER_SIZE}]"
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected {expected}")


def check_targets(targets: Tensor) -> None:
    """Raise ValueError unless pictures are [N, 3, 256, 256]."""
    if targets.ndim != 4 or targets.shape[1:] != (3, ENCODER_SIZE, ENCODER_SIZE):
        raise ValueError(f"targets have shape {tuple(targets.shape)}, expected [N, 3, {ENCODER_SIZE}, {ENCODER_SIZE}]")

"""Changes of photos before their source is made, so that input and target stay together.

Stored sources move with them, and keep their light. Pairs whose w is known stay as they are, for another picture would
have another w; or they change, and lose their w.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from training.data.blending import Blend
from training.data.drawings import redraw
from training.data.labelled_photos import flip_labels
from training.strokes import Facts

MAX_ROTATION, MAX_ZOOM, MAX_SHIFT = 8.0, 0.12, 0.06  # degrees, parts of the size, parts of a side
# Of points of a grid over the picture that move, each with what is between them: points a side, and how far in parts
# of a side (standard deviation). The first move and stretch whole parts of a face, the second change their shape.
SHAPE_GRIDS = ((5, 0.02), (9, 0.012))


@dataclass(frozen=True)
class Target:
    """What is known of one picture before its input is made.

    Args:
        image: [3, 256, 256] in [-1, 1].
        w: [w_dim] if it comes from the generator.
        identity: recognition vector [D], if known.
        hint: what the source is made with, see `training.data.sources`.
        source: the input [C, 256, 256], if it is stored rather than made.
        said: the attributes that the input shows, 0, 1 or NaN (not known), [A].
    """

    image: Tensor
    w: Tensor | None = None
    identity: Tensor | None = None
    hint: Tensor | Facts | None = None
    source: Tensor | None = None
    said: Tensor | None = None


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a photo.

    Args:
        random_flip: mirror every second one, with its stored source.
        color_jitter: strength of the changes of colour and light, 0 (none) to 1.
        frame_jitter: how inexactly the face is framed, 0 (as it is) to 1; not where a hint is stored.
        shape_jitter: how much the face changes its shape, 0 (none) to 1, so that it is somebody else's; as above.
        blended_photos: share of those that get features of another one, see `training.data.blending`; as above, and
            not where it is known who is shown.
        damaged_drawings: share of the stored drawings that are damaged and displaced, while the photo stays.
        relit_pairs: share of the generated faces that get other colours and light, and lose their w.
    """

    random_flip: bool = False
    color_jitter: float = 0.0
    frame_jitter: float = 0.0
    relit_pairs: float = 0.0
    shape_jitter: float = 0.0
    blended_photos: float = 0.0
    damaged_drawings: float = 0.0

    def blended(
        self, target: Target, draw_others: Callable[[np.random.Generator], list[Target]], rng: np.random.Generator
    ) -> Target:
        """The photo, or by chance one with features of others, which are drawn; before all else is changed."""
        stored = any(part is not None for part in (target.w, target.identity, target.hint))
        if not self.blended_photos or stored or rng.random() >= self.blended_photos:
            return target
        others = draw_others(rng)
        return blended_target(target, others, rng) if others else target

    def __call__(self, target: Target, rng: np.random.Generator) -> Target:
        if target.w is not None:
            if not self.relit_pairs or rng.random() >= self.relit_pairs:
                return target
            target = replace(target, w=None, image=relight(target.image, rng, self.color_jitter))
            return self.reshaped(target, rng)
        if self.random_flip and rng.random() < 0.5:
            target = mirrored(target)
        if self.frame_jitter and target.hint is None:
            target = moved(target, lambda pixels: reframe(pixels, rng, self.frame_jitter))
        target = self.reshaped(target, rng)
        if self.color_jitter:
            target = replace(target, image=relight(target.image, rng, self.color_jitter))
        if self.damaged_drawings and target.source is not None and rng.random() < self.damaged_drawings:
            target = replace(target, source=redraw(target.source, rng))
        return target

    def reshaped(self, target: Target, rng: np.random.Generator) -> Target:
        """The face in another shape, where nothing is stored that belongs to this one alone."""
        if not self.shape_jitter or target.hint is not None:
            return target
        return moved(target, lambda pixels: reshape(pixels, rng, self.shape_jitter))


def moved(target: Target, move: Callable[[Tensor], Tensor]) -> Target:
    """Picture and stored source under one change of place.

    Args:
        move: of [C, H, W], the same for each channel.
    """
    if target.source is None:
        return replace(target, image=move(target.image))
    image, source = move(torch.cat([target.image, target.source])).split([len(target.image), len(target.source)])
    return replace(target, image=image, source=source)


def blended_target(target: Target, others: Sequence[Target], rng: np.random.Generator) -> Target:
    """A picture, and its stored source with it, with features of another one. What it shows is not known any more."""
    blend = Blend.draw(target.image, [other.image for other in others], rng)
    other, source = others[blend.other], target.source
    if source is not None and other.source is not None:
        source = blend.of_sources(source, other.source)
    return replace(target, image=blend.of_images(target.image, other.image), source=source, said=None)


def mirrored(target: Target) -> Target:
    """Mirror image, lines and source; in a label map, left and right also change their names."""
    hint, source = target.hint, target.source
    if hint is not None:
        hint = flip_labels(hint) if hint.dtype == torch.uint8 else hint.flip(-1)
    return replace(
        target, image=target.image.flip(-1), hint=hint, source=source if source is None else source.flip(-1)
    )


def reframe(image: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """Turned, larger or smaller, and moved by a little, mirrored at the border; [3, H, W]."""
    angle, zoom, x, y = strength * rng.uniform(-1, 1, 4)
    turn, scale = np.deg2rad(MAX_ROTATION * angle), 1 + MAX_ZOOM * zoom
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    # From the new picture to the old one; a side has length 2.
    matrix = torch.tensor([[cos, -sin, 2 * MAX_SHIFT * x], [sin, cos, 2 * MAX_SHIFT * y]], dtype=image.dtype)
    grid = F.affine_grid(matrix[None], [1, *image.shape], align_corners=False)
    return F.grid_sample(image[None], grid, "bilinear", "reflection", align_corners=False)[0]


def reshape(image: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """The picture on a rubber sheet that is pulled here and there, mirrored at the border; [3, H, W]."""
    shift = torch.zeros(1, 2, *image.shape[1:])
    for points, distance in SHAPE_GRIDS:
        moves = 2 * strength * distance * rng.standard_normal((1, 2, points, points))  # a side has length 2
        moves = torch.from_numpy(moves).to(image.dtype)
        shift = shift + F.interpolate(moves, size=image.shape[1:], mode="bicubic", align_corners=True)
    place = F.affine_grid(torch.eye(2, 3)[None], [1, *image.shape], align_corners=False)  # [1, H, W, 2]
    grid = place + shift.permute(0, 2, 3, 1)
    return F.grid_sample(image[None], grid, "bilinear", "reflection", align_corners=False)[0]


def relight(image: Tensor, rng: np.random.Generator, strength: float) -> Tensor:
    """Another exposure, contrast, saturation and tint, and a light from one side; [3, H, W] in [-1, 1]."""
    exposure, contrast, saturation = np.exp(strength * rng.normal(0, 0.3, 3))
    tint = torch.from_numpy(np.exp(strength * rng.normal(0, 0.1, (3, 1, 1)))).float()
    x = ((image + 1) / 2) * exposure * tint * side_light(image.shape[1:], rng, strength)
    grey = x.mean(dim=0, keepdim=True)
    x = grey + (x - grey) * saturation
    middle = x.mean()
    return (middle + (x - middle) * contrast).clamp(0, 1) * 2 - 1


def side_light(size: torch.Size, rng: np.random.Generator, strength: float) -> Tensor:
    """Brightness that grows evenly across the picture in some direction, 1 in its middle; [H, W]."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, side) for side in size), indexing="ij")
    angle, slope = rng.uniform(0, 2 * np.pi), strength * abs(rng.normal(0, 0.3))
    return (1 + slope * (np.cos(angle) * x + np.sin(angle) * y)).clamp(min=0)

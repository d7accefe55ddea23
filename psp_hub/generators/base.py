"""What every generator of this project offers, and the checks they share.

A generator G is a component (`psp_hub.hub.components`) with

- `G.mapping(z, truncation_psi=1.0)`: z [N, w_dim] -> w [N, w_dim];
- `G.synthesis(ws, noise_mode="const", generator=None)`: ws [N, num_ws, w_dim] -> images [N, 3, R, R] in about [-1, 1];
- `G.synthesis.preview(ws, size)`: the same, nearly, averaged over squares of pixels: [N, 3, size, size];
- `G.synthesis.modulations()`: the affine maps that read each style;
- `G.num_ws`, `G.w_dim`, `G.resolution` (R) and the buffer `G.w_avg` [w_dim].
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psp_hub.generators.mapping import MappingNetwork
from psp_hub.hub.components import Component
from psp_hub.layers import Modulation

W_AVG_SAMPLES = 65_536
NoiseMode = Literal["const", "random", "none"]


class Synthesis(nn.Module):
    """A synthesis network: styles in, pictures out. Subclasses draw in `forward`.

    Attributes:
        num_ws: styles that it takes.
        quick_preview: whether `preview` takes less time than the whole picture.
    """

    num_ws: int
    quick_preview = False
    gradient_checkpointing = False  # see `enable_gradient_checkpointing` of diffusers' models
    _gradient_checkpointing_func: Callable[..., Any]

    def forward(self, ws: Tensor, noise_mode: NoiseMode = "const", generator: torch.Generator | None = None) -> Tensor:
        """Draw images.

        Args:
            ws: [N, num_ws, w_dim], one style per layer.
            noise_mode: `const` (the stored noise maps), `random` (fresh noise from `generator`) or `none`.
            generator: source of the random noise.

        Returns:
            Images [N, 3, R, R], about [-1, 1], not clamped.

        Raises:
            ValueError: wrong shape of `ws` or unknown `noise_mode`.
        """
        raise NotImplementedError

    def preview(self, ws: Tensor, size: int, rough: bool = False) -> Tensor:
        """Draw small images: those of `forward`, averaged over squares of pixels.

        Args:
            ws: [N, num_ws, w_dim].
            size: of the images.
            rough: less exact will do.

        Returns:
            Images [N, 3, size, size], about [-1, 1].
        """
        return F.adaptive_avg_pool2d(self(ws), size)

    def modulations(self) -> list[list[Modulation]]:
        """The affine maps that read each style, from w to factors of channels: `num_ws` lists."""
        raise NotImplementedError


class Generator(Component):
    """The interface. A new generator is one module with a subclass, and one row of `psp_hub.generators.loading`."""

    num_ws: int
    w_dim: int
    resolution: int
    mapping: MappingNetwork
    synthesis: Synthesis

    @property
    def w_avg(self) -> Tensor:
        """Mean of the mapping network's output, [w_dim]."""
        return self.mapping.w_avg


def check_ws(ws: Tensor, num_ws: int, w_dim: int) -> None:
    """Raise ValueError unless `ws` is [N, num_ws, w_dim]."""
    if ws.ndim != 3 or ws.shape[1:] != (num_ws, w_dim):
        raise ValueError(f"ws has shape {tuple(ws.shape)}, expected [N, {num_ws}, {w_dim}]")


def check_noise_mode(noise_mode: str) -> None:
    """Raise ValueError unless `noise_mode` is one of `NoiseMode`."""
    if noise_mode not in get_args(NoiseMode):
        raise ValueError(f"noise_mode is {noise_mode!r}, expected one of {', '.join(get_args(NoiseMode))}")


def noise_maps(stored: Tensor, number: int, noise_mode: NoiseMode, generator: torch.Generator | None) -> Tensor | None:
    """The noise of a layer for `number` feature maps; random ones have a variance of 1.

    Args:
        stored: the layer's own, [1, 1, H, W].

    Returns:
        [1, 1, H, W] for all maps or, with `random`, one for each, [number, 1, H, W]; None adds nothing.
    """
    if noise_mode == "none":
        return None
    if noise_mode == "const":
        return stored
    # Drawn in float32 on the generator's device, so that a seed means the same noise everywhere.
    shape, device = (number, *stored.shape[1:]), generator.device if generator else "cpu"
    return torch.randn(shape, generator=generator, device=device).to(stored)


def use_checkpoints(synthesis: Synthesis, noise_mode: NoiseMode) -> bool:
    """Whether the blocks of a synthesis network are to be run again in the backward pass rather than remembered.

    Not with random noise: the second run would draw other noise than the first.
    """
    return synthesis.gradient_checkpointing and noise_mode != "random" and torch.is_grad_enabled()


@torch.no_grad()
def estimate_w_avg(generator: Generator) -> Tensor:
    """Mean of w over fixed random latents, summed in float64: the same on every machine up to rounding."""
    z = torch.randn(W_AVG_SAMPLES, generator.w_dim, generator=torch.Generator().manual_seed(0))
    return torch.cat([generator.mapping(part).double() for part in z.split(4096)]).mean(dim=0).float()

"""What every generator of this project offers, and the checks they share.

A generator G is a `diffusers.ModelMixin` with

- `G.mapping(z, truncation_psi=1.0)`: z [N, w_dim] -> w [N, w_dim];
- `G.synthesis(ws, noise_mode="const", generator=None)`: ws [N, num_ws, w_dim] -> images [N, 3, R, R] in about [-1, 1];
- `G.num_ws`, `G.w_dim`, `G.resolution` (R) and the buffer `G.w_avg` [w_dim].
"""

from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

W_AVG_SAMPLES = 65_536
NoiseMode = Literal["const", "random", "none"]


class Generator(Protocol):
    """The interface, for type checkers and readers."""

    num_ws: int
    w_dim: int
    resolution: int
    w_avg: Tensor

    def mapping(self, z: Tensor, truncation_psi: float = 1.0) -> Tensor: ...

    def synthesis(
        self, ws: Tensor, noise_mode: NoiseMode = "const", generator: torch.Generator | None = None
    ) -> Tensor: ...


def check_ws(ws: Tensor, num_ws: int, w_dim: int) -> None:
    """Raise ValueError unless `ws` is [N, num_ws, w_dim]."""
    if ws.ndim != 3 or ws.shape[1:] != (num_ws, w_dim):
        raise ValueError(f"ws has shape {tuple(ws.shape)}, expected [N, {num_ws}, {w_dim}]")


def check_noise_mode(noise_mode: str) -> None:
    """Raise ValueError unless `noise_mode` is one of `NoiseMode`."""
    if noise_mode not in get_args(NoiseMode):
        raise ValueError(f"noise_mode is {noise_mode!r}, expected one of {', '.join(get_args(NoiseMode))}")


def use_checkpoints(synthesis: nn.Module, noise_mode: NoiseMode) -> bool:
    """Whether the blocks of a synthesis network are to be run again in the backward pass rather than remembered.

    Not with random noise: the second run would draw other noise than the first.
    """
    return synthesis.gradient_checkpointing and noise_mode != "random" and torch.is_grad_enabled()


@torch.no_grad()
def estimate_w_avg(generator: Generator) -> Tensor:
    """Mean of w over fixed random latents, summed in float64: the same on every machine up to rounding."""
    z = torch.randn(W_AVG_SAMPLES, generator.w_dim, generator=torch.Generator().manual_seed(0))
    return torch.cat([generator.mapping(part).double() for part in z.split(4096)]).mean(dim=0).float()

"""The mapping network, z -> w, which all StyleGANs have in common (Karras et al. 2019, arXiv:1812.04948)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from psp_hub.latents import truncate
from psp_hub.layers import pixel_norm

LEAKY_SLOPE = 0.2
GAIN = 2**0.5  # of every leaky ReLU of StyleGAN2; it is linear in positive factors, so the gain may come before it


class MappingNetwork(nn.Module):
    """z -> w: pixel norm, then `num_layers` x (linear, leaky ReLU, * sqrt 2)."""

    w_avg: Tensor

    def __init__(self, w_dim: int, num_layers: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(w_dim, w_dim) for _ in range(num_layers))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor, truncation_psi: float = 1.0) -> Tensor:
        """z [N, w_dim] ~ N(0, I) -> w [N, w_dim], pulled towards `w_avg` by `truncation_psi`."""
        w = pixel_norm(z)
        for layer in self.layers:
            w = F.leaky_relu(layer(w), LEAKY_SLOPE) * GAIN
        return truncate(w, self.w_avg, truncation_psi)

    def linear_layers(self) -> list[nn.Linear]:
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

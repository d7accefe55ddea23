"""How far the styles of a pair are from the answer."""

import torch
from torch import Tensor, nn

from psp_hub.generators.base import Generator
from psp_hub.latents import random_z
from training.run.distributed import process_mean

W_STD_SAMPLES = 10_000


class WError(nn.Module):
    """Squared error in W or W+, relative to the mean face.

    sum |(ws - w) / std|^2 / sum |(w_avg - w) / std|^2, with the spread `std` of each coordinate of w: 0 is exact, 1 is
    as good as always answering the mean face.
    """

    w_avg: Tensor
    w_std: Tensor

    def __init__(self, generator: Generator):
        super().__init__()
        z = torch.cat([random_z(1, generator.w_dim, seed=i) for i in range(W_STD_SAMPLES)])
        with torch.no_grad():
            w = torch.cat([generator.mapping(part.to(generator.w_avg)) for part in z.split(1000)])
        self.register_buffer("w_avg", generator.w_avg.detach().float().clone())
        self.register_buffer("w_std", w.float().std(dim=0))

    def forward(self, delta: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Errors of one batch.

        Args:
            delta: the encoder's answer relative to `w_avg`, [N, num_ws, w_dim].
            w: the truth, [N, w_dim] (one style for all layers) or [N, num_ws, w_dim].

        Returns:
            Squared error and that of the mean face, each [N]; the loss is the ratio of their sums.
        """
        target = (w if w.ndim == 3 else w[:, None]) - self.w_avg  # [N, 1 or num_ws, w_dim]
        error = ((delta - target) / self.w_std).square().mean(dim=(1, 2))  # [N]
        mean_face = (target / self.w_std).square().mean(dim=(1, 2))  # [N]
        return error, mean_face

    def mean(self, delta: Tensor, w: Tensor, has_w: Tensor) -> Tensor:
        """Error relative to the mean face, over the examples whose w is known (`has_w` [N]); 0 if there is none."""
        error, mean_face = self(delta, w)  # [N] each
        return (error * has_w).sum() / process_mean((mean_face * has_w).sum()).clamp(min=1e-6)

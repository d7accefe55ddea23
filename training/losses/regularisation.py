"""Keep the styles near the mean face (pSp, section 3.2)."""

import torch
from torch import Tensor


def w_norm(delta: Tensor) -> Tensor:
    """Mean length of the encoder's answers relative to `w_avg`, [N, num_ws, w_dim], each taken as one long vector.

    Neither squared nor divided by its size, as in the original. At the mean face itself the gradient is 0.
    """
    return torch.linalg.vector_norm(delta.flatten(1), dim=1).mean()

"""What all networks have in common that training and evaluation look through: none of them learns."""

import torch
from torch import nn


def freeze(module: nn.Module) -> nn.Module:
    """Evaluation mode, no gradients, and the layout that is fastest on a CPU."""
    return module.eval().requires_grad_(False).to(memory_format=torch.channels_last)


class Frozen(nn.Module):
    """Keeps what is in it in evaluation mode, whatever `train()` says to the module that it is part of.

    Batch norm would follow the generated pictures, and dropout would come back.
    """

    def train(self, mode: bool = True) -> "Frozen":
        return super().train(False)

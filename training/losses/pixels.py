"""The pixel loss (pSp, section 3.2)."""

from torch import Tensor


def l2(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference of images [N, 3, H, W] in [-1, 1]: four times what it is in units of [0, 1]."""
    return (outputs - targets).square().mean()

"""The pixel loss (pSp, section 3.2)."""

from torch import Tensor


def l2(outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared difference of images [N, 3, H, W] in [-1, 1]: four times what it is in units of [0, 1].

    Args:
        weights: of the pixels, [1, 1, H, W], 1 on average; see `psp_hub.face_weights`.
    """
    squares = (outputs - targets).square()
    return (squares if weights is None else squares * weights).mean()

"""Figures of pictures and of sets of pictures. Pictures are [N, 3, H, W] in [-1, 1]."""

import torch
from torch import Tensor

PEAK = 2.0  # from black to white
MAX_PSNR = 100.0  # of pictures that are equal: their ratio has no largest value
ROWS = 1000  # of the similarity matrix at a time


def squared_error(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared difference of each pair of pictures, [N]. On [-1, 1], four times that on [0, 1]."""
    return (x - y).double().square().flatten(1).mean(dim=1)


def psnr(error: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of mean squared errors [N]; `MAX_PSNR` at most."""
    return (10 * torch.log10(PEAK**2 / error.double().clamp(min=1e-30))).clamp(max=MAX_PSNR)


def masked_error(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference where `mask` [N, 1, H, W] is 1, [N]; 0 for a mask that is empty."""
    error = (x - y).double().square().mean(dim=1, keepdim=True) * mask
    return error.flatten(1).sum(dim=1) / mask.double().flatten(1).sum(dim=1).clamp(min=1)


def identity(outputs: Tensor, targets: Tensor) -> tuple[dict[str, float | None], Tensor, Tensor]:
    """Are the faces those that were asked for?

    Args:
        outputs, targets: recognition vectors of length 1, [N, D] each; row i of both belongs together.

    Returns:
        Mean cosine of each output with its own target and with those of others (None for a single face), and how often
        no other target is closer; then the cosine with the own target, [N], and the rank of it (1 is best), [N].
    """
    outputs, targets = outputs.double(), targets.double()
    n = len(outputs)
    matched = (outputs * targets).sum(dim=1)  # [N]
    parts = zip(outputs.split(ROWS), matched.split(ROWS), strict=True)
    # The own column is left out by its position, as its value may differ from `matched` by rounding.
    ranks = torch.cat(
        [
            1 + ((part @ targets.T).gt(own[:, None]) & others(i * ROWS, len(part), n)).sum(dim=1)
            for i, (part, own) in enumerate(parts)
        ]
    )
    total = outputs.sum(dim=0) @ targets.sum(dim=0)
    figures = {
        "identity_matched": matched.mean().item(),
        "identity_shuffled": ((total - matched.sum()) / (n * (n - 1))).item() if n > 1 else None,
        "rank_1": (ranks == 1).double().mean().item(),
    }
    return figures, matched, ranks


def others(first: int, rows: int, columns: int) -> Tensor:
    """False where row `first` + i meets its own column."""
    return torch.arange(columns) != torch.arange(first, first + rows)[:, None]


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """Fréchet distance of the normal distributions fitted to two sets of features (Heusel et al. 2017).

    |mean x - mean y|^2 + tr(A + B - 2 (A B)^(1/2)) with the covariances A and B. The trace of the root is the sum of
    the singular values of X Y^T for centred data X, Y of length 1 / sqrt(N - 1): no root of a rounded product is
    taken, so that singular covariances (fewer pictures than features) do no harm. Double precision.

    Args:
        x, y: features, [N, D] and [M, D].

    Raises:
        ValueError: fewer than two rows, or another number of features.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"features are {tuple(x.shape)} and {tuple(y.shape)}, expected [N, D] and [M, D], N, M > 1")
    means = [part.double().mean(dim=0) for part in (x, y)]
    centred = [
        (part.double() - mean) / (len(part) - 1) ** 0.5 for part, mean in zip((x, y), means, strict=True)
    ]  # A = X^T X
    total = sum(part.square().sum() for part in centred)
    # The triangles of a QR decomposition are as good as X and Y, and no larger than D x D.
    x_root, y_root = (torch.linalg.qr(part, mode="r").R for part in centred)
    root = torch.linalg.svdvals(x_root @ y_root.T).sum()
    return ((means[0] - means[1]).square().sum() + total - 2 * root).clamp(min=0).item()
